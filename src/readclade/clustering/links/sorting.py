"""Sorting of entries and rows that numpy cannot do in one go."""

import numba
import numpy as np


@numba.njit(cache=True)
def sort_run(firsts, seconds, others, count):
    """Sort the first `count` of three arrays by the first, then the second, by Shell: runs are short, or in order."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for right in range(gap, count):
            first, second, other = firsts[right], seconds[right], others[right]
            at = right
            while at >= gap and (
                firsts[at - gap] > first or (firsts[at - gap] == first and seconds[at - gap] > second)
            ):
                firsts[at], seconds[at], others[at] = firsts[at - gap], seconds[at - gap], others[at - gap]
                at -= gap
            firsts[at], seconds[at], others[at] = first, second, other
        gap //= 3


@numba.njit(cache=True)
def sort_rows(mine, theirs, ids, is_mixed):
    """Return where each fragment's rows begin, and the rows by fragment.

    Args:
        mine, theirs: (rows,) uint64 places; in runs that are in the order of fragments.
        ids: (n,) int64, ascending, the fragments that `mine` may name.
        is_mixed: whether there are several runs.

    Returns:
        (n + 1,) int64, and mine and theirs in order.
    """
    begins = np.zeros(len(ids) + 1, np.int64)
    half = np.uint64(32)
    at = 0
    for row in range(len(mine)):
        fragment = np.int64(mine[row] >> half)
        if fragment < ids[at]:  # the next run's first
            at = 0
        while ids[at] < fragment:
            at += 1
        begins[at + 1] += 1
    for i in range(len(ids)):
        begins[i + 1] += begins[i]
    if not is_mixed:
        return begins, mine, theirs
    ends = begins[:-1].copy()
    sorted_mine, sorted_theirs = np.empty_like(mine), np.empty_like(theirs)
    at = 0
    for row in range(len(mine)):
        fragment = np.int64(mine[row] >> half)
        if fragment < ids[at]:
            at = 0
        while ids[at] < fragment:
            at += 1
        sorted_mine[ends[at]], sorted_theirs[ends[at]] = mine[row], theirs[row]
        ends[at] += 1
    return begins, sorted_mine, sorted_theirs
