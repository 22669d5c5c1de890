"""Run cluster_fragments.py with a rank that fails: MODULE.FUNCTION of readclade.clustering raises on the last rank.

mpiexec -n 3 python -m mpi4py fail_on_last_rank.py MODULE.FUNCTION raise|kill SCRIPT --manifest ...
"""

import importlib
import os
import runpy
import signal
import sys

from mpi4py import MPI


def fail(*arguments, **options):
    """Raise an error that nobody expects."""
    raise ZeroDivisionError("a bug on the last rank")


def die(*arguments, **options):
    """End like a process that the kernel kills for its memory."""
    os.kill(os.getpid(), signal.SIGKILL)


place, how, script = sys.argv[1:4]
name, _, function = place.rpartition(".")
module = importlib.import_module(f"readclade.clustering.{name}")
assert hasattr(module, function)
if MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
    setattr(module, function, {"raise": fail, "kill": die}[how])
sys.argv = sys.argv[3:]
runpy.run_path(script, run_name="__main__")
