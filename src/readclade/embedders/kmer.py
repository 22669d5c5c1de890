"""Canonical k-mer composition: the embedder that needs no weights.

A fragment's vector holds the frequency of each k-mer, a k-mer and its reverse complement counted as one, so that a
read and its reverse complement have the same vector (Karlin and Burge 1995 call such frequencies the genomic
signature). Background, scaling and directions are the projection's part (`readclade.embedders.projection`).
"""

import numba
import numpy as np
import pyarrow as pa

from readclade.letters import CODES, get_letters


def get_canonical_index(k: int) -> np.ndarray:
    """Return (4^k,) int32: for each k-mer code the column that it shares with its reverse complement."""
    codes = np.arange(4**k)
    reverse = np.zeros_like(codes)
    rest = codes.copy()
    for _ in range(k):
        reverse = reverse * 4 + (3 - rest % 4)
        rest //= 4
    return np.unique(np.minimum(codes, reverse), return_inverse=True)[1].astype(np.int32)


@numba.njit(cache=True, nogil=True)
def _count_kmers(letters, begin, end, codes, columns, k, counts):
    """Add the canonical k-mers of one read, letters[begin:end], to counts; return how many there are."""
    mask = np.uint32((1 << (2 * k)) - 1)
    kmer = np.uint32(0)
    known = 0  # known letters since the last unknown one
    total = 0
    for position in range(begin, end):
        code = codes[letters[position]]
        if code == 4:
            known = 0
            continue
        kmer = ((kmer << np.uint32(2)) | code) & mask
        known += 1
        if known >= k:
            counts[columns[kmer]] += np.uint32(1)
            total += 1
    return total


@numba.njit(cache=True, nogil=True)
def _fill_frequencies(letters, offsets, mate_letters, mate_offsets, codes, columns, k, frequencies):
    """Write the k-mer frequencies of fragment i into frequencies[i], or NaN where it has no valid k-mer."""
    paired = len(mate_offsets) > 1
    counts = np.zeros(frequencies.shape[1], np.uint32)
    for i in range(len(frequencies)):
        counts[:] = 0
        total = _count_kmers(letters, offsets[i], offsets[i + 1], codes, columns, k, counts)
        if paired:
            total += _count_kmers(mate_letters, mate_offsets[i], mate_offsets[i + 1], codes, columns, k, counts)
        scale = np.float32(1 / total) if total else np.float32(np.nan)
        for column in range(len(counts)):
            frequencies[i, column] = counts[column] * scale


class KmerEmbedder:
    """Frequencies of canonical k-mers, k = 4 (136 columns) or 5 (512 columns)."""

    name = "kmer"
    revision = "1"
    is_composition = True
    fit_fragments = 50_000
    threads = 0

    def __init__(self, k: int = 4):
        self.parameters = {"k": k}
        self._k = k
        self._columns = get_canonical_index(k)
        self.dim = int(self._columns.max()) + 1

    def embed(self, sequences: pa.StringArray, mates: pa.StringArray | None = None) -> np.ndarray:
        """Return (n, D) float32 frequencies that sum to 1 by row; NaN for a fragment without a valid k-mer."""
        frequencies = np.empty((len(sequences), self.dim), np.float32)
        letters, offsets = get_letters(sequences)
        mate_letters, mate_offsets = (letters[:0], offsets[:0]) if mates is None else get_letters(mates)
        _fill_frequencies(letters, offsets, mate_letters, mate_offsets, CODES, self._columns, self._k, frequencies)
        return frequencies
