"""Count the edits between two stretches of reads by bit vectors, 64 bases at a time."""

import numba
import numpy as np

from readclade.clustering.links.packing import U, get_oriented


@numba.njit(cache=True)
def orient(words, begin, n, is_reverse, scratch):
    """Write a read, reversed if asked, into scratch (with a word to spare)."""
    for q in range((n + 31) // 32):
        scratch[q] = get_oriented(words, begin, n, is_reverse, 32 * q)
    scratch[(n + 31) // 32] = U(0)


@numba.njit(cache=True)
def count_edits(x, i0, n, y, j0, m, peq, pv, mv):
    """Return the edits between x[i0 : i0 + n] and y[j0 : j0 + m], both from end to end.

    Args:
        x, y: words of two oriented reads.
        peq, pv, mv: (4, W), (W,) and (W,) uint64 of scratch, with 64 W >= n.

    Source: Myers 1999, doi:10.1145/316542.316550; Hyyrö 2003 for alignments of whole stretches.
    """
    if n == 0 or m == 0:
        return n + m
    blocks = (n + 63) // 64
    for w in range(blocks):
        peq[0, w] = peq[1, w] = peq[2, w] = peq[3, w] = U(0)
        pv[w] = ~U(0)
        mv[w] = U(0)
    for i in range(n):
        p = i0 + i
        c = (x[p >> 5] >> U(2 * (p & 31))) & U(3)
        peq[c, i >> 6] |= U(1) << U(i & 63)
    score = n
    top = U((n - 1) & 63)
    one = U(1)
    if blocks == 1:  # the rule between two anchors, and quicker without the scratch
        up, down = ~U(0), U(0)
        for j in range(m):
            p = j0 + j
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
    for j in range(m):
        p = j0 + j
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
