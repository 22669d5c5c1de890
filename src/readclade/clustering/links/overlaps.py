"""How strongly two fragments that share k-mers overlap.

A row is a k-mer that two fragments share: its place in the one and in the other (`sketches`). What follows from the
rows of a pair does not depend on their order.
"""

import numba
import numpy as np

from readclade.clustering.links.sketches import ORDINAL_BITS, ORDINAL_MASK

_LEAST_HITS = 3


@numba.njit(cache=True)
def sort_rows(mine, theirs, ids, is_mixed):
    """Return where each fragment's rows begin, and the rows by fragment.

    Args:
        mine, theirs: (rows,) uint64 places; the rows of one sender are in the order of fragments.
        ids: (n,) int64, ascending, the fragments that `mine` may name.
        is_mixed: whether there are several senders.

    Returns:
        (n + 1,) int64, and mine and theirs in order.
    """
    begins = np.zeros(len(ids) + 1, np.int64)
    half = np.uint64(32)
    at = 0
    for row in range(len(mine)):
        fragment = np.int64(mine[row] >> half)
        if fragment < ids[at]:  # the next sender's first
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


@numba.njit(cache=True)
def _weigh_short(begins, mine, theirs, out_first, out_second, shared, unshared):
    count = 0
    most = 1
    for i in range(len(begins) - 1):
        most = max(most, begins[i + 1] - begins[i])
    size = 2
    while size < 2 * most:
        size *= 2
    keys = np.full(size, -1, np.int64)
    # per slot and orientation: shared hashes, lowest and highest ordinal in both reads; then the reads' sizes
    cells = np.zeros((size, 12), np.int32)
    used = np.empty(most, np.int64)
    for i in range(len(begins) - 1):
        slots = 0
        for row in range(begins[i], begins[i + 1]):
            a = np.int64(mine[row] & np.uint64(0xFFFFFFFF))
            b = np.int64(theirs[row] & np.uint64(0xFFFFFFFF))
            partner = np.int64(theirs[row] >> np.uint64(32))
            key = (partner << 2) | (((a >> 1) & 1) << 1) | ((b >> 1) & 1)
            slot = ((key * 0x9E3779B1) >> 8) & (size - 1)
            while keys[slot] != -1 and keys[slot] != key:
                slot = (slot + 1) & (size - 1)
            ordinal_a = a >> (ORDINAL_BITS + 2)
            ordinal_b = b >> (ORDINAL_BITS + 2)
            if keys[slot] == -1:
                keys[slot] = key
                used[slots] = slot
                slots += 1
                cells[slot, 0] = 0
                cells[slot, 5] = 0
                cells[slot, 10] = (a >> 2) & ORDINAL_MASK
                cells[slot, 11] = (b >> 2) & ORDINAL_MASK
            base = 5 if ((a ^ b) & 1) else 0
            if cells[slot, base] == 0:
                cells[slot, base + 1] = ordinal_a
                cells[slot, base + 2] = ordinal_a
                cells[slot, base + 3] = ordinal_b
                cells[slot, base + 4] = ordinal_b
            else:
                cells[slot, base + 1] = min(cells[slot, base + 1], ordinal_a)
                cells[slot, base + 2] = max(cells[slot, base + 2], ordinal_a)
                cells[slot, base + 3] = min(cells[slot, base + 3], ordinal_b)
                cells[slot, base + 4] = max(cells[slot, base + 4], ordinal_b)
            cells[slot, base] += 1
        found = used[:slots]
        order = np.argsort(keys[found])
        previous = np.int64(-1)
        for at in order:
            slot = found[at]
            partner = keys[slot] >> 2
            base = 5 if cells[slot, 5] > cells[slot, 0] else 0
            hits = cells[slot, base]
            low_a, high_a = cells[slot, base + 1], cells[slot, base + 2]
            low_b, high_b = cells[slot, base + 3], cells[slot, base + 4]
            size_a, size_b = cells[slot, 10], cells[slot, 11]
            if base:
                left = min(low_a, size_b - 1 - high_b)
                right = min(size_a - 1 - high_a, low_b)
            else:
                left = min(low_a, low_b)
                right = min(size_a - 1 - high_a, size_b - 1 - high_b)
            # A k-mer that stands twice in a read counts twice, so the difference could fall below zero.
            missed = max(left + right + max(high_a - low_a, high_b - low_b) + 1 - hits, 0)
            if partner != previous:
                out_first[count] = i
                out_second[count] = partner
                shared[count] = hits
                unshared[count] = missed
                count += 1
                previous = partner
            else:
                shared[count - 1] += hits
                unshared[count - 1] += missed
            keys[slot] = -1
    return count


def weigh_short(begins: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> list[np.ndarray]:
    """Return of each pair of fragments how many hashes they share, and how many of their overlap they do not.

    Args:
        begins: (n + 1,) int64, the rows of fragment i are begins[i] : begins[i + 1].
        mine, theirs: (rows,) uint64 places of short reads.

    Returns:
        index of the first fragment and id of the second (int64), shared and unshared hashes (int32), by first, then
        second.
    """
    # A pair has a row at least; where few rows make a pair, most of the pages are never touched.
    outputs = [np.empty(len(mine), kind) for kind in (np.int64, np.int64, np.int32, np.int32)]
    count = _weigh_short(begins, mine, theirs, *outputs)
    return [output[:count].copy() for output in outputs]


@numba.njit(cache=True)
def _weigh_long(begins, mine, theirs, lengths, partner_lengths, k, outputs):
    count = 0
    for i in range(len(begins) - 1):
        low, high = begins[i], begins[i + 1]
        if low == high:
            continue
        keys = np.empty(high - low, np.int64)
        for row in range(low, high):
            keys[row - low] = (np.int64(theirs[row] >> np.uint64(32)) << 1) | np.int64(
                (mine[row] ^ theirs[row]) & np.uint64(1)
            )
        order = np.argsort(keys, kind="mergesort")
        begin = 0
        while begin < len(order):
            end = begin
            key = keys[order[begin]]
            while end < len(order) and keys[order[end]] == key:
                end += 1
            hits = order[begin:end]
            begin = end
            if len(hits) < _LEAST_HITS:
                continue
            length = lengths[i]
            other = partner_lengths[low + hits[0]]
            a = np.empty(len(hits), np.int64)
            b = np.empty(len(hits), np.int64)
            for h in range(len(hits)):
                a[h] = np.int64(mine[low + hits[h]] & np.uint64(0xFFFFFFFF)) >> 1
                b[h] = np.int64(theirs[low + hits[h]] & np.uint64(0xFFFFFFFF)) >> 1
                if key & 1:
                    b[h] = other - k - b[h]
            diagonals = np.sort(a - b)
            middle = diagonals[len(hits) // 2]
            start, stop = max(0, middle), min(length, middle + other)
            overlap = stop - start
            if overlap < k:
                continue
            band = 50 + overlap // 50
            lowest, highest, inside = np.int64(1 << 60), np.int64(-1), 0
            for h in range(len(hits)):
                if abs(a[h] - b[h] - middle) <= band:
                    inside += 1
                    lowest = min(lowest, a[h])
                    highest = max(highest, a[h] + k)
            if inside < _LEAST_HITS:
                continue
            if key & 1 and count and outputs[count - 1, 0] == i and outputs[count - 1, 1] == key >> 1:
                # Both orientations: the one with more hits stands.
                if outputs[count - 1, 2] >= inside:
                    continue
                count -= 1
            outputs[count, 0] = i
            outputs[count, 1] = key >> 1
            outputs[count, 2] = inside
            outputs[count, 3] = overlap
            outputs[count, 4] = max(0, lowest - start)
            outputs[count, 5] = max(0, stop - highest)
            count += 1
    return count


def weigh_long(
    begins: np.ndarray, mine: np.ndarray, theirs: np.ndarray, lengths: np.ndarray, partner_lengths: np.ndarray, k: int
) -> np.ndarray:
    """Return the pairs of fragments with at least three shared k-mers on one diagonal.

    Args:
        begins: (n + 1,) int64, the rows of fragment i are begins[i] : begins[i + 1].
        mine, theirs: (rows,) uint64 places of long reads.
        lengths: (n,) int64 bases.
        partner_lengths: (rows,) int64 bases of the second fragment.

    Returns:
        (pairs, 6) int64: index of the first fragment, id of the second, hits on the diagonal, overlap that it implies,
        and the two ends of the overlap that have no hits, in bases; by first, then second.
    """
    outputs = np.empty((len(mine) // _LEAST_HITS + 1, 6), np.int64)
    return outputs[: _weigh_long(begins, mine, theirs, lengths, partner_lengths, k, outputs)].copy()
