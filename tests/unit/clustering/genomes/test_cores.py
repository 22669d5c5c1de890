"""What is known of groups and of their clusters, tested on counts drawn by chance."""

from itertools import combinations

import numpy as np
import pytest

from readclade.clustering.genomes.composition import WORDS, score_groups
from readclade.clustering.genomes.cores import Cores, make_link_matrix


def make_cores(words: np.ndarray, pairs: list[tuple[int, int]]) -> Cores:
    count = len(words)
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    links = make_link_matrix(count, first, second, np.full(len(pairs), 9))
    weights = np.full(count, 100)
    return Cores(np.zeros((count, 2)), weights, np.ones(count, np.int64), words, links, np.zeros((count, 1), bool))


@pytest.fixture
def words() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.3, (9, WORDS)).astype(np.float32)


def test_groups_count_apart_by_the_links_within_their_cluster(words):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    clique, row, between = list(combinations(range(4), 2)), [(4, 5), (5, 6)], [(0, 4), (7, 1), (8, 2)]
    cores = make_cores(words, clique + row + between)
    assert cores.count_apart(labels) == pytest.approx([1, 1 / 2 + 1 / 3 + 1 / 2, 2])
    assert make_cores(words, []).count_apart(labels) == pytest.approx([4, 3, 2])


def test_a_cluster_is_taken_without_the_groups_that_overlap(words):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    cores = make_cores(words, [(0, 1), (1, 2), (0, 4), (7, 8)])
    left_out = words.copy()
    for group, other in [(0, 1), (1, 0), (1, 2), (2, 1), (7, 8), (8, 7)]:
        left_out[group] += words[other]
    expected = score_groups(words, left_out, labels, 2)[0]
    assert np.array_equal(cores.score(labels, without_neighbours=True), expected)
    assert np.array_equal(cores.score(labels), score_groups(words, words, labels, 2)[0])
    assert (np.flatnonzero(cores.score(labels)[:, 0] != expected[:, 0]) == [0, 1, 2]).all()
    assert cores.score(labels) is cores.score(labels)  # kept


def test_depth_is_how_often_a_stretch_was_read(words):
    assert make_cores(words, []).log_depths == pytest.approx(np.log(words.sum(axis=1) / 100))
