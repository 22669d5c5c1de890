"""Groups of linked fragments: strongest link first, never beyond a bound.

A link whose two groups would together exceed the bound is dropped. On several ranks the links that are the best left
at both of their groups join in rounds. That gives what the sequence gives: no better link is left that could change
either group before such a link's turn, and since groups only grow, a link that exceeds the bound once always will.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Delivery, Layout, exchange, look_up
from readclade.hashing import scramble


@numba.njit(cache=True)
def _find(parents, x):
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@numba.njit(cache=True)
def _unite(order, first, second, overlaps, parents, sizes, bound):
    for link in order:
        a = _find(parents, first[link])
        b = _find(parents, second[link])
        if a == b:
            continue
        united = max(sizes[a] + sizes[b] - overlaps[link], sizes[a], sizes[b])
        if united > bound:
            continue
        if b < a:
            a, b = b, a
        parents[b] = a
        sizes[a] = united


@numba.njit(cache=True)
def _flatten(parents, roots):
    for x in range(len(parents)):
        roots[x] = _find(parents, x)


def _hash_ends(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (m,) uint64 that decides between links of equal strength."""
    return scramble(scramble(first).view(np.int64) ^ second)


def order_links(first: np.ndarray, second: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Return the order of links by falling strength; ties by a hash of their ends, then by first and second."""
    ties = _hash_ends(first, second)
    order = np.argsort(ties)
    order = order[np.argsort(-strengths[order], kind="stable")]
    same = (ties[order[1:]] == ties[order[:-1]]) & (strengths[order[1:]] == strengths[order[:-1]])
    # Two pairs with one hash are rare: only they make the slow way necessary.
    return np.lexsort([second, first, ties, -strengths]) if same.any() else order


def group_nested(n: int, order, first, second, overlaps, sizes, bounds: Sequence[int]) -> list[np.ndarray]:
    """Return for each bound the (n,) int64 root of every fragment's group, each level made of the groups before it.

    Args:
        n: number of fragments, which have the ids 0 .. n - 1.
        order: (m,) the links in the order in which they join.
        first, second: (m,) int64 ids of their ends.
        overlaps: (m,) int64, how much smaller than the sum of its parts the union is.
        sizes: (n,) int64.
    """
    parents = np.arange(n)
    sizes = sizes.copy()
    levels = []
    for bound in bounds:
        _unite(order, first, second, overlaps, parents, sizes, bound)
        roots = np.empty(n, np.int64)
        _flatten(parents, roots)
        levels.append(roots)
    return levels


def group_links(
    layout: Layout, first, second, strengths, overlaps, sizes, bounds: Sequence[int]
) -> tuple[list[np.ndarray], int]:
    """Return `group_nested` of all ranks' links, and in how many rounds it was found. Collective.

    Args:
        first, second: (m,) int64 ids of the ends of this rank's links; a pair is linked once over all ranks.
        strengths, overlaps: (m,) int64.
        sizes: (n,) int64, of this rank's fragments.

    Returns:
        for each bound the (n,) int64 root (the smallest id) of every group of this rank's fragments.
    """
    if layout.comm.size == 1:
        order = order_links(first, second, strengths)
        return group_nested(layout.count, order, first, second, overlaps, sizes, bounds), 1
    return group_in_rounds(layout, first, second, strengths, overlaps, sizes, bounds)


@dataclass
class _Ends:
    """The groups that this rank's links still join.

    Attributes:
        roots: (r,) int64 ids.
        sizes: (r,) int64.
        a, b: (m,) indices into them.
    """

    roots: np.ndarray
    sizes: np.ndarray
    a: np.ndarray
    b: np.ndarray


@numba.njit(cache=True)
def _find_first(a, b, best):
    """Write the first link at each root; -1 at roots without."""
    best[:] = -1
    for link in range(len(a)):
        if best[a[link]] < 0:
            best[a[link]] = link
        if best[b[link]] < 0:
            best[b[link]] = link


@numba.njit(cache=True)
def _choose_best(local, strengths, ties, first, second, best, wins):
    """Mark of each root's candidates the best one; `best` (n,) is -1 before and after."""
    for row in range(len(local)):
        held = best[local[row]]
        if held < 0:
            best[local[row]] = row
            continue
        if strengths[row] != strengths[held]:
            is_better = strengths[row] > strengths[held]
        elif ties[row] != ties[held]:
            is_better = ties[row] < ties[held]
        elif first[row] != first[held]:
            is_better = first[row] < first[held]
        else:
            is_better = second[row] < second[held]
        if is_better:
            best[local[row]] = row
    for row in range(len(local)):
        wins[row] = best[local[row]] == row
    for row in range(len(local)):
        best[local[row]] = -1


def group_in_rounds(
    layout: Layout, first, second, strengths, overlaps, sizes, bounds: Sequence[int]
) -> tuple[list[np.ndarray], int]:
    """Do what `group_links` does in rounds, on any number of ranks. Collective."""
    order = order_links(first, second, strengths)
    links = [column[order] for column in (strengths, _hash_ends(first, second), first, second, overlaps)]
    fragments, ends = np.unique(np.concatenate(links[2:4]), return_inverse=True)
    ends = ends.reshape(2, -1)
    # What the holder of a fragment knows of it: its group's root, or the root that took that over, and its size.
    state = np.column_stack([layout.ids, sizes])
    best = np.full(len(state), -1, np.int64)
    levels, rounds = [], 0
    for bound in bounds:
        rounds += _run_level(layout, links, _renumber(layout, state, fragments, ends), state, best, bound)
        while True:
            roots = look_up(layout, state[:, 0], state[:, 0])
            changed = int(sum_integers(layout.comm, np.array([(roots != state[:, 0]).sum()]))[0])
            state[:, 0] = roots
            if not changed:
                break
        state[:, 1] = look_up(layout, roots, state[:, 1])
        levels.append(roots)
    return levels, rounds


def _run_level(layout: Layout, links: list[np.ndarray], ends: _Ends, state, best, bound: int) -> int:
    """Join groups until no link is left that may; return the number of rounds. Collective."""
    comm = layout.comm
    rounds = 0
    while True:
        size_a, size_b = ends.sizes[ends.a], ends.sizes[ends.b]
        united = np.maximum(size_a + size_b - links[4], np.maximum(size_a, size_b))
        kept = (ends.a != ends.b) & (united <= bound)
        links, united = [column[kept] for column in links], united[kept]
        ends.a, ends.b = ends.a[kept], ends.b[kept]
        if not sum_integers(comm, np.array([len(united)]))[0]:
            return rounds
        rounds += 1

        firsts = np.empty(len(ends.roots), np.int64)
        _find_first(ends.a, ends.b, firsts)
        nodes = np.flatnonzero(firsts >= 0)
        delivery = Delivery(comm, layout.owner(ends.roots[nodes]))
        strengths, ties, first, second = (delivery.send(column[firsts[nodes]]) for column in links[:4])
        local = layout.local(delivery.send(ends.roots[nodes]))
        wins = np.empty(len(local), bool)
        _choose_best(local, strengths, ties, first, second, best, wins)
        winners = firsts[nodes[delivery.reply(wins)]]
        # A link that won at both of its ends is there twice.
        winners, times = np.unique(winners, return_counts=True)
        winners = winners[times == 2]

        a, b = ends.roots[ends.a[winners]], ends.roots[ends.b[winners]]
        lower, higher = np.minimum(a, b), np.maximum(a, b)
        told = np.concatenate([lower, higher])
        news = np.column_stack([np.tile(lower, 2), np.tile(united[winners], 2)])
        told, news = exchange(comm, layout.owner(told), [told, news])
        state[layout.local(told)] = news
        ends = _renumber(layout, state, ends.roots, np.stack([ends.a, ends.b]))


def _renumber(layout: Layout, state: np.ndarray, roots: np.ndarray, ends: np.ndarray) -> _Ends:
    """Return the groups that have taken over those at the ends of this rank's links. Collective.

    Args:
        roots: (r,) int64 ids of groups, also several times the same.
        ends: (2, m) indices into them.
    """
    used = np.zeros(len(roots), bool)
    used[ends] = True
    places = np.cumsum(used) - 1
    found = look_up(layout, roots[used], state)
    now, inverse = np.unique(found[:, 0], return_inverse=True)
    sizes = np.empty(len(now), np.int64)
    sizes[inverse] = found[:, 1]
    a, b = inverse[places[ends]]
    return _Ends(now, sizes, a, b)
