"""Ends of inserts: what stands behind them in a read, adapters and tails of one base, is not of the genome."""

import numba
import numpy as np

from readclade.clustering.links.sequences import Sequences

_LEAST_INSERT = 20
_LEAST_TAIL = 12
_ONE_OTHER_IN = 8  # bases of a tail
_MOST_WRONG, _WRONG_STEP = 2, 32  # mismatches of an insert with itself: two, and two more for each 32 bases


@numba.njit(cache=True)
def _find_insert(codes, one, end_of_one, other, end_of_other):
    """Return the longest insert whose two ends the mates both read through, or -1."""
    for insert in range(min(end_of_one - one, end_of_other - other) - 1, _LEAST_INSERT - 1, -1):
        wrong, j = 0, 0
        while j < insert:
            wrong += codes[one + j] + codes[other + insert - 1 - j] != 3
            if wrong > _MOST_WRONG + _MOST_WRONG * (j // _WRONG_STEP):
                break
            j += 1
        if j == insert:
            return insert
    return -1


@numba.njit(cache=True)
def _find_tail(codes, begin, end):
    """Return how many bases at the end are a tail of one base."""
    score, highest, best = 0, 0, 0
    for position in range(end - 1, begin - 1, -1):
        score += 1 if codes[position] == codes[end - 1] else 1 - _ONE_OTHER_IN
        if score > highest:
            highest, best = score, end - position
        elif score <= highest - 2 * _ONE_OTHER_IN:
            break
    return best if best >= _LEAST_TAIL else 0


@numba.njit(cache=True)
def _find_ends(codes, offsets, kept):
    for fragment in range(len(offsets) // 2):
        a, b, c = offsets[2 * fragment], offsets[2 * fragment + 1], offsets[2 * fragment + 2]
        insert = _find_insert(codes, a, b, b, c)
        kept[2 * fragment] = insert if insert >= 0 else b - a
        kept[2 * fragment + 1] = insert if insert >= 0 else c - b
    for read in range(len(kept)):
        if kept[read]:
            kept[read] -= _find_tail(codes, offsets[read], offsets[read] + kept[read])


def find_insert_ends(sequences: Sequences) -> np.ndarray:
    """Return (2 n,) int32: how many bases of each read of n fragments are of the insert.

    Mates that read through their insert are each other's reverse complement over its whole length, from both starts;
    what follows is adapter, whichever it is. A tail of one base (at most one other in eight) is what a sequencer writes
    that sees nothing more.
    """
    kept = np.empty(2 * len(sequences), np.int32)
    for block in sequences.blocks():
        _find_ends(block.codes, block.offsets, kept[2 * block.begin : 2 * block.end])
    return kept
