"""Bases in two bits: reads packed into 64-bit words, windows of them, and mismatches between two stretches."""

import numba
import numpy as np

U = np.uint64
ODD = U(0x5555555555555555)
TWOS, FOURS, BYTES = U(0x3333333333333333), U(0x0F0F0F0F0F0F0F0F), U(0x00FF00FF00FF00FF)


@numba.njit(cache=True)
def _pack(codes, offsets, words, begins):
    at = 0
    for r in range(len(offsets) - 1):
        begins[r] = at
        word = U(0)
        n = offsets[r + 1] - offsets[r]
        for j in range(n):
            c = codes[offsets[r] + j]
            if c > 3:
                c = 0
            word |= U(c) << U(2 * (j & 31))
            if j & 31 == 31:
                words[at] = word
                at += 1
                word = U(0)
        if n & 31:
            words[at] = word
            at += 1
    begins[len(offsets) - 1] = at


def pack_reads(codes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pack reads, each from a word of its own; base j stands in bits 2 j and 2 j + 1.

    Args:
        codes: (bases,) uint8, A C G T as 0 to 3; what is above becomes 0.
        offsets: (reads + 1,) int64, where each read begins.

    Returns:
        The words, with two to spare, the (reads + 1,) word where each read begins, and the (reads,) int32 lengths.
    """
    lengths = np.diff(offsets).astype(np.int32)
    begins = np.empty(len(offsets), np.int64)
    words = np.zeros(int(((lengths + 31) // 32).sum()) + 2, np.uint64)
    _pack(codes, offsets, words, begins)
    return words, begins, lengths


@numba.njit(cache=True, inline="always")
def get_window(words, begin, p):
    """Return the 32 bases from p on of the read that begins at word `begin`."""
    q = begin + (p >> 5)
    r = U(2 * (p & 31))
    if r == U(0):
        return words[q]
    return (words[q] >> r) | (words[q + 1] << (U(64) - r))


@numba.njit(cache=True, inline="always")
def reverse_complement(x):
    """Return the reverse complement of 32 bases."""
    x = ~x
    x = ((x >> U(2)) & TWOS) | ((x & TWOS) << U(2))
    x = ((x >> U(4)) & FOURS) | ((x & FOURS) << U(4))
    x = ((x >> U(8)) & BYTES) | ((x & BYTES) << U(8))
    x = ((x >> U(16)) & U(0x0000FFFF0000FFFF)) | ((x & U(0x0000FFFF0000FFFF)) << U(16))
    return (x >> U(32)) | (x << U(32))


@numba.njit(cache=True, inline="always")
def get_oriented(words, begin, n, is_reverse, p):
    """Return 32 bases from p on of a read of n bases, or of its reverse complement; beyond the end anything."""
    if not is_reverse:
        return get_window(words, begin, p)
    q = n - p - 32
    if q >= 0:
        return reverse_complement(get_window(words, begin, q))
    return reverse_complement(get_window(words, begin, 0) << U(-2 * q))


@numba.njit(cache=True, inline="always")
def _count_bits(x):
    x = x - ((x >> U(1)) & ODD)
    x = (x & TWOS) + ((x >> U(2)) & TWOS)
    x = (x + (x >> U(4))) & FOURS
    return np.int64((x * U(0x0101010101010101)) >> U(56))


@numba.njit(cache=True)
def count_mismatches(words, begin, n, is_reverse, at, others, other_begin, m, is_other_reverse, other_at, length, most):
    """Return how many of `length` bases differ between a stretch of one read and one of another.

    Args:
        words, begin, n, is_reverse, at: packed reads, the word where the first read begins, its bases, whether its
            reverse complement is meant, and where in it the stretch begins; then the same of the second read.
        most: from more than so many on any number may come back.
    """
    count = 0
    for j in range(0, length, 32):
        x = get_oriented(words, begin, n, is_reverse, at + j)
        x ^= get_oriented(others, other_begin, m, is_other_reverse, other_at + j)
        x = (x | (x >> U(1))) & ODD
        if length - j < 32:
            x &= (U(1) << U(2 * (length - j))) - U(1)
        count += _count_bits(x)
        if count > most:
            break
    return count


@numba.njit(cache=True)
def mix(x):
    """Return the splitmix64 finaliser of a 64-bit number (Steele et al. 2014)."""
    x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
    return x ^ (x >> U(31))
