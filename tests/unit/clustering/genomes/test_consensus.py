"""Consensus of clusterings: scipy's average linkage of all points is the oracle."""

import numpy as np
import pytest
from mpi4py import MPI
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import pdist
from sklearn.metrics import adjusted_rand_score

from readclade.clustering.genomes import consensus
from readclade.clustering.genomes.consensus import join_clusterings, merge_heaps


def make_clusterings(points: int, clusterings: int, k: int, seed: int, agreement: float = 0.7):
    """Return k true clusters, and clusterings that put a part of the points at random."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, k, points)
    names = np.stack([rng.permutation(k) for _ in range(clusterings)], axis=1)
    random = rng.integers(0, k, (points, clusterings))
    return true, np.where(rng.random(random.shape) < agreement, names[true], random)


@pytest.mark.parametrize("seed", range(6))
def test_merge_heaps_is_average_linkage_of_points(seed):
    _, labels = make_clusterings(60, 31, 6, seed)
    heaps, weights = np.unique(labels, axis=0), np.random.default_rng(seed).integers(1, 6, 60)
    weights = weights[: len(heaps)]
    points = np.repeat(heaps, weights, axis=0)
    expected = fcluster(average(pdist(points, "hamming")), 8, "maxclust")
    found = np.repeat(merge_heaps(heaps, weights, 8), weights)
    assert adjusted_rand_score(expected, found) == 1
    assert set(found) == set(range(8))


def test_join_clusterings_finds_what_each_clustering_shows_in_part():
    true, labels = make_clusterings(3000, 8, 12, 1)
    joined = join_clusterings(MPI.COMM_SELF, labels, np.ones(3000, np.int64), 12)
    single = [adjusted_rand_score(true, labels[:, column]) for column in range(8)]
    assert max(single) < 0.6
    assert adjusted_rand_score(true, joined) > 0.95


def test_join_clusterings_does_not_depend_on_the_order_of_points():
    _, labels = make_clusterings(500, 5, 7, 2)
    weights = np.random.default_rng(2).integers(1, 1000, 500)
    order = np.random.default_rng(3).permutation(500)
    joined = join_clusterings(MPI.COMM_SELF, labels, weights, 7)
    assert np.array_equal(join_clusterings(MPI.COMM_SELF, labels[order], weights[order], 7), joined[order])


def test_join_clusterings_compares_a_bounded_number_of_heaps(monkeypatch):
    monkeypatch.setattr(consensus, "_MOST_HEAPS", 3)
    labels = np.array([[0, 0], [0, 1], [1, 1], [2, 2], [2, 2], [2, 2]])
    joined = join_clusterings(MPI.COMM_SELF, labels, np.array([5, 4, 1, 2, 2, 2]), 2)
    # The heap of one is left out; the first two share a cluster.
    assert joined.tolist() == [0, 0, -1, 1, 1, 1]


def test_join_clusterings_with_fewer_heaps_than_clusters():
    labels = np.array([[0, 0], [0, 0], [1, 1]])
    assert join_clusterings(MPI.COMM_SELF, labels, np.ones(3, np.int64), 3) is None
    assert join_clusterings(MPI.COMM_SELF, labels, np.array([1, 1, 0]), 2) is None  # what weighs nothing is no heap
    assert join_clusterings(MPI.COMM_SELF, labels[:0], np.zeros(0, np.int64), 1) is None
    assert join_clusterings(MPI.COMM_SELF, labels, np.ones(3, np.int64), 2).tolist() == [0, 0, 1]
