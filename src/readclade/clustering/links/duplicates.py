"""Copies of one molecule (PCR, optical): they say nothing that the first of them does not, and would link to all."""

import numba
import numpy as np

from readclade.clustering.links.packing import mix
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.exchange import Delivery, Layout

_LETTERS = 24


@numba.njit(cache=True)
def _fingerprint(codes, offsets, prints, known):
    """Write a 64-bit fingerprint of each fragment's two ends; `known` is False where there is none."""
    for i in range(len(prints)):
        begin, middle, end = offsets[2 * i], offsets[2 * i + 1], offsets[2 * i + 2]
        paired = end > middle
        if middle - begin < _LETTERS or (paired and end - middle < _LETTERS):
            continue
        one, other = np.uint64(0), np.uint64(0)
        usable = True
        for step in range(_LETTERS):
            a = np.uint64(codes[begin + step])
            b = np.uint64(codes[middle + step] if paired else codes[middle - 1 - step])
            if a > 3 or b > 3:
                usable = False
                break
            if not paired:
                b = np.uint64(3) - b
            one = (one << np.uint64(2)) | a
            other = (other << np.uint64(2)) | b
        if not usable:
            continue
        # 48 bits of letters; the lengths come on top, so that they fit each to its own end.
        one = mix(one ^ mix(np.uint64(middle - begin)))
        other = mix(other ^ mix(np.uint64(end - middle if paired else middle - begin)))
        prints[i] = mix(min(one, other) + mix(max(one, other)))
        known[i] = True


def find_representatives(layout: Layout, sequences: Sequences) -> np.ndarray:
    """Return of each fragment the smallest fragment of which it is a copy: itself, where there is none. Collective.

    Copies have the same two ends, in either order, and the same lengths. The ends are the first 24 letters of read and
    mate, or of a single read and its reverse complement. A fragment that is shorter, or has unknown letters there, is
    no copy. Two different pairs of ends agree by chance with probability 2^-64.

    Returns:
        (n,) int64 ids.
    """
    prints, known = np.zeros(len(sequences), np.uint64), np.zeros(len(sequences), bool)
    for block in sequences.blocks():
        rows = slice(block.begin, block.end)
        _fingerprint(block.codes, block.offsets, prints[rows], known[rows])
    comm = layout.comm
    representatives = layout.ids.copy()
    delivery = Delivery(comm, (prints[known] % np.uint64(comm.size)).astype(np.int64))
    theirs, ids = delivery.send(prints[known]), delivery.send(representatives[known])
    smallest = np.empty_like(ids)
    if len(ids):
        order = np.argsort(theirs)
        theirs = theirs[order]
        begins = np.flatnonzero(np.concatenate([[True], theirs[1:] != theirs[:-1]]))
        smallest[order] = np.repeat(np.minimum.reduceat(ids[order], begins), np.diff(np.append(begins, len(ids))))
    representatives[known] = delivery.reply(smallest)
    return representatives
