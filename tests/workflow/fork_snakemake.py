"""Dry runs in processes that have imported Snakemake already: that is two thirds of what they take."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# A server without threads or anything of the tests, from which each run is forked.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["snakemake.cli"])


def fork_snakemake(
    arguments: list[str], folder: Path, environment: dict[str, str], seconds: float
) -> subprocess.CompletedProcess:
    """Run Snakemake as its command would in a folder and an environment, for so many seconds at most."""
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("stdout", "stderr")]
        process = _FORKS.Process(target=_run, args=(arguments, folder, environment, files))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, seconds)
        return subprocess.CompletedProcess(arguments, process.exitcode, *(file.read_text() for file in files))


def _run(arguments: list[str], folder: Path, environment: dict[str, str], output: list[Path]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(output, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    # What pytest put there would hide the library of the checkout that runs.
    sys.path[:] = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()
