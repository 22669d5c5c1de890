"""How far apart clusters lie, and how far apart they must lie to be two genomes (docs/clustering.md)."""

import numpy as np
from scipy import sparse

from readclade.clustering.genomes.cores import DEPTH_SPREAD, Cores, count_clusters

_TRIMMED = 0.1  # share of the groups at either end that a cluster's spread is measured without
# How many standard deviations apart two clusters must lie: 4.5 for groups that cover 3 kb, 0.6 more for each factor e.
_DISTANCE, _DISTANCE_GROWTH, _STRETCH = 4.5, 0.6, 3000
_DISTANCE_BOUNDS = (4.3, 6.1)
_LEAST_CROSSINGS = 10  # links between two clusters that count as evidence at all
_LEAST_DEGREE = 1.5  # links of a group, on average, for the same
_CHANCE = 0.2  # share of the expected crossings that mistaken links can reach
_LINK_WEIGHT = 2.0
_LEAST_INSIDE = 4  # groups, or all count


def _describe(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the weighted mean and variance of what lies between the first and the last tenth."""
    order = values.argsort()
    shares = np.cumsum(weights[order]) / weights.sum()
    inside = order[(shares > _TRIMMED) & (shares <= 1 - _TRIMMED)]
    inside = inside if len(inside) >= _LEAST_INSIDE else order
    mean = np.average(values[inside], weights=weights[inside])
    return mean, np.average((values[inside] - mean) ** 2, weights=weights[inside])


def measure_distances(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Return (K, K): how far apart clusters lie, in standard deviations, shortened where links join them.

    Each group's place between two clusters is the difference of its log-likelihoods by letter. What their depths lie
    apart beyond one standard deviation counts as a direction of its own.
    """
    count = count_clusters(labels)
    scores, letters = cores.score(labels), cores.letters
    joined = _measure_joined(count_crossings(cores, labels), np.bincount(labels))
    members = [labels == label for label in range(count)]
    depths = [_describe(cores.log_depths[inside], letters[inside]) for inside in members]
    distances = np.full((count, count), np.inf)
    for a in range(count):
        for b in range(a):
            sides = []
            for inside in (members[a], members[b]):
                places = (scores[inside, a] - scores[inside, b]) / letters[inside]
                sides.append(_describe(places, letters[inside]))
            # The geometric mean: beside a cluster of odd groups from everywhere, compact ones must not look near.
            spread = (sides[0][1] * sides[1][1] + 1e-24) ** 0.25
            distance = (sides[0][0] - sides[1][0]) / spread
            distance = np.copysign(np.hypot(distance, _measure_depth_gap(depths[a], depths[b])), distance)
            distances[a, b] = distances[b, a] = distance / (1 + _LINK_WEIGHT * joined[a, b])
    return distances


def _measure_depth_gap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return by how many standard deviations, beyond one, two clusters' log depths differ: of (mean, variance) each."""
    spread = np.sqrt(DEPTH_SPREAD**2 + np.sqrt(first[1] * second[1]))
    return max(abs(first[0] - second[0]) / spread - 1, 0)


def count_crossings(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Return (K, K): links between clusters; on the diagonal twice those within one."""
    shape = (len(labels), count_clusters(labels))
    member = sparse.csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)), shape=shape)
    return (member.T @ cores.links @ member).toarray()


def measure_joining(crossings: np.ndarray) -> np.ndarray:
    """Return (K, K), from 0 on: links between two clusters against those between random parts of one genome, 1.

    Args:
        crossings: (K, K), of `count_crossings`.
    """
    ends = np.diag(crossings)[:, None] + crossings  # of links in the row's cluster, of the two clusters alone
    return crossings * (ends + ends.T) / np.maximum(ends * ends.T, 1)


def _measure_joined(crossings: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (K, K), 0 to 1: how firmly links join clusters beyond chance; 0 where there are too few to tell."""
    joined = np.clip(measure_joining(crossings) - _CHANCE, 0, 1)
    bare = crossings.sum(axis=1) / sizes < _LEAST_DEGREE
    joined[(crossings < _LEAST_CROSSINGS) | bare | bare[:, None]] = 0
    return joined


def get_least_distances(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Return (K, K): the distance from which two clusters count as two genomes.

    Short groups scatter by chance, hence normally; long ones by their genomes' islands, whose heaps lie far apart.
    """
    stretches = np.array([np.median(cores.weights[labels == label]) for label in range(count_clusters(labels))])
    shorter = np.minimum(stretches[:, None], stretches)
    return np.clip(_DISTANCE + _DISTANCE_GROWTH * np.log(shorter / _STRETCH), *_DISTANCE_BOUNDS)


def measure_separations(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Return (K, K): distances in units of that from which two clusters count as two genomes; infinite to itself."""
    return measure_distances(cores, labels) / get_least_distances(cores, labels)


def list_nearest_pairs(distances: np.ndarray) -> list[tuple[float, int, int]]:
    """Return (distance, a, b) of the clusters a < b that are each other's nearest.

    Args:
        distances: (K, K), infinite on the diagonal.
    """
    nearest = distances.argmin(axis=1).tolist()
    return [(distances[a, b], a, b) for a, b in enumerate(nearest) if a < b and nearest[b] == a]
