"""What a script writes while it works."""

import logging
import re
import subprocess
import sys

_LOG = """
import logging
from readclade.cli import start_log
log = start_log("embed 50%")
log.info("5 shards")
logging.getLogger("readclade.some.module").info("100 %s of the reads")
logging.getLogger("other").info("not ours")
"""


def test_start_log_writes_lines_of_the_script_and_the_library_with_name_and_seconds(repository):
    done = subprocess.run(
        [sys.executable, "-c", _LOG], env={"PYTHONPATH": str(repository / "src")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"embed 50% \[ {3}0\.\d s\] 5 shards\nembed 50% \[ {3}0\.\d s\] 100 %s of the reads\n", done.stderr
    )
    assert done.stdout == ""


def test_library_alone_writes_no_lines_of_progress(capfd):
    logging.getLogger("readclade.some.module").info("5 shards")
    assert capfd.readouterr() == ("", "")
