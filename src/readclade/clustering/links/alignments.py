"""Overlaps as others write them: where each lies in both of its reads, as these were sequenced."""

from dataclasses import dataclass, fields

import numba
import numpy as np

from readclade.clustering.links.fetching import fetch_reads
from readclade.clustering.links.nearest import KEPT, Nearest
from readclade.clustering.links.packing import count_mismatches
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.verified import Verified
from readclade.clustering.ranks.exchange import Layout, look_up


@dataclass(frozen=True)
class Alignments:
    """Overlaps of p reads of this rank, by query, then target. Positions count from a read's first base on.

    Attributes:
        query, target: (p,) int64 reads.
        is_reversed: (p,) bool, whether the target is, against the query.
        query_begin, query_end, target_begin, target_end: (p,) int64, the stretches that were compared.
        edits: (p,) int64 between these.
    """

    query: np.ndarray
    target: np.ndarray
    is_reversed: np.ndarray
    query_begin: np.ndarray
    query_end: np.ndarray
    target_begin: np.ndarray
    target_end: np.ndarray
    edits: np.ndarray

    @property
    def bases(self) -> np.ndarray:
        """(p,) int64, bases of the longer of both stretches."""
        return np.maximum(self.query_end - self.query_begin, self.target_end - self.target_begin)

    def take(self, rows: np.ndarray) -> "Alignments":
        """Return some of the overlaps."""
        return Alignments(*(getattr(self, field.name)[rows] for field in fields(Alignments)))


def align_long_reads(reads: Layout, verified: Verified, part: slice) -> Alignments:
    """Return the overlaps whose first read is among a part of this rank's reads.

    Args:
        reads: layout of the reads.
        verified: overlaps that this rank holds.
        part: with begin and end.
    """
    found = verified.take(np.arange(*np.searchsorted(reads.local(verified.a), [part.start, part.stop])))
    begin = np.where(found.is_reversed, found.b_length - found.b_end, found.b_begin)
    end = np.where(found.is_reversed, found.b_length - found.b_begin, found.b_end)
    columns = (found.a_begin, found.a_end, begin, end, found.edits)
    return Alignments(found.a, found.b, found.is_reversed, *(column.astype(np.int64) for column in columns))


def align_pairs(reads: Layout, sequences: Sequences, nearest: Nearest, part: slice) -> Alignments:
    """Return the nearest overlaps and the containers of a part of this rank's short reads, each once. Collective.

    An overlap is told by its lower read, or by the only one that keeps it among its nearest.

    Args:
        reads: layout of the reads.
        sequences: of this rank's fragments.
        nearest: of this rank's reads.
        part: with begin and end.
    """
    both = [_list_ends(reads, nearest, part), _list_contained(reads, nearest, part)]
    query, target, is_reversed, begin, end, other_begin, other_end = map(np.concatenate, zip(*both, strict=True))
    found = fetch_reads(reads, target, sequences)
    edits = np.empty(len(query), np.int64)
    begins, other_begins = sequences.begins[reads.local(query)], found.begins[found.places]
    lengths, places = found.read_lengths[found.places], (begin, end, other_begin, other_end)
    _count(sequences.words, begins, found.words, other_begins, lengths, is_reversed, *places, edits)
    order = np.lexsort([other_begin, begin, is_reversed, target, query])
    return Alignments(query, target, is_reversed, begin, end, other_begin, other_end, edits).take(order)


def _list_ends(reads: Layout, nearest: Nearest, part: slice) -> list[np.ndarray]:
    """Return query, target, whether it is reversed, and both stretches, of the partners of ends."""
    kept = nearest.partners[2 * part.start : 2 * part.stop].reshape(-1)
    at = np.flatnonzero(kept >= 0)
    partners, side = kept[at], at // KEPT & 1
    own = part.start + at // KEPT // 2
    overlap = nearest.overlaps[2 * part.start : 2 * part.stop].reshape(-1)[at].astype(np.int64)
    query, target, other_side = reads.ids[own], partners >> 1, partners & 1
    keeps = look_up(reads, target, nearest.partners.reshape(-1, 2 * KEPT)) == (2 * query + side)[:, None]
    keeps = np.where(other_side == 1, keeps[:, KEPT:].any(axis=1), keeps[:, :KEPT].any(axis=1))
    told = (query < target) | ~keeps
    length = look_up(reads, target, nearest.lengths).astype(np.int64)
    begin = np.where(side == 1, nearest.lengths[own] - overlap, 0)
    other_begin = np.where(other_side == 1, length - overlap, 0)
    columns = [query, target, side == other_side, begin, begin + overlap, other_begin, other_begin + overlap]
    return [column[told] for column in columns]


def _list_contained(reads: Layout, nearest: Nearest, part: slice) -> list[np.ndarray]:
    """Return the same columns of the reads that lie within others."""
    own = part.start + np.flatnonzero(nearest.containers[part] >= 0)
    containers, offset = nearest.containers[own], nearest.offsets[own].astype(np.int64)
    length = nearest.lengths[own].astype(np.int64)
    return [reads.ids[own], containers >> 1, containers & 1 == 1, 0 * offset, length, offset, offset + length]


@numba.njit(cache=True)
def _count(words, begins, others, other_begins, lengths, is_reversed, begin, end, other_begin, other_end, edits):
    """Write how many bases of two stretches of one length differ."""
    for i in range(len(edits)):
        size, m = end[i] - begin[i], np.int64(lengths[i])
        at = m - other_end[i] if is_reversed[i] else other_begin[i]
        edits[i] = count_mismatches(
            words, begins[i], 0, False, begin[i], others, other_begins[i], m, is_reversed[i], at, size, size
        )
