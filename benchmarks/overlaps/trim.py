"""Trim what stands behind an insert: adapters, found by the two mates' own overlap, and tails of one base."""

import numba
import numpy as np


@numba.njit(cache=True)
def _find_ends(codes, offsets, least, tail, kept):
    for f in range((len(offsets) - 1) // 2):
        a, b, c = offsets[2 * f], offsets[2 * f + 1], offsets[2 * f + 2]
        na, nb = b - a, c - b
        kept[2 * f], kept[2 * f + 1] = na, nb
        for insert in range(min(na, nb) - 1, least - 1, -1):
            # Is [0, insert) of one mate the reverse complement of [0, insert) of the other?
            wrong, most = 0, 2
            j = 0
            while j < insert:
                if codes[a + j] + codes[b + insert - 1 - j] != 3:
                    wrong += 1
                    if wrong > most:
                        break
                j += 1
                if j & 31 == 0:
                    most += 2
            if j == insert:
                kept[2 * f] = kept[2 * f + 1] = insert
                break
    for r in range(len(offsets) - 1):
        n = kept[r]
        if n == 0:
            continue
        base = codes[offsets[r] + n - 1]
        run, other, best = 0, 0, 0
        for j in range(n - 1, -1, -1):
            if codes[offsets[r] + j] == base:
                run += 1
            else:
                other += 1
            if other * 8 > run + other + 7:
                break
            if codes[offsets[r] + j] == base:
                best = n - j
        if best >= tail:
            kept[r] = n - best


@numba.njit(cache=True)
def _cut(codes, offsets, kept, out, out_offsets):
    at = 0
    for r in range(len(kept)):
        for j in range(kept[r]):
            out[at] = codes[offsets[r] + j]
            at += 1
        out_offsets[r + 1] = at


def trim(codes, offsets, least=20, tail=12):
    """Return the codes and offsets of the trimmed reads, and how many bases of each are kept.

    Mates that read through their insert are each other's reverse complement over its whole length, from both starts.

    Args:
        codes: (bases,) uint8.
        offsets: (2 * fragments + 1,) where each read begins; mates stand side by side.
        least: shortest insert that is looked for, in bases.
        tail: shortest tail of one base (at most one other in eight) that is cut.
    """
    kept = np.empty(len(offsets) - 1, np.int64)
    _find_ends(codes, offsets, least, tail, kept)
    out, out_offsets = np.empty(int(kept.sum()), np.uint8), np.zeros(len(offsets), np.int64)
    _cut(codes, offsets, kept, out, out_offsets)
    return out, out_offsets, kept
