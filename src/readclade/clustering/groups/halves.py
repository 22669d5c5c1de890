"""Halves: what a long read that overlaps no other says of noise.

The parts of a group come from one place, and what differs between them is noise. Both halves of a read come from one
place too, so that a read alone is a group of two. A shard holds one vector a read, hence halves are embedded here.
That costs little with k-mers; a network would need its weights, and a GPU, on every rank of the job.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from readclade.clustering.links.sequences import Sequences
from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import Projection
from readclade.shards.manifest import Manifest

Embed = Callable[[pa.StringArray], np.ndarray]

_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
_LEAST_BASES = 1000  # of a half
_READS_AT_ONCE = 256


def choose_half_embedder(manifest: Manifest) -> Embed | None:
    """Return a function of n sequences to the (n, d) float32 vectors that shards would hold; None for a network."""
    embedder = manifest.embedder
    if (embedder["name"], embedder["revision"]) != (KmerEmbedder.name, KmerEmbedder.revision):
        return None
    kmers, projection = KmerEmbedder(**embedder["parameters"]), Projection.from_json(embedder["projection"])
    return lambda sequences: projection.apply(kmers.embed(sequences))


def have_halves(sequences: Sequences, reads: np.ndarray) -> np.ndarray:
    """Return (m,) bool: which of (m,) int64 single reads are long enough for `measure_halves`."""
    return sequences.read_lengths[2 * reads] >= 2 * _LEAST_BASES


def measure_halves(sequences: Sequences, reads: np.ndarray, d: int, embed: Embed) -> np.ndarray:
    """Return (m, d) float64: how far the halves of each read lie from their middle; NaN where they are too short.

    Its square stands for the noise of a fragment as long as the read. It is less than that, by about half at 8 kb,
    for a genome varies less within a read than along several.

    Args:
        sequences: of single reads.
        reads: (m,) int64, which of them.
        d: length of a vector.
        embed: of `choose_half_embedder`.
    """
    deviations = np.full((len(reads), d), np.nan)
    long = np.flatnonzero(have_halves(sequences, reads))
    for begin in range(0, len(long), _READS_AT_ONCE):
        rows = long[begin : begin + _READS_AT_ONCE]
        vectors = embed(_cut(sequences, reads[rows])).astype(np.float64).reshape(len(rows), 2, d)
        known = np.all(vectors.any(axis=2), axis=1)
        deviations[rows[known]] = (vectors[known, 0] - vectors[known, 1]) / 2
    return deviations


def _cut(sequences: Sequences, reads: np.ndarray) -> pa.StringArray:
    """Return the first and the second half of each read, one after the other."""
    codes, offsets = sequences.decode(reads)
    ends = offsets[::2]  # no read has a mate
    lengths = np.stack([np.diff(ends) // 2, (np.diff(ends) + 1) // 2], axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.StringArray.from_buffers(2 * len(reads), pa.py_buffer(offsets), pa.py_buffer(_LETTERS[codes]))
