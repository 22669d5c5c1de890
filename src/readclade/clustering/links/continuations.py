"""Which read continues a short read's end: the longest overlap, unless what overlaps there contradicts itself."""

import numba
import numpy as np

from readclade.clustering.links.fetching import fetch_reads
from readclade.clustering.links.nearest import Nearest
from readclade.clustering.links.packing import count_mismatches
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.exchange import Layout, find_most, look_up

_LEAST = 20  # bases beyond an end in which two reads are compared


@numba.njit(cache=True)
def _contradict(near, far, shifts, overlaps, lengths, words, begins, bounds, differ):
    """Write whether the two reads of each row differ; rows hold the near one's values, then the far's."""
    for i in range(len(near)):
        (n, m), (one, other) = lengths[i], begins[i]
        most = bounds[overlaps[i]]
        wrong = count_mismatches(
            words, one, n, near[i] & 1, shifts[i], words, other, m, far[i] & 1, 0, overlaps[i], most
        )
        differ[i] = wrong > most


def choose_continuations(
    reads: Layout, sequences: Sequences, nearest: Nearest, bounds: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best partner of each end and the bases of their overlap; -1 and 0 where there is none. Collective.

    Contained reads neither have nor are partners. Where two reads that overlap an end both reach beyond it and differ
    there, a repeat ends, or two relatives part, and nothing tells which of them continues it.

    Args:
        reads: layout of this rank's m reads.
        bounds: (longest + 1,) int64, mismatches that two such reads may have, by the length in which they are compared.
        rows: how many reads are looked at at a time.

    Returns:
        (2 m,) int64, and (2 m,) int64.
    """
    m = len(nearest.lengths)
    known = np.column_stack([nearest.containers >= 0, nearest.lengths]).astype(np.int32)
    best, overlaps = np.full(2 * m, -1, np.int64), np.zeros(2 * m, np.int64)
    for begin in range(0, max(find_most(reads.comm, m), 1), rows):
        ends = slice(2 * begin, 2 * (begin + rows))
        partners = nearest.partners[ends].copy()
        partners[np.repeat(known[begin : begin + rows, 0] == 1, 2)] = -1
        lengths = np.zeros(partners.shape, np.int64)
        found = look_up(reads, partners[partners >= 0] >> 1, known)
        lengths[partners >= 0] = found[:, 1]
        partners[partners >= 0] = np.where(found[:, 0] == 1, -1, partners[partners >= 0])
        chosen, overlap, is_branched = _choose(reads, sequences, partners, lengths, nearest.overlaps[ends], bounds)
        best[ends] = np.where(is_branched, -1, chosen)
        overlaps[ends] = np.where(is_branched, 0, overlap)
    return best, overlaps


def _choose(reads: Layout, sequences: Sequences, partners, lengths, overlaps, bounds):
    """Return the first partner of each end, its overlap, and whether another one contradicts it. Collective."""
    rows, first = np.arange(len(partners)), (partners >= 0).argmax(axis=1)
    best, overlap, length = (column[rows, first].astype(np.int64) for column in (partners, overlaps, lengths))
    columns = []
    for other in range(1, partners.shape[1]):
        asked = np.flatnonzero((partners[:, other] >= 0) & (first < other))
        shift = overlap[asked] - overlaps[asked, other]  # the other begins so many bases further off
        one, two = best[asked], partners[asked, other]
        sizes = np.column_stack([length[asked], lengths[asked, other]])
        compared = np.minimum(sizes[:, 0] - shift, sizes[:, 1])
        used = (compared >= _LEAST) & (one >> 1 != two >> 1)
        columns.append((one[used], two[used], asked[used], shift[used], np.column_stack([sizes, compared])[used]))
    near, far, places, shifts, both = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    found = fetch_reads(reads, np.concatenate([near, far]) >> 1, sequences)
    differ = np.empty(len(near), bool)
    begins = np.ascontiguousarray(found.begins[found.places].reshape(2, -1).T)
    _contradict(near, far, shifts, both[:, 2].copy(), both[:, :2].copy(), found.words, begins, bounds, differ)
    is_branched = np.zeros(len(partners), bool)
    is_branched[places[differ]] = True
    return best, np.where(best >= 0, overlap, 0), is_branched
