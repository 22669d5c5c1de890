"""The measurement of one and two actors starts without the networks' packages."""

import os
import subprocess
import sys


def test_kmer_is_measured_without_torch(repository):
    command = [sys.executable, "-c", "import sys; sys.modules['torch'] = None; import two_actors"]
    paths = os.pathsep.join(str(repository / folder) for folder in ("src", "benchmarks"))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
