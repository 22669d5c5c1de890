"""Find the overlaps of short reads, nearest verified neighbours at both ends of each, and chains of them.

End 2 r is the left end of read r, end 2 r + 1 its right end. A container is 2 * read + whether reversed against it.
"""

from typing import NamedTuple

import numba
import numpy as np
from scipy.stats import poisson

from readclade.clustering.links.packing import U, count_mismatches, mix

KEPT = 3  # verified overlaps remembered at each end
_LOW = U(0xFFFFFFFF)


class PairOverlaps(NamedTuple):
    """What is known of each read after all comparisons."""

    partners: np.ndarray  # (2 reads, KEPT) int32 ends, the longest overlap first; -1 where none is
    overlaps: np.ndarray  # (2 reads, KEPT) int16 bases
    containers: np.ndarray  # (reads,) int64, -1 where none is
    counts: np.ndarray  # (3,) proposals, comparisons, comparisons that failed


@numba.njit(cache=True)
def _sketch(words, begins, lengths, k, w, hashes, places):
    mask = (U(1) << U(2 * k)) - U(1)
    shift = U(2 * (k - 1))
    count = 0
    ring_hashes = np.empty(64, np.uint64)  # a queue of falling hashes
    ring_places = np.empty(64, np.int64)
    for r in range(len(lengths)):
        n = lengths[r]
        forward, backward = U(0), U(0)
        head, tail = 0, 0
        last = -1
        for p in range(n):
            c = (words[begins[r] + (p >> 5)] >> U(2 * (p & 31))) & U(3)
            forward = ((forward << U(2)) | c) & mask
            backward = (backward >> U(2)) | ((U(3) - c) << shift)
            at = p - k + 1
            if at < 0:
                continue
            h = mix(min(forward, backward) + U(0x9E3779B97F4A7C15))
            while tail > head and ring_hashes[(tail - 1) & 63] > h:
                tail -= 1
            ring_hashes[tail & 63] = h
            ring_places[tail & 63] = (at << 1) | (backward < forward)
            tail += 1
            while (ring_places[head & 63] >> 1) <= at - w:
                head += 1
            q = ring_places[head & 63]
            if (at >= w - 1 or p == n - 1) and q != last:
                last = q
                if count < len(hashes):
                    is_reverse, position = q & 1, q >> 1
                    if is_reverse:
                        position = n - k - position
                    hashes[count] = ring_hashes[head & 63]
                    places[count] = (U(16383 - position) << U(41)) | (U(r) << U(1)) | U(is_reverse)
                count += 1
    return count


def sketch_minimizers(words, begins, lengths, k, w):
    """Return hash and place of the minimizers: the lowest hash of w canonical k-mers in a row.

    A place is, from the highest bit: 2^14 - 1 - position in canonical orientation, read (40 bits), orientation (1).
    """
    size = int(lengths.sum() * 2.3 / (w + 1)) + 1000
    while True:
        hashes, places = np.empty(size, np.uint64), np.empty(size, np.uint64)
        count = _sketch(words, begins, lengths, k, w, hashes, places)
        if count <= size:
            return hashes[:count], places[:count]
        size = count


@numba.njit(cache=True)
def _arrange(keys, hashes, places, arranged, ends):
    n = len(keys)
    buckets = 0
    begin = 0
    for i in range(n):
        arranged[i] = places[keys[i] & _LOW]
    for end in range(1, n + 1):
        if end < n and keys[end] >> U(32) == keys[begin] >> U(32):
            continue
        m = end - begin
        own = np.empty(m, np.uint64)
        is_one = True  # one upper half is nearly always one hash
        for i in range(m):
            own[i] = hashes[keys[begin + i] & _LOW]
            is_one &= own[i] == own[0]
        if is_one:
            arranged[begin:end].sort()
            ends[buckets] = end
            buckets += 1
        else:
            order = np.argsort(own, kind="mergesort")
            part = arranged[begin:end].copy()
            for i in range(m):
                arranged[begin + i] = part[order[i]]
            at = 0
            for i in range(1, m + 1):
                if i == m or own[order[i]] != own[order[at]]:
                    arranged[begin + at : begin + i].sort()
                    ends[buckets] = begin + i
                    buckets += 1
                    at = i
        begin = end
    return buckets


def make_buckets(hashes, places):
    """Return the places by hash, then place, and where each hash's bucket ends."""
    low = hashes.min()
    bits = max(int(hashes.max() - low).bit_length() - 32, 0)
    keys = ((hashes - low) >> U(bits)) << U(32)
    keys |= np.arange(len(hashes), dtype=np.uint64)
    keys.sort()
    arranged, ends = np.empty(len(places), np.uint64), np.empty(len(places), np.int64)
    n = _arrange(keys, hashes, places, arranged, ends)
    return arranged, ends[:n].copy()


@numba.njit(cache=True)
def _insert(partners, overlaps, e, partner, overlap):
    """Keep an overlap at an end if it is among the longest; ties go to the lower partner."""
    for t in range(KEPT):
        if partners[e, t] == partner:
            if overlaps[e, t] >= overlap:
                return
            for u in range(t, KEPT - 1):
                partners[e, u], overlaps[e, u] = partners[e, u + 1], overlaps[e, u + 1]
            partners[e, KEPT - 1], overlaps[e, KEPT - 1] = -1, 0
            break
    t = KEPT
    while t > 0:
        held = overlaps[e, t - 1]
        if partners[e, t - 1] >= 0 and (overlap < held or (overlap == held and partner > partners[e, t - 1])):
            break
        t -= 1
    if t == KEPT:
        return
    for u in range(KEPT - 1, t, -1):
        partners[e, u], overlaps[e, u] = partners[e, u - 1], overlaps[e, u - 1]
    partners[e, t], overlaps[e, t] = partner, overlap


@numba.njit(cache=True)
def _compare(places, ends, words, begins, lengths, bounds, least, proposals, partners, overlaps, containers, counts):
    begin = 0
    for bucket in range(len(ends)):
        end = ends[bucket]
        for i in range(begin, end - 1):
            a = np.int64((places[i] >> U(1)) & U((1 << 40) - 1))
            oa = np.int64(places[i] & U(1))
            pa = 16383 - np.int64(places[i] >> U(41))
            na = lengths[a]
            met = 0
            for j in range(i + 1, min(end, i + 2 * proposals + 8)):
                b = np.int64((places[j] >> U(1)) & U((1 << 40) - 1))
                if a == b or a >> 1 == b >> 1:
                    continue
                ob = np.int64(places[j] & U(1))
                s = pa - (16383 - np.int64(places[j] >> U(41)))  # b begins s bases right of a
                nb = lengths[b]
                length = min(na - s, nb)
                if length < least or met == proposals:
                    break
                met += 1
                counts[0] += 1
                is_dovetail = s + nb > na and not (s == 0 and nb >= na)
                ea, eb = 2 * a + 1 - oa, 2 * b + ob
                inner, outer = a, b
                if is_dovetail:
                    known = False
                    for t in range(KEPT):
                        known |= partners[ea, t] == eb and overlaps[ea, t] == length
                    if known or (length < overlaps[ea, KEPT - 1] and length < overlaps[eb, KEPT - 1]):
                        continue
                else:
                    if s + nb <= na and not (s == 0 and nb == na and b < a):
                        inner, outer = b, a
                    if containers[inner] >= 0 and containers[inner] <= 2 * outer + (oa ^ ob):
                        continue
                counts[1] += 1
                most = bounds[length]
                m = count_mismatches(words, begins[a], na, oa, s, begins[b], nb, ob, 0, length, most)
                if m > most:
                    counts[2] += 1
                elif is_dovetail:
                    _insert(partners, overlaps, ea, eb, length)
                    _insert(partners, overlaps, eb, ea, length)
                else:
                    containers[inner] = 2 * outer + (oa ^ ob)
        begin = end


def find_overlaps(places, ends, words, begins, lengths, rate, least=40, proposals=2, alpha=0.02):
    """Compare each entry with the next few of its bucket, base by base; keep dovetails at each end, and containers.

    What is proposed depends on the bucket alone, and what is kept on the set of proposals alone, so neither the order
    of buckets nor who holds them changes the result. Leaving out what cannot be kept does not either.

    Args:
        places, ends: of `make_buckets`.
        rate: errors per base of both reads together.
        least: shortest overlap, in bases.
        proposals: how many reads each entry meets.
        alpha: share of the true overlaps that may be lost to the bound on mismatches.
    """
    n = len(lengths)
    found = PairOverlaps(
        np.full((2 * n, KEPT), -1, np.int32),
        np.zeros((2 * n, KEPT), np.int16),
        np.full(n, -1, np.int64),
        np.zeros(3, np.int64),
    )
    bounds = bound_mismatches(rate, alpha, int(lengths.max()))
    _compare(places, ends, words, begins, lengths, bounds, least, proposals, *found)
    return found


def bound_mismatches(rate, alpha, longest):
    """Return by overlap length the smallest t of 1 and more with P(X > t) < alpha for X ~ Poisson(rate * length)."""
    expected = np.maximum(rate * np.arange(longest + 1), 1e-9)
    return np.maximum(poisson.ppf(1 - alpha, expected), 1).astype(np.int64)


@numba.njit(cache=True)
def find_roots(containers):
    """Return the outermost container of each read, itself where it has none: 2 * read + whether reversed."""
    roots = np.empty(len(containers), np.int64)
    for r in range(len(containers)):
        at, flip, steps = r, 0, 0
        while containers[at] >= 0 and steps < 1000:
            flip ^= containers[at] & 1
            at = containers[at] >> 1
            steps += 1
        roots[r] = 2 * at + flip
    return roots


@numba.njit(cache=True)
def choose_best(partners, overlaps, containers, words, begins, lengths, bounds):
    """Return each end's best partner end, -1 without one, and whether its overlaps contradict one another.

    They do where both reach beyond the end and differ there; such an end has no partner.
    """
    best = np.full(len(partners), -1, np.int64)
    is_branched = np.zeros(len(partners), np.bool_)
    for e in range(len(partners)):
        if containers[e >> 1] >= 0:
            continue
        first, first_overlap = -1, 0
        for t in range(KEPT):
            q = partners[e, t]
            if q < 0:
                break
            if containers[q >> 1] >= 0:
                continue
            if first < 0:
                first, first_overlap = q, overlaps[e, t]
                best[e] = q
                continue
            # b and c both reach beyond this end; c begins d bases further off than b.
            near, far, d = first, q, first_overlap - overlaps[e, t]
            if d < 0:
                near, far, d = q, first, -d
            b, c = near >> 1, far >> 1
            length = min(lengths[b] - d, lengths[c])
            if length < 20 or b == c:
                continue
            most = bounds[length]
            m = count_mismatches(
                words, begins[b], lengths[b], near & 1, d, begins[c], lengths[c], far & 1, 0, length, most
            )
            is_branched[e] |= m > most
    for e in range(len(partners)):
        if is_branched[e]:
            best[e] = -1
    return best, is_branched


@numba.njit(cache=True)
def walk(best, lengths, partners, overlaps, containers):
    """Return each read's chain, its left end's coordinate there and whether it is reversed, and the number of chains.

    Only links that are best at both ends count. A circle is cut before its lowest read. Contained reads have chain -1.
    """
    n = len(lengths)
    chain, position, flipped = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int8)
    chains = 0
    for turn in range(2):  # first from the open ends, then round the circles
        for r in range(n):
            if chain[r] >= 0 or containers[r] >= 0:
                continue
            left, right = best[2 * r], best[2 * r + 1]
            has_left = left >= 0 and best[left] == 2 * r
            has_right = right >= 0 and best[right] == 2 * r + 1
            if turn == 0 and has_left and has_right:
                continue
            e = 2 * r + 1 if turn == 1 or has_right or not has_left else 2 * r
            at = 0
            while True:
                x = e >> 1
                chain[x], position[x], flipped[x] = chains, at, 1 - (e & 1)
                q = best[e]
                if q < 0 or best[q] != e or chain[q >> 1] >= 0:
                    break
                overlap = 0
                for t in range(KEPT):
                    if partners[e, t] == q:
                        overlap = overlaps[e, t]
                at += lengths[x] - overlap
                e = q ^ 1
            chains += 1
    return chain, position, flipped, chains
