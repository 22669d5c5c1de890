"""Minimizers: of each few k-mers in a row the one of the lowest hash, the same ones wherever the row occurs.

(Schleimer et al. 2003; Roberts et al. 2004.) Two reads without errors share one in every stretch of 41 bases that both
hold. A k-mer and its reverse complement count as one.

A place is one number: from the highest bit, 2^14 - 1 less the k-mer's position in the read, as it runs when the k-mer
is the lower of the two; the same of the read's length (14 bits); its number (33); whether it runs so backwards (1). So
of equal k-mers, sorted, the read that reaches furthest to the left comes first, of several the longest.
"""

import numba
import numpy as np

from readclade.clustering.links.packing import mix
from readclade.clustering.links.sequences import Sequences

K = 27
WINDOW = 15  # k-mers in a row
DENSITY = 2 / (WINDOW + 1)  # of minimizers among k-mers, about
LONGEST = (1 << 14) - 1  # bases of a read that are looked at
_POSITION, _LENGTH, _READ = np.uint64(48), np.uint64(34), np.uint64(1)
_LONGEST, _READ_MASK = np.uint64(LONGEST), np.uint64((1 << 33) - 1)
_NONE = np.uint64(2**64 - 1)


@numba.njit(cache=True, inline="always")
def get_position(place):
    """Return where the k-mer stands in the read as that runs here."""
    return LONGEST - np.int64(place >> _POSITION)


@numba.njit(cache=True, inline="always")
def get_read(place):
    """Return the read's number."""
    return np.int64((place >> _READ) & _READ_MASK)


@numba.njit(cache=True, inline="always")
def get_length(place):
    """Return the read's length in bases."""
    return LONGEST - np.int64((place >> _LENGTH) & _LONGEST)


@numba.njit(cache=True, inline="always")
def make_place(position, length, read, is_turned):
    """Return a place."""
    place = np.uint64(LONGEST - position) << _POSITION
    return place | (np.uint64(LONGEST - length) << _LENGTH) | (np.uint64(read) << _READ) | np.uint64(is_turned)


def get_reads(places: np.ndarray) -> np.ndarray:
    """Return the (p,) int64 reads of places."""
    return (places >> _READ & _READ_MASK).astype(np.int64)


@numba.njit(cache=True)
def _sketch(codes, offsets, kept, reads, begin, of, hashes, places, counts):
    """Write the minimizers of some of the ranges of hashes, a row each, as far as the rows reach; count them all."""
    mask = (np.uint64(1) << np.uint64(2 * K)) - np.uint64(1)
    shift = np.uint64(2 * (K - 1))
    row_hashes, row_places = np.empty(16, np.uint64), np.empty(16, np.int64)  # a queue of rising hashes
    for r in range(len(kept)):
        n = int(kept[r])
        forward, backward = np.uint64(0), np.uint64(0)
        head, tail, known, last = 0, 0, 0, -1
        for position in range(n):
            code = np.uint64(codes[offsets[r] + position])
            known = known + 1 if code < 4 else 0
            code &= np.uint64(3)
            forward = ((forward << np.uint64(2)) | code) & mask
            backward = (backward >> np.uint64(2)) | ((np.uint64(3) - code) << shift)
            at = position - K + 1
            if at < 0:
                continue
            hashed = mix(min(forward, backward) + np.uint64(0x9E3779B97F4A7C15)) if known >= K else _NONE
            while tail > head and row_hashes[(tail - 1) & 15] > hashed:
                tail -= 1
            row_hashes[tail & 15], row_places[tail & 15] = hashed, (at << 1) | (backward < forward)
            tail += 1
            while row_places[head & 15] >> 1 <= at - WINDOW:
                head += 1
            lowest, place = row_hashes[head & 15], row_places[head & 15]
            if (at < WINDOW - 1 and position < n - 1) or place == last or lowest == _NONE:
                continue
            last = place
            # The lowest of several hashes are no longer spread evenly.
            spread = mix(lowest)
            turn = np.int64(((spread >> np.uint64(32)) * np.uint64(of)) >> np.uint64(32)) - begin
            if not 0 <= turn < len(counts):
                continue
            at_row = counts[turn]
            if at_row < hashes.shape[1]:
                turned = place & 1
                hashes[turn, at_row] = spread
                places[turn, at_row] = make_place(n - K - (place >> 1) if turned else place >> 1, n, reads[r], turned)
            counts[turn] += 1


def sketch_minimizers(
    sequences: Sequences, kept: np.ndarray, ids: np.ndarray, turns: range, of: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the hashes and places of the minimizers of some ranges of hashes, one after the other.

    Args:
        kept: (2 n,) int32, bases of each read that count.
        ids: (n,) int64, the fragments' ids.
        turns: which of `of` equal ranges, from 0 on.
    """
    reads = (2 * ids[:, None] + np.arange(2)).reshape(-1)
    size = int(kept.sum(dtype=np.int64) * DENSITY / of * 1.01) + 1000
    while True:
        hashes, places = np.empty((2, len(turns), size), np.uint64)
        counts = np.zeros(len(turns), np.int64)
        for block in sequences.blocks():
            rows = slice(2 * block.begin, 2 * block.end)
            _sketch(block.codes, block.offsets, kept[rows], reads[rows], turns.start, of, hashes, places, counts)
        if counts.max() <= size:
            return [(hashes[turn, :count], places[turn, :count]) for turn, count in enumerate(counts.tolist())]
        size = int(counts.max())
