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


@dataclass(frozen=True)
class Sketch:
    """The kept k-mers of this rank's fragments, fragment by fragment.

    Attributes:
        hashes: (entries,) uint64, below the rule's threshold.
        places: (entries,) uint64.
        begins: (n + 1,) int64, the entries of fragment i are begins[i] : begins[i + 1].
    """

    hashes: np.ndarray
    places: np.ndarray
    begins: np.ndarray


@numba.njit(cache=True)
def _sketch(codes, offsets, ids, k, threshold, hashes, places, begins):
    """Write the entries as far as the arrays reach; return how many there are."""
    mask = (np.uint64(1) << np.uint64(2 * k)) - np.uint64(1)
    shift = np.uint64(2 * (k - 1))
    capacity = len(hashes)
    count = 0
    for i in range(len(ids)):
        begins[i] = count
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
                if hashed < threshold and hashed != last:  # in a run of one letter the first is enough
                    last = hashed
                    if count < capacity:
                        place = np.uint64(position - offsets[read] - k + 1) << np.uint64(1)
                        hashes[count] = hashed
                        places[count] = fragment | place | np.uint64(backward < forward)
                    count += 1
    begins[len(ids)] = count
    return count


def sketch_reads(sequences: Sequences, ids: np.ndarray, rule: SketchRule) -> Sketch:
    """Return the kept k-mers of the fragments.

    Args:
        ids: (n,) int64 ids of the fragments, below 2^32.
    """
    begins = np.zeros(len(ids) + 1, np.int64)
    hashes, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for block in sequences.blocks():
        rows = slice(block.begin, block.end)
        found = np.empty(block.end - block.begin + 1, np.int64)
        arrays = (block.codes, block.offsets, ids[rows])
        # Nearly always enough; where a read repeats a kept k-mer for ever, the second turn knows the number.
        count = int(1.05 * rule.density * len(block.codes)) + 1000
        while True:
            hashed, placed = np.empty((2, count), np.uint64)
            count = _sketch(*arrays, rule.k, np.uint64(rule.threshold), hashed, placed, found)
            if count <= len(hashed):
                break
        begins[block.begin + 1 : block.end + 1] = begins[block.begin] + found[1:]
        hashes.append(hashed[:count].copy())
        places.append(placed[:count].copy())
    return Sketch(np.concatenate(hashes), np.concatenate(places), begins)
