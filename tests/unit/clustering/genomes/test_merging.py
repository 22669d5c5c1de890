"""Clusters that are parts of one genome are told from two genomes, by reads that join them and by markers."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from readclade.clustering.genomes.cores import Cores
from readclade.clustering.genomes.merging import (
    Clusters,
    count_places,
    count_shared,
    describe_clusters,
    find_alone,
    find_bridged,
    find_ends,
    find_island,
    find_remnants,
    list_continued,
    list_halves,
)


def make(counts, stretches=None, depths=None, near=1.2, shared=0, joining=0.0, places=0, is_long=False) -> Clusters:
    """Return clusters with so many markers each, and `shared` more in all; the first two lie near, others far."""
    count = len(counts)
    markers = np.zeros((count, sum(counts) + shared), bool)
    for number, held in enumerate(counts):
        begin = sum(counts[:number])
        markers[number, begin : begin + held] = True
    markers[:, sum(counts) :] = True
    distances = np.full((count, count), 3.0)
    distances[0, 1] = distances[1, 0] = near
    np.fill_diagonal(distances, np.inf)
    stretches = np.ones(count) if stretches is None else np.array(stretches)
    depths = np.full(count, 8.0) if depths is None else np.array(depths)
    matrix, pair = np.full((count, count), joining), (0, 1)
    are_long = np.full(count, is_long)
    return Clusters(markers, stretches, depths, distances, matrix, {pair: places}, {pair: shared}, are_long, False)


# Bridged


@pytest.mark.parametrize(("near", "places"), [(1.2, 1), (1.3, 2), (2.5, 2)])
def test_what_reads_join_is_one_genome(near, places):
    clusters = make([3, 2, 30], near=near, places=places, joining=0.06)
    assert find_bridged(clusters) == (0, 1)
    assert find_bridged(replace(clusters, is_short=True)) == ((0, 1) if near < 1.25 else None)  # repeats do it
    assert list_halves(clusters) == []
    assert find_island(clusters) is None


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [3, 2, 30], "near": 1.3, "places": 1},  # a stray group of the one in the other
        {"counts": [3, 2, 30], "near": 2.7},
        {"counts": [3, 2, 30], "joining": 0.04},  # as much as mistaken links reach
        {"counts": [3, 2, 30], "depths": (8.0, 4.0, 8.0)},
        {"counts": [30, 20, 30], "shared": 6},  # relatives, whose conserved genes link them
    ],
)
def test_what_reads_hardly_join_is_not(case):
    assert find_bridged(make(**{"near": 2.0, "places": 2, "joining": 0.2} | case)) is None


def make_cores(links: list[tuple[int, int]], count: int) -> Cores:
    first, second = np.array(links).T
    matrix = sparse.coo_array((np.full(len(links), 3.0), (first, second)), shape=(count, count)).tocsr()
    words = np.random.default_rng(0).poisson(5, (count, 4096)).astype(np.float32)
    ones = np.ones(count, np.int64)
    return Cores(np.zeros((count, 2)), 1000 * ones, ones, words, matrix + matrix.T, np.eye(count, dtype=bool))


def test_links_of_groups_that_are_linked_are_one_place():
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    row = [(0, 1), (1, 2), (3, 4), (4, 5)]
    for crossings, places in (
        ([], 0),
        ([(2, 3)], 1),
        ([(2, 3), (1, 3), (2, 4)], 1),
        ([(0, 3), (2, 5)], 2),
        ([(2, 6), (3, 6)], 0),  # over a third cluster
    ):
        assert count_places(make_cores(row + crossings, 7), labels == 0, labels == 1) == places


def test_what_linked_groups_hold_is_there_once():
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    cores = make_cores([(0, 1), (0, 3), (2, 6)], 7)
    for held, shared in (
        ([0, 3], 0),  # in the overlap of two groups, it may be
        ([0, 4], 1),
        ([1, 3], 1),
        ([0, 3, 5], 0),
        ([2, 6], 0),  # not in the second
    ):
        markers = np.zeros((7, 2), bool)
        markers[held, 1] = True
        assert count_shared(replace(cores, markers=markers), labels == 0, labels == 1) == shared


def test_describe_clusters():
    labels = np.array([0, 0, 0, 1, 1, 1])
    cores = make_cores([(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (2, 5)], 6)
    clusters = describe_clusters(cores, labels)
    assert clusters.markers.tolist() == [[True] * 3 + [False] * 3, [False] * 3 + [True] * 3]
    assert clusters.stretches.tolist() == [3000, 3000]
    assert clusters.depths == pytest.approx(cores.letters.reshape(2, 3).mean(axis=1) / 1000)
    assert clusters.joining[0, 1] == pytest.approx(2 / 3)  # 4 of the 12 ends are not where they would be by chance
    assert clusters.places == {(0, 1): 2}
    assert clusters.shared == {(0, 1): 0}
    assert clusters.are_long.tolist() == [False, False]
    assert describe_clusters(replace(cores, weights=50 * cores.weights), labels).are_long.all()


# Islands


def find_one(counts, stretches=(1.0, 0.5, 1.0), near=1.25, **options):
    return find_island(make(counts, stretches, near=near, **options))


def test_a_near_cluster_without_markers_is_an_island():
    assert find_one([30, 0, 30]) == (0, 1)
    assert find_one([0, 30, 30], stretches=(0.5, 1.0, 1.0)) == (0, 1)
    assert find_one([4, 0, 90]) == (0, 1)
    assert find_one([0, 0, 90]) == (0, 1)


@pytest.mark.parametrize("count", [0, 3])
def test_far_less_than_what_is_as_deep_is_an_island(count):
    assert find_one([30, count, 30], stretches=(1.0, 0.05, 1.0), near=2.2) == (0, 1)


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [30, 15, 30]},  # as many as a genome may have
        {"counts": [30, 30, 0], "stretches": (1.0, 1.0, 0.5)},  # the poor one lies far from all
        {"counts": [20, 0, 20], "stretches": (1.0, 0.11, 1.0)},  # too short for markers to tell
        # Of rare genomes little is read anyway.
        {"counts": [30, 0, 30], "stretches": (1.0, 0.05, 1.0), "depths": (2.0, 2.0, 2.0)},
        {"counts": [30, 0, 30], "stretches": (1.0, 0.05, 1.0), "near": 2.6},
        {"counts": [30, 1, 30], "stretches": (1.0, 0.05, 1.0), "shared": 1},
        {"counts": [8, 3, 90]},  # the other is as poor in known markers
        {"counts": [30, 2, 30], "stretches": (1.0, 1.0, 1.0)},  # as long as the others: a genome of unknown markers
        {"counts": [30, 1, 30], "shared": 1},  # a marker in both: two genomes
        {"counts": [30, 0, 30], "depths": (8.0, 2.0, 8.0)},
        {"counts": [30, 0, 30], "near": 2.5},
        {"counts": [0, 0, 0]},  # nothing is known of any
    ],
)
def test_other_clusters_are_none(case):
    assert find_one(**case) is None


def test_the_nearest_island_comes_first():
    four = make([40, 0, 40, 0], (1, 0.4, 1, 0.4), near=1.4)
    four.distances[2, 3] = four.distances[3, 2] = 1.1
    four.shared[2, 3] = 0
    assert find_island(four) == (2, 3)


# Remnants


def test_what_is_too_short_and_poor_for_a_genome_is_a_remnant_however_far_it_lies():
    clusters = make([60, 0, 60], stretches=(1.0, 0.08, 1.0), near=3.0)
    assert find_island(clusters) is None
    assert find_remnants(clusters).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [60, 0, 60], "stretches": (1.0, 0.12, 1.0)},
        {"counts": [60, 4, 60], "stretches": (1.0, 0.08, 1.0)},  # a genome, if a small one
        {"counts": [20, 0, 20], "stretches": (1.0, 0.05, 1.0)},  # too short for markers to tell
        {"counts": [60, 0, 60], "stretches": (1.0, 0.08, 1.0), "depths": (2.0, 2.0, 2.0)},
        {"counts": [60, 0, 60], "stretches": (1.0, 0.08, 1.0), "depths": (8.0, 80.0, 8.0)},  # it may be a virus
    ],
)
def test_what_may_be_a_genome_is_none(case):
    assert not find_remnants(make(**{"near": 3.0} | case)).any()


# Halves


def test_near_clusters_that_share_no_markers_are_halves_of_one_genome():
    assert list_halves(make([20, 15, 30])) == [(0, 1)]
    assert list_halves(make([20, 9, 30], shared=1)) == [(0, 1)]  # genomes hold a few twice
    assert list_halves(make([8, 3, 30], is_long=True)) == [(0, 1)]  # what long groups say needs no markers


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [20, 15, 30], "near": 1.3},
        {"counts": [20, 15, 30], "depths": (8.0, 4.0, 8.0)},
        {"counts": [20, 15, 30], "shared": 5},  # relatives
        {"counts": [40, 30, 30]},  # more than a genome holds
        {"counts": [8, 3, 30]},  # with so few, two genomes have hardly any in common
        {"counts": [20, 0, 30]},
        {"counts": [8, 3, 30], "shared": 2, "is_long": True},
        {"counts": [8, 3, 30], "near": 1.3, "is_long": True},
        {"counts": [20, 15, 0]},  # the other cluster does not tell how many a genome holds
    ],
)
def test_near_clusters_that_may_be_two_genomes_stay_two(case):
    assert list_halves(make(**case)) == []


# Alone


@pytest.mark.parametrize("counts", [[30, 20], [3, 4], [0, 0]])
def test_two_near_clusters_that_are_alone_are_one_genome(counts):
    assert find_alone(make(counts, near=1.9)) == (0, 1)


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [30, 20], "near": 2.1},
        {"counts": [30, 20], "shared": 3},
        {"counts": [3, 4], "shared": 2},
        {"counts": [3, 4], "depths": (8.0, 4.0)},
        {"counts": [3, 4, 30]},  # of many, some two lie near
    ],
)
def test_others_that_are_alone_stay_two(case):
    assert find_alone(make(**{"near": 1.9} | case)) is None


# Continued


def chain_up(*groups: int) -> list[tuple[int, int]]:
    """Return links that make a chain of the groups."""
    return list(pairwise(groups))


def test_ends_of_chains():
    labels = np.array([0] * 7 + [1] * 3)
    everything = np.arange(10)
    chain = chain_up(*range(7))
    assert np.flatnonzero(find_ends(make_cores(chain, 10), labels, everything)).tolist() == [0, 6]
    assert np.flatnonzero(find_ends(make_cores(chain, 10), labels, np.array([2, 6]))).tolist() == [6]
    overlapping = [*chain, (0, 2), (4, 6)]  # the second and the last but one are no joints any more
    assert np.flatnonzero(find_ends(make_cores(overlapping, 10), labels, everything)).tolist() == [0, 1, 5, 6]
    assert not find_ends(make_cores([*chain, (7, 8), (8, 9)], 10), labels, np.array([7, 8, 9])).any()  # a stray's
    assert not find_ends(make_cores([*chain, (6, 7)], 10), labels, np.array([7])).any()  # alone in its cluster


def make_chains(crossing: tuple[int, int] = (5, 6), counts: tuple[int, int] = (8, 2), strays: int = 0, stretch=0.5):
    """Return cores, labels and clusters: chains of six groups, linked as told, and a third cluster next to the first.

    Args:
        counts: of markers in the two clusters.
        strays: how many of the second cluster's groups are not linked to the others.
        stretch: of the second cluster; of the others, 1.
    """
    links = [*chain_up(*range(6)), *chain_up(*range(6 + strays, 12)), crossing]
    labels = np.repeat([0, 1, 2], 6)
    cores = replace(make_cores(links, 18), is_short=True)
    stretches = (1.0, stretch, 1.0)
    clusters = replace(make([*counts, 30], stretches, near=1.9, joining=0.04), is_short=True)
    clusters.distances[0, 2] = clusters.distances[2, 0] = 1.3
    markers = np.zeros((18, clusters.markers.shape[1]), bool)
    for label in range(3):
        markers[6 * label] = clusters.markers[label]
    return replace(cores, markers=markers), labels, clusters


def test_an_island_whose_chains_go_on_in_another_cluster_is_part_of_it_though_a_third_is_nearer():
    cores, labels, clusters = make_chains()
    assert list_continued(cores, labels, clusters) == [(0, 1)]
    assert find_bridged(clusters) is None
    assert list_halves(clusters) == []
    assert list_continued(cores, labels, replace(clusters, is_short=False)) == []


def test_the_nearest_continued_clusters_come_first():
    cores, labels, clusters = make_chains()
    both = make_cores([*chain_up(*range(6)), *chain_up(*range(6, 12)), *chain_up(*range(12, 18)), (5, 6), (11, 12)], 18)
    clusters.distances[1, 2] = clusters.distances[2, 1] = 1.5
    assert list_continued(replace(cores, links=both.links), labels, clusters) == [(1, 2), (0, 1)]


def test_most_links_must_join_ends():
    cores, labels, clusters = make_chains()
    links = [*chain_up(*range(6)), *chain_up(*range(6, 12)), (5, 6)]
    others = [(2, 8), (3, 8), (2, 9), (3, 9)]
    for count, found in ((3, [(0, 1)]), (4, [])):  # of which links, one in four and one in five
        crossing = make_cores([*links, *others[:count]], 18).links
        assert list_continued(replace(cores, links=crossing), labels, clusters) == found


@pytest.mark.parametrize(
    "case",
    [
        {"crossing": (2, 6)},  # from within a chain
        {"crossing": (5, 9)},
        {"crossing": (5, 6), "strays": 3},  # from a chain of three
        {"counts": (30, 8)},  # as many as a genome may have
        {"stretch": 1.0},  # as long as the others: a genome of unknown markers
    ],
)
def test_what_starts_elsewhere_or_is_no_island_stays(case):
    assert list_continued(*make_chains(**case)) == []


@pytest.mark.parametrize(
    "case",
    [
        {"near": 2.1},
        {"depths": (8.0, 4.0, 8.0)},
        {"joining": 0.2},  # as many links as relatives have
        {"counts": [8, 2, 30], "shared": 2},
    ],
)
def test_chains_of_unlike_clusters_are_two_genomes(case):
    cores, labels, _ = make_chains()
    options = {"counts": [8, 2, 30], "stretches": (1.0, 0.5, 1.0), "near": 1.9, "joining": 0.04}
    clusters = replace(make(**options | case), is_short=True)
    markers = np.zeros((18, clusters.markers.shape[1]), bool)
    markers[[0, 11]] = clusters.markers[:2]
    assert list_continued(replace(cores, markers=markers), labels, clusters) == []
