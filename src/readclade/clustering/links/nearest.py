"""The nearest overlaps of short reads: proposals are compared base by base, and each end keeps the longest three.

What is kept depends on the set of proposals alone, hence not on the number of ranks or turns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numba
import numpy as np
from scipy.stats import poisson

from readclade.clustering.links.fetching import fetch_reads
from readclade.clustering.links.minimizers import get_length, get_position, get_read, get_reads
from readclade.clustering.links.packing import count_mismatches, mix
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.exchange import Layout, exchange

KEPT = 3
_ONE = np.uint64(1)
_SEEN_BITS = 20  # of the table of proposals that were lately made


@dataclass(frozen=True)
class Nearest:
    """The verified overlaps of this rank's m reads.

    Attributes:
        partners: (2 m, 3) int64 ends, the longest overlap first, then the lower end; -1 where none is.
        overlaps: (2 m, 3) int16 bases.
        containers: (m,) int64, 2 * container + whether reversed against it, -1 where none is; the lowest.
        offsets: (m,) int16, where the read begins in its container.
        lengths: (m,) int32 bases that count.
        alike, alike_overlaps: (m, 3) int64 and int16: the reads that resemble a read, but differ too much, and the
            bases over which; the longest first, then the lower read; -1 and 0 where none is.
    """

    partners: np.ndarray
    overlaps: np.ndarray
    containers: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    alike: np.ndarray
    alike_overlaps: np.ndarray


def make_nearest(lengths: np.ndarray) -> Nearest:
    """Return that no overlap of reads of (m,) int32 bases is known yet."""
    m = len(lengths)
    (partners, overlaps), alike = (
        (np.full((count, KEPT), -1, np.int64), np.zeros((count, KEPT), np.int16)) for count in (2 * m, m)
    )
    return Nearest(partners, overlaps, np.full(m, -1, np.int64), np.zeros(m, np.int16), lengths, *alike)


def bound_mismatches(rate: float, lost: float, longest: int) -> np.ndarray:
    """Return (longest + 1,) int64: by overlap length, the smallest t from 1 on with P(X > t) < lost.

    Args:
        rate: of the Poisson distributed mismatches, a base.
    """
    expected = np.maximum(rate * np.arange(longest + 1), 1e-9)
    return np.maximum(poisson.ppf(1 - lost, expected), 1).astype(np.int64)


@numba.njit(cache=True, inline="always")
def read_proposal(first, second):
    """Return how two reads would lie: shift of the second, overlap, both turned, whether neither holds the other."""
    shift = get_position(first) - get_position(second)
    a, b = get_length(first), get_length(second)
    is_dovetail = shift + b > a and not (shift == 0 and b >= a)
    return shift, min(a - shift, b), np.int64(first & _ONE), np.int64(second & _ONE), is_dovetail


@numba.njit(cache=True)
def _is_known(partners, overlaps, end, partner, overlap):
    known = False
    for at in range(KEPT):
        known |= partners[end, at] == partner and overlaps[end, at] == overlap
    return known


@numba.njit(cache=True)
def _screen(first, second, local, partners, overlaps, seen, wanted):
    """Mark which proposals say something new, as far as that is known here."""
    mask = np.uint64(len(seen) - 1)
    for i in range(len(first)):
        shift, overlap, turned, other_turned, is_dovetail = read_proposal(first[i], second[i])
        b = get_read(second[i])
        end, partner = 2 * local[i] + 1 - turned, 2 * b + other_turned
        slot = mix(np.uint64(end) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(partner)) & mask
        wanted[i] = seen[slot, 0] != end or seen[slot, 1] != partner or seen[slot, 2] != shift
        seen[slot, 0], seen[slot, 1], seen[slot, 2] = end, partner, shift
        if wanted[i] and is_dovetail:
            wanted[i] = not _is_known(partners, overlaps, end, partner, overlap)


@numba.njit(cache=True)
def _insert(partners, overlaps, end, partner, overlap):
    """Keep an overlap at an end if it is among the longest; ties go to the lower partner."""
    for t in range(KEPT):
        if partners[end, t] == partner:
            if overlaps[end, t] >= overlap:
                return
            for u in range(t, KEPT - 1):
                partners[end, u], overlaps[end, u] = partners[end, u + 1], overlaps[end, u + 1]
            partners[end, KEPT - 1], overlaps[end, KEPT - 1] = -1, 0
            break
    t = KEPT
    while t > 0:
        held = overlaps[end, t - 1]
        if partners[end, t - 1] >= 0 and (overlap < held or (overlap == held and partner > partners[end, t - 1])):
            break
        t -= 1
    if t == KEPT:
        return
    for u in range(KEPT - 1, t, -1):
        partners[end, u], overlaps[end, u] = partners[end, u - 1], overlaps[end, u - 1]
    partners[end, t], overlaps[end, t] = partner, overlap


@numba.njit(cache=True)
def _compare(first, second, local, words, begins, places, their_words, their_begins, bounds, news):
    """Write what of the proposals holds, once for each read that it tells something; return the rows, and failures.

    Rows are the read, 0 or 1 for its side, 2 for a container or 3 for what differs, the partner end, the container or
    the other read, and the overlap or the offset.
    """
    count, failed = 0, 0
    for i in range(len(first)):
        shift, overlap, turned, other_turned, is_dovetail = read_proposal(first[i], second[i])
        a, b = get_read(first[i]), get_read(second[i])
        n, m = get_length(first[i]), get_length(second[i])
        most = bounds[overlap]
        ours, theirs = begins[local[i]], their_begins[places[i]]
        if count_proposed(first[i], second[i], words, ours, their_words, theirs, most) > most:
            failed += 1
            _write(news, count, a, 3, b, overlap)
            _write(news, count + 1, b, 3, a, overlap)
            count += 2
        elif is_dovetail:
            _write(news, count, a, 1 - turned, 2 * b + other_turned, overlap)
            _write(news, count + 1, b, other_turned, 2 * a + 1 - turned, overlap)
            count += 2
        else:
            is_turned = turned ^ other_turned
            if shift + m <= n and not (shift == 0 and m == n and a > b):
                _write(news, count, b, 2, 2 * a + is_turned, n - m - shift if turned else shift)
            else:  # both begin at one base
                _write(news, count, a, 2, 2 * b + is_turned, m - n if other_turned else 0)
            count += 1
    return count, failed


@numba.njit(cache=True)
def count_proposed(first, second, words, begin, their_words, their_begin, most):
    """Return how many bases of a proposed overlap differ, or some number above `most`.

    Args:
        words, begin: packed reads, and the word where the first one begins; then the same of the second.
    """
    shift, overlap, turned, other_turned, _ = read_proposal(first, second)
    lengths = get_length(first), get_length(second)
    return count_mismatches(
        words, begin, lengths[0], turned, shift, their_words, their_begin, lengths[1], other_turned, 0, overlap, most
    )


@numba.njit(cache=True, inline="always")
def _write(news, at, read, kind, partner, number):
    news[at, 0], news[at, 1], news[at, 2], news[at, 3] = read, kind, partner, number


@numba.njit(cache=True)
def _take(news, local, partners, overlaps, containers, offsets, alike, alike_overlaps):
    for i in range(len(news)):
        kind, partner, number = news[i, 1], news[i, 2], news[i, 3]
        at = local[i]
        if kind < 2:
            _insert(partners, overlaps, 2 * at + kind, partner, number)
        elif kind == 3:
            _insert(alike, alike_overlaps, at, partner, number)
        elif containers[at] < 0 or (partner, number) < (containers[at], np.int64(offsets[at])):
            containers[at], offsets[at] = partner, number


def compare_proposals(
    reads: Layout,
    sequences: Sequences,
    nearest: Nearest,
    proposals: Iterator,
    bounds: np.ndarray,
    report: Callable[[float], None],
) -> np.ndarray:
    """Compare what is proposed, and keep what holds in `nearest`. Collective.

    Args:
        reads: layout of the reads.
        bounds: (longest + 1,) int64, mismatches that an overlap may have, by its length.
        report: called with the share of the work that is done.

    Returns:
        (2,) int64, this rank's comparisons, and how many of them failed.
    """
    counts = np.zeros(2, np.int64)
    seen = np.full((1 << _SEEN_BITS, 3), -1, np.int64)
    for first, second, done in proposals:
        local = reads.local(get_reads(first))
        wanted = np.empty(len(first), bool)
        _screen(first, second, local, nearest.partners, nearest.overlaps, seen, wanted)
        first, second, local = first[wanted], second[wanted], local[wanted]
        theirs = fetch_reads(reads, get_reads(second), sequences)
        news = np.empty((2 * len(first), 4), np.int64)
        own = (sequences.words, sequences.begins)
        others = (theirs.places, theirs.words, theirs.begins)
        count, failed = _compare(first, second, local, *own, *others, bounds, news)
        counts += len(first), failed
        (news,) = exchange(reads.comm, reads.owner(news[:count, 0]), [news[:count]])
        held = (nearest.partners, nearest.overlaps, nearest.containers, nearest.offsets)
        _take(news, reads.local(news[:, 0]), *held, nearest.alike, nearest.alike_overlaps)
        report(done)
    return counts
