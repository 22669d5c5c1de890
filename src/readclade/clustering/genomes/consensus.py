"""Consensus of several clusterings: points that most of them put together belong together.

Points with the same cluster in every clustering make a heap. Heaps are merged by average linkage of the share of
clusterings that put them together (Fred and Jain 2005, "Combining multiple clusterings using evidence accumulation"),
until as many are left as there are clusters. No table of points by points is needed, and the heaps of all ranks are
the same as those of one.
"""

import numpy as np
from mpi4py import MPI

from readclade.clustering.ranks.communicator import gather_rows
from readclade.clustering.ranks.exchange import exchange
from readclade.hashing import scramble

_MOST_HEAPS = 4096  # the heaviest; rank 0 compares each with each, in 64 MB


def join_clusterings(comm: MPI.Comm, labels: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray | None:
    """Return (n,) int64: the cluster of each of this rank's points, -1 for those in small heaps. Collective.

    None where the clusterings have fewer than k heaps.

    Args:
        labels: (n, s) int64, >= 0, the cluster of each point in each of s clusterings.
        weights: (n,) int64, >= 0.
        k: number of clusters, at most 4,096.
    """
    own, places = np.unique(labels, axis=0, return_inverse=True)
    sums = np.zeros(len(own), np.int64)
    np.add.at(sums, places.reshape(-1), weights)
    heaps, sums = _gather_heaviest(comm, own, sums)
    if len(heaps) < k:
        return None
    merged = comm.bcast(merge_heaps(heaps, sums, k) if comm.rank == 0 else None)
    found = {heap.tobytes(): label for heap, label in zip(heaps, merged.tolist(), strict=True)}
    return np.array([found.get(heap.tobytes(), -1) for heap in own], np.int64)[places.reshape(-1)]


def _gather_heaviest(comm: MPI.Comm, heaps: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return on every rank the heaviest heaps of all ranks, in their order, and what they weigh. Collective."""
    keys = np.zeros(len(heaps), np.uint64)
    for column in heaps.T:
        keys = scramble(keys.view(np.int64) ^ column)
    owners = (keys % np.uint64(comm.size)).astype(np.int64)
    heaps, sums = exchange(comm, owners, [heaps, sums])
    heaps, places = np.unique(heaps, axis=0, return_inverse=True)
    total = np.zeros(len(heaps), np.int64)
    np.add.at(total, places.reshape(-1), sums)

    def choose(rows: np.ndarray) -> np.ndarray:
        rows = rows[rows[:, 0] > 0]
        return rows[np.lexsort([*rows[:, :0:-1].T, -rows[:, 0]])[:_MOST_HEAPS]]

    rows = choose(gather_rows(comm, choose(np.column_stack([total, heaps]))))
    rows = rows[np.lexsort(rows[:, :0:-1].T)]
    return np.ascontiguousarray(rows[:, 1:]), rows[:, 0]


def merge_heaps(heaps: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """Return (h,) int64, 0 .. k - 1: the heaps merged by average linkage, those most often together first.

    Args:
        heaps: (h, s) int64, the cluster of each heap in each clustering; h >= k.
        weights: (h,) int64, > 0.
    """
    together = np.zeros((len(heaps), len(heaps)), np.float32)
    for column in heaps.T:
        together += column[:, None] == column
    np.fill_diagonal(together, -1)
    sizes, labels = weights.astype(np.float64), np.arange(len(heaps))
    # Of each heap its nearest. Those that are gone have -1 everywhere, and are never the nearest of the rest.
    nearest = together.argmax(axis=1)
    best = together[labels, nearest]
    for _ in range(len(heaps) - k):
        a = int(best.argmax())
        a, b = sorted((a, int(nearest[a])))
        average = ((sizes[a] * together[a] + sizes[b] * together[b]) / (sizes[a] + sizes[b])).astype(np.float32)
        average[together[a] < 0] = -1
        average[[a, b]] = -1
        together[a] = together[:, a] = average
        together[b] = together[:, b] = -1
        sizes[a] += sizes[b]
        labels[labels == b] = a
        best[b] = -1
        # Others may have lost their nearest, or found a nearer one.
        stale = np.flatnonzero((best >= 0) & ((nearest == a) | (nearest == b)))
        for row in {a, *stale.tolist()}:
            nearest[row] = together[row].argmax()
            best[row] = together[row, nearest[row]]
        nearer = average > best
        nearest[nearer], best[nearer] = a, average[nearer]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
