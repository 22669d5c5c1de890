"""Calibration: the axes in which groups differ by more than what varies within one place of one genome.

Fragments of one group come from one place, so what differs between the parts of a group is noise. The directions are
those of the generalised eigenproblem of total against noise scatter, and one unit of a coordinate is one standard
deviation of noise (as in linear discriminant analysis: Fisher 1936, Rao 1948). It needs no labels and serves any
embedder. Where too little is linked, the total scatter itself is taken for noise: whitening.

Rank 0 fits it from a bounded sample, the same fragments and groups on any number of ranks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

# The lattice of k-means: coordinates are integers in units of 2^-12 standard deviations, within 32 deviations.
LATTICE_STEPS = 4096
_LATTICE_LIMIT = 32 * LATTICE_STEPS
_BLOCK_ROWS = 8192
# Noise as large in every direction is added to the measured one: directions that few groups show are not blown up.
_RIDGE = 0.3
_LEAST_PARTS = 4  # noise is measured where the sample has this many parts of groups for each dimension


@dataclass(frozen=True)
class Calibration:
    """z = (x - mean) @ directions, and about x = mean + z @ back.T.

    Attributes:
        mean: (d,) float64.
        directions: (d, r) float64; columns in falling order of what groups differ by.
        back: (d, r) float64.
        is_whitening: True where the total scatter was taken for noise.
    """

    mean: np.ndarray
    directions: np.ndarray
    back: np.ndarray
    is_whitening: bool

    def to_lattice(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, r) int32 lattice coordinates of (n, d) vectors, clipped to 32 standard deviations."""
        points = np.empty((len(vectors), self.directions.shape[1]), np.int32)
        for begin in range(0, len(vectors), _BLOCK_ROWS):
            centred = vectors[begin : begin + _BLOCK_ROWS].astype(np.float64) - self.mean
            # Products by einsum: each row's result depends on that row alone, whatever block it stands in.
            block = np.einsum("nd,dr->nr", centred, self.directions, optimize=False)
            np.clip(np.rint(block * LATTICE_STEPS), -_LATTICE_LIMIT, _LATTICE_LIMIT, out=block)
            points[begin : begin + _BLOCK_ROWS] = block
        return points


def fit_calibration(
    vectors: np.ndarray, weights: np.ndarray, deviations: np.ndarray, deviation_weights: np.ndarray, directions: int
) -> Calibration:
    """Fit a calibration. Not collective.

    Args:
        vectors: (n, d) float64, pooled vectors of groups, or of fragments where nothing is linked; n >= 1.
        weights: (n,) of them, > 0.
        deviations: (m, d) float64, of the parts of groups from the mean of their group; m >= 0.
        deviation_weights: (m,), > 0.
        directions: how many to keep at most; those in which nothing varies are left out, but for the first.
    """
    d = vectors.shape[1]
    mean = np.average(vectors, axis=0, weights=weights)
    total = _measure_scatter(vectors - mean, weights)
    is_whitening = len(deviations) < _LEAST_PARTS * d
    noise = total if is_whitening else _measure_scatter(deviations, deviation_weights)
    if is_whitening or not noise.trace() > 0:
        values, axes = np.linalg.eigh(total)
        values, axes = values[::-1], axes[:, ::-1]
        kept = _count_varying(values, directions)
        scales = np.sqrt(np.maximum(values[:kept], 0))
        unit = np.divide(1, scales, out=np.zeros(kept), where=scales > 0)
        return Calibration(mean, axes[:, :kept] * unit, axes[:, :kept] * scales, True)
    noise = noise + _RIDGE * noise.trace() / d * np.eye(d)
    values, axes = eigh(total, noise)
    values, axes = values[::-1], axes[:, ::-1]
    axes = axes[:, : _count_varying(values, directions)]
    return Calibration(mean, axes, noise @ axes, False)


def _measure_scatter(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (vectors * weights[:, None]).T @ vectors / weights.sum()


def _count_varying(values: np.ndarray, most: int) -> int:
    return max(1, min(most, int((values > max(values[0], 0) * 1e-9).sum())))
