"""Which pairs of long reads share k-mers enough to be compared, and where these k-mers stand in both."""

from dataclasses import dataclass

import numba
import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_MOST_PARTNERS = 80  # of a read among those of higher numbers: deep places cost no more


@dataclass(frozen=True)
class Candidates:
    """Pairs of reads that share k-mers, by first, partner and orientation.

    Attributes:
        first: (c,) int64, index among the reads whose rows were grouped.
        partner: (c,) int64 fragments.
        is_reversed: (c,) bool, whether the k-mers stand on opposite strands.
        begins: (c + 1,) int64, where the hits of each pair begin.
        hits: (h,) int64, sorted within each pair: position in the first read times 2^32, plus that in the partner,
            which counts negative where reversed.
    """

    first: np.ndarray
    partner: np.ndarray
    is_reversed: np.ndarray
    begins: np.ndarray
    hits: np.ndarray


@numba.njit(cache=True)
def _find_slot(keys, key):
    mask = len(keys) - 1
    slot = ((key * 0x9E3779B1) >> 8) & mask
    while keys[slot] != -1 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True)
def _count_partners(mine, theirs, keys, counts, used, slots):
    """Fill the table with the partners of one read's rows and how many rows each has; return how many partners."""
    distinct = 0
    for row in range(len(mine)):
        key = (np.int64(theirs[row] >> np.uint64(32)) << 1) | np.int64((mine[row] ^ theirs[row]) & np.uint64(1))
        slot = _find_slot(keys, key)
        slots[row] = slot
        if keys[slot] == -1:
            keys[slot] = key
            used[distinct] = slot
            distinct += 1
        counts[slot] += 1
    return distinct


@numba.njit(cache=True)
def _choose_partners(keys, counts, used, distinct, least, chosen):
    """Write the partners of enough rows, ascending, and of these those of most rows; return how many."""
    kept = 0
    for u in range(distinct):
        if counts[used[u]] >= least:
            chosen[kept] = keys[used[u]]
            kept += 1
    chosen[:kept].sort()
    if kept <= _MOST_PARTNERS:
        return kept
    sizes = np.empty(kept, np.int64)
    for u in range(kept):
        sizes[u] = counts[_find_slot(keys, chosen[u])]
    # Of equal ones the lowest: the order of a stable sort.
    order = np.argsort(-sizes, kind="mergesort")[:_MOST_PARTNERS]
    order.sort()
    for u in range(_MOST_PARTNERS):
        chosen[u] = chosen[order[u]]
    return _MOST_PARTNERS


@numba.njit(cache=True)
def _place_hits(mine, theirs, counts, slots, hits):
    """Write the rows of chosen partners, of which the table tells -1 less the place of the next."""
    for row in range(len(mine)):
        slot = slots[row]
        if counts[slot] < 0:
            position = np.int64((theirs[row] & _LOW) >> np.uint64(1))
            if (mine[row] ^ theirs[row]) & np.uint64(1):
                position = -position
            hits[-1 - counts[slot]] = (np.int64((mine[row] & _LOW) >> np.uint64(1)) << 32) + position
            counts[slot] -= 1


@numba.njit(cache=True)
def _group(begins, mine, theirs, least, first, partner, is_reversed, ends, hits):
    """Write the pairs of at least so many hits; return how many there are."""
    most = 1
    for i in range(len(begins) - 1):
        most = max(most, begins[i + 1] - begins[i])
    size = 2
    while size < 2 * most:
        size *= 2
    keys, counts = np.full(size, -1, np.int64), np.zeros(size, np.int64)
    used, slots, chosen = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    pair, at = 0, np.int64(0)
    for i in range(len(begins) - 1):
        own, others = mine[begins[i] : begins[i + 1]], theirs[begins[i] : begins[i + 1]]
        distinct = _count_partners(own, others, keys, counts, used, slots)
        for u in range(_choose_partners(keys, counts, used, distinct, least, chosen)):
            slot = _find_slot(keys, chosen[u])
            first[pair], partner[pair], is_reversed[pair] = i, chosen[u] >> 1, chosen[u] & 1
            number = counts[slot]
            counts[slot] = -1 - at
            at += number
            ends[pair] = at
            pair += 1
        _place_hits(own, others, counts, slots, hits)
        for u in range(distinct):
            keys[used[u]], counts[used[u]] = -1, 0
    return pair


@numba.njit(cache=True)
def _sort_hits(begins, hits):
    for c in range(len(begins) - 1):
        for h in range(begins[c] + 1, begins[c + 1]):
            if hits[h - 1] > hits[h]:  # several ranks sent them
                hits[begins[c] : begins[c + 1]].sort()
                break


def group_rows(begins: np.ndarray, mine: np.ndarray, theirs: np.ndarray, least_hits: int) -> Candidates:
    """Return the pairs of reads that have at least so many rows of one orientation.

    Args:
        begins: (n + 1,) int64, the rows of read i are begins[i] : begins[i + 1].
        mine, theirs: (rows,) uint64 places of long reads.
    """
    # Where rows are many for each pair, most of these pages are never touched.
    most = len(mine) // least_hits
    first, partner, is_reversed = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_)
    ends, hits = np.zeros(most + 1, np.int64), np.empty(len(mine), np.int64)
    count = _group(begins, mine, theirs, least_hits, first, partner, is_reversed, ends[1:], hits)
    ends = ends[: count + 1].copy()
    _sort_hits(ends, hits)
    return Candidates(first[:count].copy(), partner[:count].copy(), is_reversed[:count].copy(), ends, hits)
