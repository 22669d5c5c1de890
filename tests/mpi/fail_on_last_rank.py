"""Run cluster_fragments.py with a bug on the last rank: FUNCTION of readclade.clustering.job raises there.

mpiexec -n 3 python -m mpi4py fail_on_last_rank.py FUNCTION scripts/cluster_fragments.py --manifest ...
"""

import runpy
import sys

from mpi4py import MPI

from readclade.clustering import job


def fail(*arguments, **options):
    raise ZeroDivisionError("a bug on the last rank")


function, script = sys.argv[1:3]
assert hasattr(job, function)
if MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
    setattr(job, function, fail)
sys.argv = sys.argv[2:]
runpy.run_path(script, run_name="__main__")
