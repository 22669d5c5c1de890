"""Cluster samples in several ways, each into a folder of its own: one launch instead of many.

mpiexec -n 3 python -m mpi4py run_clusterings.py OUT FOLDER_OF_SAMPLES JOB ...
"""

import sys
from pathlib import Path

from mpi4py import MPI

from readclade.clustering.job import Parameters, cluster_fragments

JOBS = {
    "auto": (["linked"], "kmeans", None),
    "given": (["linked"], "kmeans", 3),
    "many": (["linked"], "kmeans", 20),  # too many for composition models
    "lsh": (["linked"], "lsh", None),
    "unlinked": (["pairs"], "kmeans", 8),
    "two": (["pairs", "linked"], "kmeans", None),
    "long": (["long"], "kmeans", 2),
    "sparse": (["sparse"], "kmeans", None),  # long reads without any link
    "long_lsh": (["long"], "lsh", None),
}
WITH_OVERLAPS = {"lsh", "two", "long"}

if __name__ == "__main__":
    out, samples = map(Path, sys.argv[1:3])
    for job in sys.argv[3:]:
        names, algorithm, k = JOBS[job]
        manifests = [samples / name / "manifest.json" for name in names]
        parameters = Parameters(algorithm, k, 0, 16, 2)
        cluster_fragments(MPI.COMM_WORLD, manifests, out / job, parameters, has_overlaps=job in WITH_OVERLAPS)
