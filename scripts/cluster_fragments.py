"""Cluster the fragments of a sample; an MPI program.

Example, from the repository root, after embed_fragments.py:
    PYTHONPATH=src .venv/bin/mpiexec -n 2 .venv/bin/python -m mpi4py scripts/cluster_fragments.py \\
        --manifest shards/pairs/manifest.json --out results/pairs/cluster --ranks 2

Writes clusters.h5, assignments.parquet and binning.tsv, with --overlaps also overlaps.paf.gz. Without mpiexec it runs
as one rank. The result is the same, bit for bit, on any number of ranks. Several manifests are clustered together if
they share one projection.
"""

import sys
import time
from pathlib import Path

from mpi4py import MPI

from readclade.cli import get_exit_code, make_parser, start_log
from readclade.clustering.job import ALGORITHMS, Parameters, cluster_fragments
from readclade.errors import ConfigError, ReadcladeError


def main() -> None:
    """Read the arguments and cluster."""
    parser = make_parser(__doc__)
    parser.add_argument("--manifest", required=True, nargs="+", type=Path, help="manifest.json of the shards")
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="kmeans", help="default: %(default)s")
    parser.add_argument("--k", default="auto", help="number of clusters, or auto: it is found (default)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--ranks", type=int, help="the number of MPI ranks that must be there")
    parser.add_argument("--directions", type=int, default=16, help="calibrated directions (default: %(default)s)")
    parser.add_argument("--seedings", type=int, default=8, help="starts of k-means (default: %(default)s)")
    parser.add_argument(
        "--memory", type=float, default=4, help="GB that a rank is to stay within (default: %(default)s)"
    )
    parser.add_argument("--overlaps", action="store_true", help="write overlaps.paf.gz, too")
    arguments = parser.parse_args()
    if arguments.k != "auto" and (not arguments.k.isdecimal() or int(arguments.k) < 1):
        raise ConfigError(f"k = {arguments.k} is no number of clusters", remedy="give auto, or a number from 1 on")
    if arguments.k != "auto" and arguments.algorithm == "lsh":
        raise ConfigError("lsh makes as many clusters as there are groups", remedy="leave k at auto")
    if min(arguments.directions, arguments.seedings) < 1 or arguments.seed < 0:
        raise ConfigError("--directions and --seedings must be at least 1, --seed at least 0", remedy="correct them")
    if not arguments.memory >= 0.1:
        raise ConfigError(f"--memory {arguments.memory:g} is too little for a rank", remedy="give 4, in GB, or more")
    if MPI.COMM_WORLD.rank == 0:
        start_log("cluster")
    k = None if arguments.k == "auto" else int(arguments.k)
    parameters = Parameters(arguments.algorithm, k, arguments.seed, arguments.directions, arguments.seedings)
    limits = (arguments.ranks, arguments.memory)
    cluster_fragments(MPI.COMM_WORLD, arguments.manifest, arguments.out, parameters, *limits, arguments.overlaps)


def main_on_rank() -> None:
    """Print an error that all ranks share once, and end all ranks with one exit code."""
    try:
        main()
    except ReadcladeError as error:
        if MPI.COMM_WORLD.rank == 0:
            print(f"error: {error}", file=sys.stderr, flush=True)
        # The first rank to exit aborts the others: let rank 0 print before, but never wait for a rank that is lost.
        printed = MPI.COMM_WORLD.Ibarrier()
        deadline = time.monotonic() + 10
        while not printed.Test() and time.monotonic() < deadline:
            time.sleep(0.01)
        sys.exit(get_exit_code(error))


if __name__ == "__main__":
    main_on_rank()
