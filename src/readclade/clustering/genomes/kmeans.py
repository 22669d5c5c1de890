"""k-means in whole numbers: the same clusters, bit for bit, on any number of ranks (`points`).

Seeding is k-means|| (Bahmani et al. 2012, "Scalable k-means++"); iterations are Lloyd's, weighted by bases. What
several seedings agree on is one more start (`consensus`).
"""

from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI

from readclade.clustering.genomes.consensus import join_clusterings
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.progress import tell
from readclade.errors import ConfigError
from readclade.hashing import scramble

_ROUNDS = 5
_MAX_ITERATIONS = 300
_MOST_COMPARED = 1024  # clusters
_TOLERANCE = 1_000_000  # stop when an iteration gains less than this part of the objective


@dataclass(frozen=True)
class Clustering:
    """The result of k-means.

    Attributes:
        centroids: (k, r) int64 lattice coordinates.
        objectives: weighted sum of squared lattice distances before each iteration and at the end.
        seeding: number of the seeding that won; that of the seedings where their consensus did.
        agreement: mean adjusted Rand index of its clusters, over points, with those of the other seedings; NaN without
            any, and with more than 1,024 clusters, where it would cost too much.
    """

    centroids: np.ndarray
    objectives: list[int]
    seeding: int
    agreement: float = np.nan


def run_kmeans(points: Points, k: int, seed: int = 0, seedings: int = 4) -> Clustering:
    """Cluster the points. Collective.

    Of several seedings and their consensus the one with the lowest objective wins, the first of equals. With more than
    1,024 clusters there is no consensus.

    Args:
        k: number of clusters, 1 .. number of points.
        seed: any number >= 0; the same seed gives the same result.
        seedings: how many seedings to try, >= 1.

    Raises:
        ConfigError: k is larger than the number of points, or than the number of different points.
    """
    if k > points.count:
        raise ConfigError(
            f"k = {k} is larger than the number of groups that can be clustered, {points.count}",
            remedy="set clustering: k to a smaller number",
        )
    found = []
    for seeding in range(seedings):
        clustering = _iterate(points, seed_centroids(points, k, seed * 1009 + seeding), seeding)
        tell(
            f"seeding {seeding + 1} of {seedings}: {len(clustering.objectives)} iterations,"
            f" objective {clustering.objectives[-1]:.6e}"
        )
        found.append(clustering)
    if seedings == 1 or k > _MOST_COMPARED:
        return min(found, key=lambda clustering: clustering.objectives[-1])
    labels = [points.get_distances(clustering.centroids)[0] for clustering in found]
    joined = join_clusterings(points.comm, np.column_stack(labels).astype(np.int64), points.weights, k)
    if joined is not None:
        found.append(_iterate(points, points.get_means(joined, k), seedings))
        labels.append(points.get_distances(found[-1].centroids)[0])
        tell(f"their consensus: {len(found[-1].objectives)} iterations, objective {found[-1].objectives[-1]:.6e}")
    best = min(found, key=lambda clustering: clustering.objectives[-1])
    others = [seeding for seeding in range(seedings) if seeding != best.seeding]
    indices = [measure_agreement(points.comm, labels[best.seeding], labels[seeding], k) for seeding in others]
    return replace(best, agreement=float(np.mean(indices)))


def measure_agreement(comm: MPI.Comm, one: np.ndarray, other: np.ndarray, k: int) -> float:
    """Return the adjusted Rand index of two clusterings of all ranks' points. Collective.

    Args:
        one, other: (n,) labels 0 .. k - 1 of this rank's points.

    Source:
        Hubert and Arabie 1985, "Comparing partitions".
    """
    places = one.astype(np.int64) * k + other
    table = sum_integers(comm, np.bincount(places, minlength=k * k)).reshape(k, k)

    def count_pairs(sizes: np.ndarray) -> int:
        return int((sizes * (sizes - 1) // 2).sum())

    together, in_one, in_other = map(count_pairs, (table, table.sum(axis=1), table.sum(axis=0)))
    chance = in_one * in_other / max(count_pairs(table.sum()), 1)
    most = (in_one + in_other) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)


def _iterate(points: Points, centroids: np.ndarray, seeding: int) -> Clustering:
    """Run Lloyd's iterations until they gain less than a millionth of the objective. Collective."""
    objectives = []
    for _ in range(_MAX_ITERATIONS):
        assignment = points.assign(centroids)
        objectives.append(assignment.objective)
        if len(objectives) > 1 and (objectives[-2] - objectives[-1]) * _TOLERANCE < objectives[-2]:
            break
        filled = assignment.totals > 0
        moved = centroids.copy()
        weights = assignment.totals[filled, None]
        moved[filled] = (assignment.sums[filled] + weights // 2) // weights
        empty = int((~filled).sum())
        if empty:
            # An empty cluster starts again at the point that is farthest from its centroid.
            moved[~filled] = points.get_lowest(-assignment.distances.astype(np.float64), empty)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return Clustering(centroids, objectives, seeding)


def seed_centroids(points: Points, k: int, seed: int) -> np.ndarray:
    """Return (k, r) int64 starting centroids by k-means||. Collective.

    Raises:
        ConfigError: there are fewer than k different points.
    """

    def draw(number: int) -> np.ndarray:
        return _hash_uniform(seed * 64 + number, points.identifiers)

    # The smallest of -log(u)/w is one weighted draw (Efraimidis and Spirakis 2006).
    with np.errstate(divide="ignore"):
        candidates = points.get_lowest(-np.log(draw(0)) / points.weights, 1)
    _, distances, _ = points.get_distances(candidates)
    for number in range(1, _ROUNDS + 40):
        objective = points.sum_weighted(distances)
        if objective == 0 or (number > _ROUNDS and len(candidates) >= k):
            break
        odds = 2 * k * points.weights.astype(np.float64) * distances.astype(np.float64) / objective
        fresh = points.get_rows(draw(number) < odds)
        if len(fresh):
            candidates = np.concatenate([candidates, fresh])
            distances = np.minimum(distances, points.get_distances(fresh)[1])
    candidates = np.unique(candidates, axis=0)
    if len(candidates) < k:
        raise ConfigError(
            f"k = {k} is larger than the number of different fragments, {len(candidates)}",
            remedy="set clustering: k to a smaller number",
        )
    weights = points.assign(candidates).totals
    centroids = np.empty((k, points.dim), np.int64)
    if points.comm.rank == 0:
        centroids[:] = _choose_candidates(candidates, np.maximum(weights, 1), k, np.random.default_rng([seed, k]))
    points.comm.Bcast(centroids)
    return centroids


def _hash_uniform(seed: int, identifiers: np.ndarray) -> np.ndarray:
    """Return a uniform number in (0, 1) for each identifier, the same on every rank."""
    return ((scramble(identifiers, seed) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def _choose_candidates(candidates: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Reduce the candidates to k by weighted k-means++ with greedy choice (Arthur and Vassilvitskii 2007)."""
    values = candidates.astype(np.float64)
    chosen = [int(rng.choice(len(values), p=weights / weights.sum()))]
    nearest = ((values - values[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(1, k):
        odds = weights * nearest
        trials = rng.choice(len(values), size=2 + int(np.log(k)), p=odds / odds.sum())
        shrunk = [np.minimum(nearest, ((values - values[trial]) ** 2).sum(axis=1)) for trial in trials]
        best = int(np.argmin([(weights * distances).sum() for distances in shrunk]))
        chosen.append(int(trials[best]))
        nearest = shrunk[best]
    return candidates[chosen]
