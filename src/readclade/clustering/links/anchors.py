"""Shared k-mers of two reads are anchors: those on one band of diagonals, in rising order, show where they overlap.

Between anchors, edits are counted base by base. What is left up to the first read's end is compared, too: where genomes
part, every other base differs there. A bound on how much may be left would lose true overlaps instead.
"""

from typing import NamedTuple

import numba
import numpy as np

from readclade.clustering.links.candidates import Candidates
from readclade.clustering.links.edits import count_edits_piecewise, orient

_BAND, _BAND_SHARE = 60, 50  # diagonals of a band: so many, and one for each so many bases
_CHANCE = 0.45  # edits a base of stretches that have nothing in common
_FREE_EDITS = 30  # in a tip: an adapter may stand there


class Rule(NamedTuple):
    """Which overlaps count.

    Attributes:
        k: length of the k-mers.
        least_hits: anchors that an overlap has at least.
        least: shortest overlap, tips included, in bases.
        most_divergence: edits a base beyond which an overlap is not looked at further.
        most_tip: bases beyond the last anchor, up to a read's end, at most; or -1: tips are not looked at.
    """

    k: int
    least_hits: int = 4
    least: int = 500
    most_divergence: float = 0.3
    most_tip: int = 600


@numba.njit(cache=True)
def _keep_band(qa, qb, diagonals, n, width):
    """Keep of n sorted hits those of the band of most hits, one for each place in a; return how many."""
    for h in range(n):
        diagonals[h] = qa[h] - qb[h]
    part = diagonals[:n]
    part.sort()
    low, best, best_low = 0, 0, 0
    for high in range(n):
        while part[high] - part[low] > width:
            low += 1
        if high - low + 1 > best:
            best, best_low = high - low + 1, low
    first, last = part[best_low], part[best_low + best - 1]
    kept = 0
    for h in range(n):
        if first <= qa[h] - qb[h] <= last and not (kept and qa[h] == qa[kept - 1]):
            qa[kept], qb[kept] = qa[h], qb[h]
            kept += 1
    return kept


@numba.njit(cache=True)
def _find_rising_run(values, n, chain, tails, links):
    """Write the indices of a longest strictly rising run of values[:n] into chain; return its length."""
    size = 0
    for i in range(n):
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if values[tails[middle]] < values[i]:
                low = middle + 1
            else:
                high = middle
        links[i] = tails[low - 1] if low else -1
        tails[low] = i
        size = max(size, low + 1)
    at = tails[size - 1] if size else -1
    for x in range(size - 1, -1, -1):
        chain[x] = at
        at = links[at]
    return size


@numba.njit(cache=True)
def _count_between(x, from_x, y, from_y, qa, qb, chain, n, k, most, vectors):
    """Return the edits from the first to the last of n anchors, or some number above `most`."""
    edits = 0
    end_a, end_b = qa[chain[0]] + k, qb[chain[0]] + k
    for h in range(1, n):
        a, b = qa[chain[h]], qb[chain[h]]
        if a >= end_a and b >= end_b:
            edits += count_edits_piecewise(x, from_x + end_a, a - end_a, y, from_y + end_b, b - end_b, vectors)
            if edits > most:
                break
        elif a - end_a != b - end_b:
            if h < n - 1:
                continue  # overlaps the last anchor on another diagonal
            edits += abs(a - end_a - b + end_b)
        end_a, end_b = a + k, b + k
    return edits


@numba.njit(cache=True)
def _is_alike(x, at_x, y, at_y, size, edits, stretch, vectors):
    """Return whether a tip differs less than half way between the overlap and chance."""
    wrong = count_edits_piecewise(x, at_x, size, y, at_y, size, vectors)
    return 2 * (wrong - _FREE_EDITS) * stretch <= size * (edits + _CHANCE * stretch)


@numba.njit(cache=True)
def _make_scratch(first, partner, begins, lengths, other_lengths):
    """Return arrays for hits, rising runs, an oriented read, and bit vectors."""
    longest, most = np.int64(1), np.int64(1)
    for c in range(len(first)):
        longest = max(longest, np.int64(lengths[first[c]]), np.int64(other_lengths[partner[c]]))
        most = max(most, begins[c + 1] - begins[c])
    blocks = longest // 64 + 2
    hits = (np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64))
    runs = (np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64))
    vectors = (np.empty((4, blocks), np.uint64), np.empty(blocks, np.uint64), np.empty(blocks, np.uint64))
    return hits, runs, np.zeros(longest // 32 + 3, np.uint64), vectors


@numba.njit(cache=True)
def _find_anchors(found, shift, width, least_hits, hits, runs):
    """Write where the anchors stand in both reads, and in which order; return how many, or fewer than `least_hits`."""
    qa, qb, diagonals = hits
    n = len(found)
    for h in range(n):
        position = found[h] & np.int64(0xFFFFFFFF)
        if position >> 31:
            position -= np.int64(1) << 32
        qa[h], qb[h] = (found[h] - position) >> 32, position + shift
    n = _keep_band(qa, qb, diagonals, n, width)
    return _find_rising_run(qb, n, runs[0], runs[1], runs[2]) if n >= least_hits else 0


@numba.njit(cache=True)
def _reaches_ends(a0, a1, b0, b1, length_a, length_b, rule):
    """Return whether the anchors come near enough to the ends of either read; else it is a repeat or a relative."""
    stretch = max(a1 - a0, b1 - b0)
    if rule.most_tip < 0:
        return stretch >= rule.least
    left, right = min(a0, b0), min(length_a - a1, length_b - b1)
    return rule.least <= stretch + left + right <= 2 * stretch and max(left, right) <= rule.most_tip


@numba.njit(cache=True)
def _verify(first, partner, is_reversed, begins, hits, own, fetched, rule, out, counts):
    """Write of each pair that overlaps its number, anchors, edits, and both stretches; return how many there are."""
    words, word_begins, lengths = own
    other_words, other_begins, other_lengths = fetched
    found, runs, turned, vectors = _make_scratch(first, partner, begins, lengths, other_lengths)
    k, (qa, qb, _), chain = rule.k, found, runs[0]
    count = 0
    for c in range(len(first)):
        a, b = first[c], partner[c]
        length_a, length_b = np.int64(lengths[a]), np.int64(other_lengths[b])
        shift = length_b - k if is_reversed[c] else 0
        width = _BAND + min(length_a, length_b) // _BAND_SHARE
        n = _find_anchors(hits[begins[c] : begins[c + 1]], shift, width, rule.least_hits, found, runs)
        if n < rule.least_hits:
            continue
        a0, b0 = qa[chain[0]], qb[chain[0]]
        a1, b1 = qa[chain[n - 1]] + k, qb[chain[n - 1]] + k
        if not _reaches_ends(a0, a1, b0, b1, length_a, length_b, rule):
            counts[0] += 1
            continue
        counts[1] += 1
        from_a, y, from_b = 32 * word_begins[a], other_words, 32 * other_begins[b]
        if is_reversed[c]:
            orient(other_words, other_begins[b], length_b, True, turned)
            y, from_b = turned, np.int64(0)
        stretch = max(a1 - a0, b1 - b0)
        most = np.int64(rule.most_divergence * stretch) + 1
        edits = _count_between(words, from_a, y, from_b, qa, qb, chain, n, k, most, vectors)
        if edits > most:
            counts[2] += 1
            continue
        left, right = min(a0, b0), min(length_a - a1, length_b - b1)
        if rule.most_tip >= 0 and not (
            _is_alike(words, from_a + a0 - left, y, from_b + b0 - left, left, edits, stretch, vectors)
            and _is_alike(words, from_a + a1, y, from_b + b1, right, edits, stretch, vectors)
        ):
            counts[3] += 1
            continue
        if count and first[out[count - 1, 0]] == a and partner[out[count - 1, 0]] == b:  # on the other strand, too
            if out[count - 1, 1] >= n:
                continue
            count -= 1
        out[count, 0], out[count, 1], out[count, 2] = c, n, edits
        out[count, 3], out[count, 4], out[count, 5], out[count, 6] = a0, a1, b0, b1
        count += 1
    return count


def verify(
    candidates: Candidates, firsts: np.ndarray, places: np.ndarray, own: tuple, fetched: tuple, rule: Rule, counts
) -> np.ndarray:
    """Return the pairs that overlap: (overlaps, 7) int32, number of the pair, anchors, edits, begin and end in both.

    The partner's begin and end are those of the read as it is oriented.

    Args:
        firsts, places: (c,) int64, where the first read of each pair is in `own`, and its partner in `fetched`.
        own, fetched: words, the word where each read begins, and the bases of each.
        counts: (4,) int64, to which is added how many pairs were dropped by their geometry, compared, found too far
            apart, and found to part before an end.
    """
    out = np.empty((len(places), 7), np.int32)
    arrays = (firsts, places, candidates.is_reversed, candidates.begins, candidates.hits)
    return out[: _verify(*arrays, own, fetched, rule, out, counts)].copy()
