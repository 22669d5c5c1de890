"""Count the edits between two stretches of packed reads, by bit vectors, 64 bases at a time."""

import numba
import numpy as np

from readclade.clustering.links.packing import ODD, U, get_oriented, get_window

_CUT, _CUT_MASK = 10, U((1 << 20) - 1)  # bases that both stretches must share where long ones are cut
_CUT_FIRST, _CUT_LAST, _CUT_STEP, _CUT_SHIFT = 52, 16, 4, 4
_FEW = 2  # substitutions up to which stretches of one length have as many edits as letters that differ
_HALVES = (U(0x3333333333333333), U(0x0F0F0F0F0F0F0F0F), U(0x00FF00FF00FF00FF), U(0x0000FFFF0000FFFF), U(0xFFFFFFFF))


@numba.njit(cache=True)
def orient(words, begin, n, is_reversed, scratch):
    """Write a read of n bases that begins at a word, reversed if asked, into scratch with a word to spare."""
    blocks = (n + 31) // 32
    for q in range(blocks):
        scratch[q] = get_oriented(words, begin, n, is_reversed, 32 * q)
    scratch[blocks] = U(0)


@numba.njit(cache=True)
def _squeeze(x):
    """Return the 32 bits at even places of a word, side by side."""
    x &= ODD
    for step in range(5):
        x = (x | (x >> U(1 << step))) & _HALVES[step]
    return x


@numba.njit(cache=True)
def _mark_letters(x, at, peq, w):
    """Write which of the 64 bases from `at` on are A, C, G and T, a bit each, into column w."""
    one, other = get_window(x, 0, at), get_window(x, 0, at + 32)
    low = _squeeze(one) | (_squeeze(other) << U(32))
    high = _squeeze(one >> U(1)) | (_squeeze(other >> U(1)) << U(32))
    peq[0, w], peq[1, w], peq[2, w], peq[3, w] = ~(low | high), low & ~high, high & ~low, low & high


@numba.njit(cache=True)
def _count_few(x, i0, y, j0, n):
    """Return how many of n letters differ, or some number above _FEW."""
    count = 0
    for j in range(0, n, 32):
        z = get_window(x, 0, i0 + j) ^ get_window(y, 0, j0 + j)
        z = (z | (z >> U(1))) & ODD
        if n - j < 32:
            z &= (U(1) << U(2 * (n - j))) - U(1)
        while z:
            z &= z - U(1)
            count += 1
            if count > _FEW:
                return count
    return count


@numba.njit(cache=True)
def _count_short(x, i0, n, y, j0, m, peq):
    """Return the edits of a stretch x of at most 64 bases and y: the rule between two anchors."""
    _mark_letters(x, i0, peq, 0)
    score = n
    one, top = U(1), U(n - 1)
    up, down = ~U(0), U(0)
    for p in range(j0, j0 + m):
        eq = peq[(y[p >> 5] >> U(2 * (p & 31))) & U(3), 0]
        xv = eq | down
        xh = (((eq & up) + up) ^ up) | eq
        ph = down | ~(xh | up)
        mh = up & xh
        score += np.int64((ph >> top) & one) - np.int64((mh >> top) & one)
        ph = (ph << one) | one
        up = (mh << one) | ~(xv | ph)
        down = ph & xv
    return score


@numba.njit(cache=True)
def count_edits(x, i0, n, y, j0, m, vectors):
    """Return the edits between n bases of x from i0 on and m bases of y from j0 on, both from end to end.

    Args:
        x, y: words of 32 bases, base p in the bits 2 (p % 32) of word p // 32; x has two words to spare.
        vectors: (4, W), (W,) and (W,) uint64 of scratch, with 64 W >= n.

    Source: Myers 1999, doi:10.1145/316542.316550; Hyyrö 2003 for alignments of whole stretches.
    """
    peq, pv, mv = vectors
    if n == 0 or m == 0:
        return n + m
    if n == m:
        few = _count_few(x, i0, y, j0, n)
        if few <= _FEW:
            return few
    if n <= 64:
        return _count_short(x, i0, n, y, j0, m, peq)
    blocks = (n + 63) // 64
    for w in range(blocks):
        _mark_letters(x, i0 + 64 * w, peq, w)
        pv[w], mv[w] = ~U(0), U(0)
    score = n
    one, top = U(1), U((n - 1) & 63)
    for p in range(j0, j0 + m):
        c = (y[p >> 5] >> U(2 * (p & 31))) & U(3)
        hp, hm = one, U(0)  # what comes in from the row above
        for w in range(blocks):
            eq, up, down = peq[c, w], pv[w], mv[w]
            xv = eq | down
            eq |= hm
            xh = (((eq & up) + up) ^ up) | eq
            ph = down | ~(xh | up)
            mh = up & xh
            if w == blocks - 1:
                score += np.int64((ph >> top) & one) - np.int64((mh >> top) & one)
            op, om = ph >> U(63), mh >> U(63)
            ph = (ph << one) | hp
            mh = (mh << one) | hm
            pv[w] = mh | ~(xv | ph)
            mv[w] = ph & xv
            hp, hm = op, om
    return score


@numba.njit(cache=True)
def _find_cut(x, i0, y, j0):
    """Return where both stretches have the same bases within 62 of their begins, or -1 and -1."""
    for i in range(_CUT_FIRST, _CUT_LAST, -_CUT_STEP):
        word = get_window(x, 0, i0 + i) & _CUT_MASK
        for s in range(2 * _CUT_SHIFT + 1):
            j = i + ((s + 1) >> 1 if s & 1 else -(s >> 1))  # the smallest shifts first
            if get_window(y, 0, j0 + j) & _CUT_MASK == word:
                return i, j
    return -1, -1


@numba.njit(cache=True)
def count_edits_piecewise(x, i0, n, y, j0, m, vectors):
    """Return about what `count_edits` returns, sooner: long stretches are cut where they share some bases."""
    if n == m:
        edits = _count_few(x, i0, y, j0, n)
        if edits <= _FEW:
            return edits
    edits = 0
    while n > 64 and m > 64:
        i, j = _find_cut(x, i0, y, j0)
        if i < 0:
            break
        edits += count_edits(x, i0, i, y, j0, j, vectors)
        i0, n, j0, m = i0 + i + _CUT, n - i - _CUT, j0 + j + _CUT, m - j - _CUT
    return edits + count_edits(x, i0, n, y, j0, m, vectors)
