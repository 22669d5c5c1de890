"""Chains of nodes: what hangs together by mutual ends, circles, and nodes that lie within others."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.links.chains import find_outermost, place_contained, walk
from readclade.clustering.ranks.exchange import Layout

NONE = -1


def lay_out(count: int) -> Layout:
    return Layout(MPI.COMM_SELF, [0, count])


def join(count: int, *pairs: tuple[int, int]) -> np.ndarray:
    best = np.full(2 * count, NONE)
    for one, other in pairs:
        best[one], best[other] = other, one
    return best


def place(best: np.ndarray, lengths, gap: int = -10):
    lengths = np.array(lengths)
    return walk(lay_out(len(lengths)), best, np.full(len(best), gap), lengths)


def test_nodes_that_nothing_joins_are_chains_of_their_own():
    places = place(join(3), [100, 50, 0])
    assert places.chain.tolist() == [0, 1, 2]
    assert places.position.tolist() == [0, 0, 0]
    assert places.size.tolist() == [100, 50, 0]
    assert not places.is_flipped.any()


def test_a_chain_has_coordinates_whichever_way_its_nodes_lie():
    # 1 runs on into 0, whose right end meets the right end of 2.
    places = place(join(3, (3, 0), (1, 5)), [100, 80, 60])
    assert places.chain.tolist() == [0, 0, 0]
    assert places.size.tolist() == [220, 220, 220]
    # Ends 2 (left of 1) and 4 (left of 2) are outermost: the lower is on the left.
    assert places.position.tolist() == [70, 0, 160]
    assert places.is_flipped.tolist() == [False, False, True]


def test_an_end_that_is_not_the_others_best_joins_nothing():
    best = join(3, (1, 2))
    best[4] = 1  # node 2 would like to follow node 0, too
    assert place(best, [100, 100, 100]).chain.tolist() == [0, 0, 2]


def test_a_gap_may_be_above_zero():
    assert place(join(2, (1, 2)), [100, 100], gap=25).size.tolist() == [225, 225]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17])
def test_a_circle_is_cut_before_its_lowest_node(count):
    circle = [(2 * node + 1, 2 * ((node + 1) % count)) for node in range(count)]
    places = place(join(count, *circle), [100] * count)
    assert places.chain.tolist() == [0] * count
    assert places.position.tolist() == [90 * node for node in range(count)]
    assert places.size.tolist() == [90 * count + 10] * count


def test_long_chains_come_out_as_a_walk_finds_them():
    """Random nodes, turned and renumbered at random, several thousand of them in chains of up to hundreds."""
    rng = np.random.default_rng(3)
    count = 3000
    order, turned = rng.permutation(count), rng.random(count) < 0.5
    lengths, overlaps = rng.integers(50, 200, count), rng.integers(1, 50, count)
    starts = np.unique(np.concatenate([[0], rng.integers(0, count, 20)]))
    best, gaps = np.full(2 * count, NONE), np.zeros(2 * count, np.int64)
    chain, position = np.empty(count, np.int64), np.empty(count, np.int64)
    for begin, end in zip(starts, [*starts[1:], count], strict=True):
        at = 0
        for place_here in range(begin, end):
            node = order[place_here]
            position[node], chain[node] = at, order[begin:end].min()
            if place_here + 1 < end:
                one, other = 2 * node + (not turned[node]), 2 * order[place_here + 1] + turned[order[place_here + 1]]
                best[one], best[other] = other, one
                gaps[one] = gaps[other] = -overlaps[node]
                at += lengths[node] - overlaps[node]
    places = walk(lay_out(count), best, gaps, lengths)
    assert np.array_equal(places.chain, chain)
    same = places.is_flipped == turned
    for name in np.unique(chain):
        inside = chain == name
        assert same[inside].all() or not same[inside].any()
        expected = position[inside] if same[inside].all() else (places.size - position - lengths)[inside]
        assert np.array_equal(places.position[inside], expected)
        assert (places.size[inside] == (position + lengths)[inside].max()).all()


def test_containers_lie_in_one_another():
    layout = lay_out(4)
    # 3 lies in 2 (turned), 2 lies in 1 (turned) and 1 in 0.
    containers, offsets = np.array([NONE, 0, 3, 5]), np.array([0, 50, 20, 5])
    lengths = np.array([500, 300, 100, 30])
    outer, is_turned, begin = find_outermost(layout, containers, offsets, lengths)
    assert outer.tolist() == [0, 0, 0, 0]
    assert is_turned.tolist() == [False, False, True, False]
    # From 70 on 2 lies backwards: its base 5 is the last of 3, which ends at 70 + 100 - 5.
    assert begin.tolist() == [0, 50, 70, 135]


def test_what_is_contained_lies_where_its_container_lies():
    layout = lay_out(3)
    containers, offsets, lengths = np.array([NONE, NONE, 2]), np.array([0, 0, 10]), np.array([100, 80, 30])
    places = walk(layout, join(3, (0, 2)), np.full(6, -20), lengths)  # left end to left end
    places = place_contained(layout, places, containers, offsets, lengths)
    assert places.chain.tolist() == [0, 0, 0]
    assert places.is_flipped.tolist() == [False, True, True] or places.is_flipped.tolist() == [True, False, False]
    # Ends 1 and 3 are outermost: node 0 lies left and runs backwards.
    assert places.position.tolist() == [0, 80, 90]
    assert places.size.tolist() == [160, 160, 160]
