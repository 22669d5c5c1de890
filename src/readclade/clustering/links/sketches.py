"""Sketches: a sample of the k-mers of every read, the same k-mers wherever they occur.

A k-mer is kept where its hash is under a threshold (FracMinHash: Irber et al. 2022), so two reads that overlap keep
the same k-mers of their overlap. A k-mer and its reverse complement count as one; the strand is kept beside.

An entry is a hash and a 64-bit place: the fragment's id in the upper half; in the lower where the k-mer stands.: the
position of its first letter, and the strand.
"""

from dataclasses import dataclass

import numba
import numpy as np

from readclade.clustering.links.packing import mix
from readclade.clustering.links.sequences import Sequences

_LENGTHS = (31, 25, 21, 19, 17, 15)
_LEAST_SHARE = 0.15
_HITS_PER_KB = 12
_UNKNOWN_ERROR_RATE = 0.05


@dataclass(frozen=True)
class SketchRule:
    """Which k-mers are kept.

    Attributes:
        k: length of the k-mers, 11 to 31.
        density: share of all k-mers that is kept, above 0, at most 1.
        share: of the k-mers of a true overlap, the share that two reads have both without error.
    """

    k: int
    density: float
    share: float

    @property
    def threshold(self) -> int:
        """Hashes below it are kept."""
        return min(int(self.density * 2**64), 2**64 - 1)


def choose_sketch(error_rate: float) -> SketchRule:
    """Return the rule for reads of an error rate.

    Args:
        error_rate: errors per base of a typical read, or NaN where it is not known.
    """
    correct = 1 - (_UNKNOWN_ERROR_RATE if np.isnan(error_rate) else error_rate)
    for k in _LENGTHS:
        share = correct ** (2 * k)
        if share >= _LEAST_SHARE:
            break
    # Worse reads than the shortest k allows get every k-mer; a floor keeps the density a number.
    return SketchRule(k, min(1.0, _HITS_PER_KB / (1000 * max(share, 1e-6))), share)


@numba.vectorize(cache=True)
def find_range(hashed, threshold, of):
    """Return in which of `of` equal ranges below a threshold, from 0 on, a hash lies."""
    half = np.uint64(32)
    return np.int64((hashed >> half) * of // ((threshold >> half) + np.uint64(1)))


@numba.njit(cache=True)
def _sketch(codes, offsets, ids, k, threshold, begin, of, hashes, places, counts):
    """Write the entries of some of the ranges of hashes, a row each, as far as the rows reach; count them all."""
    mask = (np.uint64(1) << np.uint64(2 * k)) - np.uint64(1)
    shift = np.uint64(2 * (k - 1))
    for i in range(len(ids)):
        fragment = np.uint64(ids[i]) << np.uint64(32)
        for mate in range(2):
            read = 2 * i + mate
            forward, backward = np.uint64(0), np.uint64(0)
            known, last = 0, np.uint64(0)
            for position in range(offsets[read], offsets[read + 1]):
                code = np.uint64(codes[position])
                if code > 3:
                    known = 0
                    continue
                forward = ((forward << np.uint64(2)) | code) & mask
                backward = (backward >> np.uint64(2)) | ((np.uint64(3) - code) << shift)
                known += 1
                if known < k:
                    continue
                hashed = mix(min(forward, backward) + np.uint64(0x9E3779B97F4A7C15))
                if hashed >= threshold or hashed == last:  # in a run of one letter the first is enough
                    continue
                last = hashed
                turn = find_range(hashed, threshold, np.uint64(of)) - begin
                if not 0 <= turn < len(counts):
                    continue
                if counts[turn] < hashes.shape[1]:
                    place = np.uint64(position - offsets[read] - k + 1) << np.uint64(1)
                    hashes[turn, counts[turn]] = hashed
                    places[turn, counts[turn]] = fragment | place | np.uint64(backward < forward)
                counts[turn] += 1


def sketch_reads(
    sequences: Sequences, ids: np.ndarray, rule: SketchRule, turns: range, of: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the hashes and places of the kept k-mers of some ranges of hashes, each by fragment, then position.

    Args:
        ids: (n,) int64 ids of the fragments, below 2^32.
        turns: which of `of` equal ranges below the rule's threshold, from 0 on.
    """
    bases = int(sequences.read_lengths.sum(dtype=np.int64))
    # Nearly always enough; where reads repeat a kept k-mer for ever, the second turn knows the number.
    size = int(1.05 * rule.density * bases / of) + 1000
    while True:
        hashes, places = np.empty((2, len(turns), size), np.uint64)
        counts = np.zeros(len(turns), np.int64)
        for block in sequences.blocks():
            own = (block.codes, block.offsets, ids[block.begin : block.end], rule.k, np.uint64(rule.threshold))
            _sketch(*own, turns.start, of, hashes, places, counts)
        if counts.max() <= size:
            return [(hashes[turn, :count], places[turn, :count]) for turn, count in enumerate(counts.tolist())]
        size = int(counts.max())
