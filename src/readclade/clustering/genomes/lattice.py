"""The points that k-means clusters, on an integer lattice and over all ranks, and what one pass over them gives.

Points and centroids lie on an integer lattice (`calibration.LATTICE_STEPS`). With coordinates below 2^18 and at most
2^10 directions every product, squared distance and weighted sum is a whole number below 2^53 (distances, in float64
matrix products) or 2^63 (sums, in int64; those of weighted squared distances in three parts). Whole numbers add up to
the same in any order, so neither the distribution over ranks nor the matrix library can change what becomes of the
same lattice points. (The lattice points of two kinds of processor may differ: calibration is floating point.) Ties go
to the lowest number.
"""

from dataclasses import dataclass

import numba
import numpy as np
from mpi4py import MPI

from readclade.clustering.ranks.communicator import gather_rows, sum_integers
from readclade.errors import ConfigError

_BLOCK_ROWS = 1024
_MOST_MARGINS = 1024
# Weighted squared distances are summed in parts of 18 bits, lowest first: with weights below 2^45 none overflows.
_OBJECTIVE_BITS = 18
_OBJECTIVE_PARTS = 3


@numba.njit(cache=True)
def _add_up(points, weights, labels, distances, sums, totals, objective):
    """Add weighted coordinates and weights by label, and the weighted squared distances in parts; -1 is no label."""
    for i in range(len(labels)):
        label = labels[i]
        if label < 0:
            continue
        weight = weights[i]
        totals[label] += weight
        for column in range(points.shape[1]):
            sums[label, column] += weight * points[i, column]
        for part in range(_OBJECTIVE_PARTS):
            objective[part] += weight * ((distances[i] >> (part * _OBJECTIVE_BITS)) & ((1 << _OBJECTIVE_BITS) - 1))


@dataclass(frozen=True)
class Assignment:
    """What one pass over the points gives.

    Attributes:
        labels: (n,) int32, the nearest centroid of each of this rank's points.
        distances: (n,) int64 squared lattice distances to it.
        sums: (k, r) int64, weighted sums of coordinates over all ranks.
        totals: (k,) int64, weights over all ranks.
        objective: weighted sum of squared distances over all ranks, in lattice units.
    """

    labels: np.ndarray
    distances: np.ndarray
    sums: np.ndarray
    totals: np.ndarray
    objective: int


class Points:
    """The points of all ranks, of which this rank holds a part: all that k-means needs to know of its data.

    Attributes:
        count: number of points over all ranks.
        dim: number of coordinates, r.
    """

    def __init__(self, comm: MPI.Comm, points: np.ndarray, weights: np.ndarray, identifiers: np.ndarray):
        """Take this rank's part. Collective.

        Args:
            points: (n, r) int32 lattice coordinates.
            weights: (n,) int64, >= 0.
            identifiers: (n,) int64, different for every point over all ranks; decides ties and random numbers.
        """
        self.comm, self.points, self.weights, self.identifiers = comm, points, weights, identifiers
        self.dim = points.shape[1]
        self.count, total = sum_integers(comm, np.array([len(points), weights.sum()], np.int64)).tolist()
        if total >= 2**45:
            raise ConfigError(
                f"{total:,} bases are more than whole-number sums can hold (2^45)",
                remedy="cluster fewer samples at once",
            )

    def get_distances(
        self, centroids: np.ndarray, with_second: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of this rank's points the nearest centroid, the squared distance to it and to the second nearest.

        Args:
            centroids: (k, r) int64, k >= 1.
            with_second: whether second distances are wanted; without, and with k = 1, they are -1.
        """
        n = len(self.points)
        labels, nearest, second = np.zeros(n, np.int32), np.zeros(n, np.int64), np.full(n, -1, np.int64)
        columns = -2 * centroids.T.astype(np.float64)
        norms = (centroids.astype(np.float64) ** 2).sum(axis=1)
        for begin in range(0, n, _BLOCK_ROWS):
            rows = slice(begin, begin + _BLOCK_ROWS)
            block = self.points[rows].astype(np.float64)
            # |x - c|^2 without |x|^2, which is the same for all c and added to the result alone.
            distances = block @ columns
            distances += norms
            index = distances.argmin(axis=1)
            labels[rows] = index
            row_numbers = np.arange(len(block))
            squares = (block * block).sum(axis=1)
            nearest[rows] = distances[row_numbers, index] + squares
            if with_second and len(centroids) > 1:
                distances[row_numbers, index] = np.inf
                second[rows] = distances.min(axis=1) + squares
        return labels, nearest, second

    def get_margins(self, centroids: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (n, 2) float64: the distance to the own centroid, and by how much the nearest other one is farther.

        Args:
            centroids: (k, r) int64.
            labels: (n,) the own cluster of each of this rank's points; -1 for none, which gives NaN. With k = 1 the
                second value is NaN too, and with more than 1024 clusters, where it would cost too much.
        """
        margins = np.full((len(self.points), 2), np.nan)
        columns, norms = -2 * centroids.T.astype(np.float64), (centroids.astype(np.float64) ** 2).sum(axis=1)
        for begin in range(0, len(self.points), _BLOCK_ROWS):
            rows = begin + np.flatnonzero(labels[begin : begin + _BLOCK_ROWS] >= 0)
            block = self.points[rows].astype(np.float64)
            if len(centroids) > _MOST_MARGINS:
                block -= centroids[labels[rows]]
                margins[rows, 0] = np.sqrt((block * block).sum(axis=1))
                continue
            distances = np.sqrt(block @ columns + norms + (block * block).sum(axis=1)[:, None])
            numbers = np.arange(len(rows))
            own = distances[numbers, labels[rows]]
            margins[rows, 0] = own
            if len(centroids) > 1:
                distances[numbers, labels[rows]] = np.inf
                margins[rows, 1] = distances.min(axis=1) - own
        return margins

    def assign(self, centroids: np.ndarray) -> Assignment:
        """Assign every point to its nearest centroid and add up. Collective."""
        labels, distances, _ = self.get_distances(centroids)
        k = len(centroids)
        sums, totals = np.zeros((k, self.dim), np.int64), np.zeros(k, np.int64)
        objective = np.zeros(_OBJECTIVE_PARTS, np.int64)
        _add_up(self.points, self.weights, labels, distances, sums, totals, objective)
        packed = sum_integers(self.comm, np.concatenate([sums.reshape(-1), totals, objective]))
        return Assignment(
            labels,
            distances,
            packed[: k * self.dim].reshape(k, self.dim),
            packed[k * self.dim : -_OBJECTIVE_PARTS],
            _join_parts(packed[-_OBJECTIVE_PARTS:]),
        )

    def get_means(self, labels: np.ndarray, k: int) -> np.ndarray:
        """Return (k, r) int64, the weighted means of the points of all ranks by label. Collective.

        Args:
            labels: (n,) int64 of this rank's points, below k; -1 leaves a point out. Each label has weight.
        """
        sums, totals = self.sum_by_label(labels, k)
        return (sums + totals // 2) // totals

    def sum_by_label(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (k, r) and (k, 1) int64, the weighted sums of all ranks' points and of weights. Collective.

        Args:
            labels: as for `get_means`.
        """
        sums, totals, objective = (np.zeros(shape, np.int64) for shape in ((k, self.dim), k, _OBJECTIVE_PARTS))
        _add_up(self.points, self.weights, labels, np.zeros(len(labels), np.int64), sums, totals, objective)
        return sum_integers(self.comm, sums), sum_integers(self.comm, totals)[:, None]

    def get_rows(self, chosen: np.ndarray) -> np.ndarray:
        """Return the points that `chosen` (n,) bool marks on each rank, in the order of identifiers. Collective."""
        rows = np.column_stack([self.identifiers[chosen], self.points[chosen].astype(np.int64)])
        gathered = gather_rows(self.comm, rows)
        return gathered[np.argsort(gathered[:, 0], kind="stable"), 1:]

    def get_lowest(self, keys: np.ndarray, count: int) -> np.ndarray:
        """Return the `count` points with the lowest keys (n,) float64, ties to the lowest identifier. Collective."""
        order = np.lexsort([self.identifiers, keys])[:count]
        # Keys travel as float64 beside integers: two gathers keep both exact.
        gathered_keys = gather_rows(self.comm, keys[order].reshape(-1, 1))[:, 0]
        rows = np.column_stack([self.identifiers[order], self.points[order].astype(np.int64)])
        gathered = gather_rows(self.comm, rows)
        return gathered[np.lexsort([gathered[:, 0], gathered_keys])[:count], 1:]

    def sum_weighted(self, distances: np.ndarray) -> int:
        """Return the weighted sum of (n,) int64 squared distances of all ranks' points. Collective."""
        mask = (1 << _OBJECTIVE_BITS) - 1
        parts = [
            (self.weights * ((distances >> (part * _OBJECTIVE_BITS)) & mask)).sum() for part in range(_OBJECTIVE_PARTS)
        ]
        return _join_parts(sum_integers(self.comm, np.array(parts, np.int64)))


def _join_parts(parts: np.ndarray) -> int:
    return sum(value << (part * _OBJECTIVE_BITS) for part, value in enumerate(parts.tolist()))
