"""What contained reads know: their overlaps are proposals of overlaps between their outermost containers.

At great depth the nearest reads of a read mostly lie within others. Without this its chain would end there.
"""

from collections.abc import Iterator

import numba
import numpy as np

from readclade.clustering.links.chains import find_outermost
from readclade.clustering.links.minimizers import get_reads, make_place
from readclade.clustering.links.nearest import KEPT, Nearest
from readclade.clustering.links.proposals import LEAST
from readclade.clustering.ranks.exchange import Delivery, Layout, find_most, look_up

# Columns of what is known of a read: its outermost container, whether it is reversed there, where it begins in it, both
# lengths.
_OUTER, _TURNED, _BEGIN, _LENGTH, _OUTER_LENGTH = range(5)


@numba.njit(cache=True)
def _propose(ends, partners, overlaps, own, theirs, first, second):
    """Write the proposals between the containers of reads that overlap; return how many.

    Args:
        ends, partners, overlaps: (p,) int64, two ends, and the bases of the overlap.
        own, theirs: (p, 5) int64, what is known of both reads.
    """
    count = 0
    for i in range(len(ends)):
        x, y = own[i], theirs[i]
        if x[_OUTER] >> 1 == y[_OUTER] >> 1:  # of one fragment
            continue
        is_right = ends[i] & 1
        # The second read as the first one runs: whether it is reversed, and where it begins.
        is_turned = np.int64((partners[i] & 1) == is_right)
        begin = x[_LENGTH] - overlaps[i] if is_right else overlaps[i] - y[_LENGTH]
        # The second read's container, from there.
        before = y[_BEGIN] if y[_TURNED] == is_turned else y[_OUTER_LENGTH] - y[_BEGIN] - y[_LENGTH]
        begin -= before
        is_turned ^= y[_TURNED]
        # Both as the first read's container runs.
        if x[_TURNED]:
            begin = x[_LENGTH] - begin - y[_OUTER_LENGTH]
            is_turned ^= 1
        begin += x[_BEGIN]
        n, m = x[_OUTER_LENGTH], y[_OUTER_LENGTH]
        if min(n - begin, m) < LEAST if begin >= 0 else min(m + begin, n) < LEAST:
            continue
        one, other = make_place(max(begin, 0), n, x[_OUTER], 0), make_place(max(-begin, 0), m, y[_OUTER], is_turned)
        first[count], second[count] = (one, other) if begin >= 0 else (other, one)
        count += 1
    return count


def iterate_inherited(reads: Layout, nearest: Nearest, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Hand out proposals, as `iterate_proposals` does, between the containers of reads that overlap. Collective.

    Args:
        reads: layout of this rank's m reads.
        rows: how many reads are looked at at a time.
    """
    known = _describe(reads, nearest)
    m, most = len(known), max(find_most(reads.comm, len(known)), 1)
    for begin in range(0, most, rows):
        partners = nearest.partners[2 * begin : 2 * (begin + rows)].astype(np.int64)
        at = np.flatnonzero(partners.reshape(-1) >= 0)
        ends = 2 * begin + at // KEPT
        partners = partners.reshape(-1)[at]
        overlaps = nearest.overlaps[2 * begin : 2 * (begin + rows)].reshape(-1)[at].astype(np.int64)
        own, theirs = known[ends >> 1], look_up(reads, partners >> 1, known)
        is_inner = (own[:, _OUTER] != reads.ids[ends >> 1]) | (theirs[:, _OUTER] != partners >> 1)
        first, second = np.empty((2, int(is_inner.sum())), np.uint64)
        ends, partners, overlaps = ends[is_inner], partners[is_inner], overlaps[is_inner]
        count = _propose(ends, partners, overlaps, own[is_inner], theirs[is_inner], first, second)
        delivery = Delivery(reads.comm, reads.owner(get_reads(first[:count])))
        yield delivery.send(first[:count]), delivery.send(second[:count]), min(begin + rows, m) / most


def _describe(reads: Layout, nearest: Nearest) -> np.ndarray:
    """Return (m, 5) int64, what is known of each of this rank's reads. Collective."""
    outer, is_turned, begin = find_outermost(reads, nearest.containers, nearest.offsets, nearest.lengths)
    lengths = nearest.lengths.astype(np.int64)
    return np.column_stack([outer, is_turned, begin, lengths, look_up(reads, outer, lengths)])
