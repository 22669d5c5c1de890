"""Groups of links against the plain way: a list of sets."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.groups.grouping import group_in_rounds, group_links, order_links
from readclade.clustering.ranks.exchange import Layout

BOUNDS = (6, 15, 40)


def make_graph(seed: int, n: int = 150):
    """Return links of fragments that lie near one another in a chain, as overlaps do, with many equal strengths."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, n, (5 * n, 1)) + rng.integers(0, 12, (5 * n, 2))
    pairs = np.unique(np.sort(np.clip(pairs, 0, n - 1), axis=1), axis=0)
    pairs = rng.permutation(pairs[pairs[:, 0] < pairs[:, 1]])
    strengths = rng.integers(0, [2, 10, 10**12][seed % 3], len(pairs))
    sizes = rng.integers(1, 9, n)
    overlaps = rng.integers(0, 1 + sizes[pairs].min(axis=1)) if seed % 2 else np.zeros(len(pairs), np.int64)
    return n, pairs[:, 0], pairs[:, 1], strengths, overlaps, sizes


def group_plainly(n, first, second, strengths, overlaps, sizes) -> list[list[int]]:
    groups, spans = {x: {x} for x in range(n)}, dict(enumerate(sizes.tolist()))
    root = list(range(n))
    levels = []
    for bound in BOUNDS:
        for link in order_links(first, second, strengths).tolist():
            a, b = sorted((root[first[link]], root[second[link]]))
            if a == b:
                continue
            united = max(spans[a] + spans[b] - int(overlaps[link]), spans[a], spans[b])
            if united <= bound:
                groups[a] |= groups.pop(b)
                spans[a] = united
                for x in groups[a]:
                    root[x] = a
        levels.append(list(root))
    return levels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("function", [group_links, group_in_rounds])
def test_groups_are_those_of_the_plain_way(seed, function):
    n, *links, sizes = make_graph(seed)
    expected = group_plainly(n, *links, sizes)
    found, _ = function(Layout(MPI.COMM_SELF, np.array([0, 40, 40, n])), *links, sizes, BOUNDS)
    assert [level.tolist() for level in found] == expected
    assert len(set(expected[0])) > len(set(expected[2]))


@pytest.mark.parametrize("function", [group_links, group_in_rounds])
def test_no_links_and_no_fragments(function):
    nothing = np.zeros(0, np.int64)
    for n in (0, 3):
        levels, _ = function(Layout(MPI.COMM_SELF, [0, n]), *[nothing] * 4, np.ones(n, np.int64), BOUNDS)
        assert [level.tolist() for level in levels] == [list(range(n))] * 3


def test_order_is_by_strength_then_by_something_that_both_ends_decide():
    first, second = np.array([0, 0, 1, 2]), np.array([1, 2, 2, 3])
    order = order_links(first, second, np.array([5, 9, 5, 7]))
    assert order[:2].tolist() == [1, 3]
    again = order_links(first[::-1], second[::-1], np.array([7, 5, 9, 5]))
    assert [(first[x], second[x]) for x in order] == [(first[::-1][x], second[::-1][x]) for x in again]


def test_order_of_links_of_one_hash(monkeypatch):
    monkeypatch.setattr("readclade.clustering.groups.grouping._hash_ends", lambda first, second: first * np.uint64(0))
    order = order_links(np.array([3, 1, 1]), np.array([4, 9, 2]), np.array([1, 1, 1]))
    assert order.tolist() == [2, 1, 0]


def test_many_equal_strengths_take_few_rounds():
    n = 3000
    first = np.repeat(np.arange(n - 8), 8)
    second = first + np.tile(np.arange(1, 9), n - 8)
    strengths = np.ones(len(first), np.int64)
    zeros = np.zeros(len(first), np.int64)
    _, rounds = group_in_rounds(
        Layout(MPI.COMM_SELF, [0, n]), first, second, strengths, zeros, np.ones(n, np.int64), (25, 100, 400)
    )
    assert rounds < 60
