"""Whitening: the axes in which the fragments of a sample vary by the same amount in every direction.

Sums of products are not exact in floating point, so their order matters. They are summed shard by shard, and the
shards' sums in the shards' order: the result does not depend on which rank holds which shard.
"""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from readclade.clustering.communicator import gather_rows

# The lattice of k-means: coordinates are integers in units of 2^-12 standard deviations, within 32 deviations.
LATTICE_STEPS = 4096
_LATTICE_LIMIT = 32 * LATTICE_STEPS
_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Whitening:
    """z = (x - mean) @ directions.

    Attributes:
        mean: (d,) float64.
        directions: (d, r) float64; columns in falling order of variance.
        variances: (r,) float64, in the space of x.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    def to_lattice(self, embeddings: np.ndarray) -> np.ndarray:
        """Return (n, r) int32 lattice coordinates of (n, d) embeddings, clipped to 32 standard deviations."""
        points = np.empty((len(embeddings), self.directions.shape[1]), np.int32)
        for begin in range(0, len(embeddings), _BLOCK_ROWS):
            # Blocks begin where shards do: a row always meets the same block, whatever the number of ranks.
            block = (embeddings[begin : begin + _BLOCK_ROWS].astype(np.float64) - self.mean) @ self.directions
            np.clip(np.rint(block * LATTICE_STEPS), -_LATTICE_LIMIT, _LATTICE_LIMIT, out=block)
            points[begin : begin + _BLOCK_ROWS] = block
        return points


def fit_whitening(
    comm: MPI.Comm, shards: dict[int, tuple[np.ndarray, np.ndarray]], d: int, directions: int
) -> Whitening:
    """Fit the whitening over the shards of all ranks. Collective.

    Args:
        shards: by number in the whole job, this rank's (embeddings (n, d) float32, weights (n,) int64 bases).
        d: length of the embeddings.
        directions: how many leading directions to keep, at most; those without variance are left out.
    """
    rows = [
        np.concatenate([[number], _sum_products(embeddings, weights)])
        for number, (embeddings, weights) in sorted(shards.items())
    ]
    partials = gather_rows(comm, np.array(rows).reshape(len(rows), 2 + d + d * d))
    fitted = np.zeros(d + d * directions + directions)
    kept = np.zeros(1, np.int64)
    if comm.rank == 0:
        total = np.zeros(1 + d + d * d)
        for row in partials[np.argsort(partials[:, 0])]:
            total += row[1:]
        mean, axes, variances = _solve(total, d, directions)
        kept[0] = len(variances)
        fitted = np.concatenate([mean, axes.reshape(-1), variances])
    comm.Bcast(kept)
    r = int(kept[0])
    fitted = np.ascontiguousarray(fitted[: d + d * r + r])
    comm.Bcast(fitted)
    return Whitening(fitted[:d], fitted[d : d + d * r].reshape(d, r), fitted[d + d * r :])


def _sum_products(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    x = embeddings.astype(np.float64)
    weighted = x * weights[:, None]
    return np.concatenate([[weights.sum()], weighted.sum(axis=0), (weighted.T @ x).reshape(-1)])


def _solve(total: np.ndarray, d: int, directions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weight = max(total[0], 1)
    mean = total[1 : 1 + d] / weight
    covariance = total[1 + d :].reshape(d, d) / weight - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    # Directions without variance (constant columns, very few fragments) would be blown up to unit variance.
    kept = max(1, min(directions, int((values > max(values[0], 0) * 1e-9).sum())))
    values, vectors = np.maximum(values[:kept], 0), vectors[:, :kept]
    scales = np.divide(1, np.sqrt(values), out=np.zeros(kept), where=values > 0)
    return mean, vectors * scales, values
