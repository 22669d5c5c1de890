"""How many clusters there are, and which groups belong to which: without labels, and without being told a number.

Too many clusters of pooled vectors are made first (`kmeans`). Composition models then take over (`composition`): each
group moves to the cluster that explains it best, its own cluster judged without it, so that a cluster which is no
genome of its own loses its groups to those that are. What is left is cleaned in four ways:

- each group moves to the cluster in whose spread it lies best (`discriminant`), for genomes vary along themselves;
- two clusters are one when the groups between them do not part into two heaps. Halves of one normally distributed heap
  lie 3.6 standard deviations apart, outer tenths left out; links between the two raise the distance that is asked for;
- labels spread along the links between groups, which corrects stretches of foreign composition;
- last, a cluster that lacks the genes which every genome has becomes part of the one next to it (`markers`).

One process does this on a bounded number of groups; the thresholds and their evidence stand in docs/clustering.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from mpi4py import MPI
from scipy import sparse

from readclade.clustering.calibration import Calibration
from readclade.clustering.composition import score_groups
from readclade.clustering.discriminant import classify_groups
from readclade.clustering.kmeans import Clustering, run_kmeans
from readclade.clustering.markers import find_island
from readclade.clustering.points import Points

_MOST_STARTS = 256  # clusters to begin with
_GROUPS_PER_START = 8
_LEAST_GROUPS = 4  # of a cluster
_LEAST_SHARE = 0.004  # of all fragments in a cluster
_ROUNDS = 8
_SETTLED = 0.002  # share of groups that may still move
_SETTLING_ROUNDS = 3
_TRIMMED = 0.1  # share of the groups at either end that a cluster's spread is measured without
# How many standard deviations apart two clusters must lie: 4.5 for groups that cover 3 kb, 0.6 more for each factor e.
_DISTANCE, _DISTANCE_GROWTH, _STRETCH = 4.5, 0.6, 3000
_DISTANCE_BOUNDS = (4.3, 6.1)
_LEAST_CROSSINGS = 10  # links between two clusters that count as evidence at all
_LEAST_DEGREE = 1.5  # links of a group, on average, for the same
_CHANCE = 0.2  # share of the expected crossings that mistaken links can reach
_LINK_WEIGHT = 2.0
_LINK_CAP = 5  # links between two groups beyond this add nothing
_TYPICAL_GAP = 10.0  # nats: what a typical group's preference counts when labels spread
_SPREAD = 0.5
_SPREAD_STEPS = 40


@dataclass(frozen=True)
class Cores:
    """The G groups that clusters are found from, in the order of their ids.

    Attributes:
        vectors: (G, d) float64, pooled embeddings.
        weights: (G,) int64, bases divided by multiplicity: the stretch of genome that a group covers.
        fragments: (G,) int64.
        words: (G, 4096) float32 counts.
        links: (G, G) symmetric sparse matrix, links between groups, at most 5 for each pair.
        markers: (G, M) bool, which markers each group holds.
    """

    vectors: np.ndarray
    weights: np.ndarray
    fragments: np.ndarray
    words: np.ndarray
    links: sparse.csr_array
    markers: np.ndarray
    _scored: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def letters(self) -> np.ndarray:
        """(G,) float64: words of each group, at least 1."""
        return np.maximum(self.words.sum(axis=1, dtype=np.float64), 1)

    def score(self, labels: np.ndarray) -> np.ndarray:
        """Return (G, K) log-likelihoods under the clusters of (G,) labels (`score_groups`); the last ones are kept."""
        if not np.array_equal(self._scored.get("labels"), labels):
            self._scored.update(labels=labels, scores=score_groups(self.words, labels, _count(labels))[0])
        return self._scored["scores"]


def make_link_matrix(count: int, first: np.ndarray, second: np.ndarray, numbers: np.ndarray) -> sparse.csr_array:
    """Return the symmetric (count, count) matrix of links between groups, cut off at 5.

    Args:
        first, second: indices of groups, each pair once.
        numbers: of links between them.
    """
    kept = np.minimum(numbers, _LINK_CAP).astype(np.float64)
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    return sparse.csr_array((np.concatenate([kept, kept]), (rows, columns)), shape=(count, count))


def find_clusters(
    cores: Cores,
    calibration: Calibration,
    fragments: int,
    k: int | None,
    seed: int,
    seedings: int,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[np.ndarray, Clustering | None]:
    """Return the cluster of each group, and the k-means that it began with, if any. Not collective.

    Args:
        fragments: in the whole job; what is too small for a cluster is measured by it.
        k: number of clusters, at most G, or None: it is found.
        seed, seedings: of k-means.

    Returns:
        (G,) int64, from 0 on without gaps, and the clustering in lattice units.

    Raises:
        ConfigError: there are fewer than k different groups.
    """
    start = max(min(_MOST_STARTS, len(cores) // _GROUPS_PER_START), 2 * k if k else 1)
    points = Points(MPI.COMM_SELF, calibration.to_lattice(cores.vectors), cores.weights, np.arange(len(cores)))
    # Fewer different points than clusters: k-means would refuse.
    start = min(start, len(np.unique(points.points, axis=0)))
    fewest = k or 1
    if start < 2 and fewest == 1:
        return np.zeros(len(cores), np.int64), None
    labels, clustering = _overcluster(points, start, seed, seedings, report)
    labels = _refine(cores, labels, _ROUNDS)
    labels = _drop_small(cores, labels, fragments, fewest)
    report(f"{start} clusters to begin with, {_count(labels)} after each group chose its own")
    labels = _merge(cores, _settle(cores, labels, fewest), fewest, is_counted=k is not None)
    labels = _drop_small(cores, labels, fragments, fewest)
    if _count(labels) < fewest:
        return _overcluster(points, k, seed, seedings, report)
    for _ in range(2):
        spread = _spread(cores, labels)
        labels = spread if _count(spread) >= fewest else labels
    # Spreading can leave a remnant of a cluster.
    labels = _drop_small(cores, _settle(cores, labels, fewest), fragments, fewest)
    labels = labels if k is not None else _join_islands(cores, labels)
    report(f"{_count(labels)} clusters that lie apart")
    return labels, clustering


def _overcluster(points: Points, k: int, seed: int, seedings: int, report) -> tuple[np.ndarray, Clustering]:
    clustering = run_kmeans(points, k, seed, seedings, report)
    labels = points.get_distances(clustering.centroids)[0].astype(np.int64)
    return _renumber(labels), clustering


def _count(labels: np.ndarray) -> int:
    return int(labels.max()) + 1


def _renumber(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _refine(cores: Cores, labels: np.ndarray, rounds: int) -> np.ndarray:
    """Let every group move to the cluster that explains it best, until they settle."""
    for _ in range(rounds):
        if _count(labels) == 1:
            break
        better = cores.score(labels).argmax(axis=1)
        moved = (better != labels).sum()
        labels = _renumber(better)
        if moved <= _SETTLED * len(labels):
            break
    return labels


def _give_up(cores: Cores, labels: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Give the groups of the lost clusters (K,) bool to the best of the others."""
    scores = cores.score(labels).copy()
    scores[:, lost] = -np.inf
    return _renumber(np.where(lost[labels], scores.argmax(axis=1), labels))


def _drop_small(cores: Cores, labels: np.ndarray, fragments: int, fewest: int) -> np.ndarray:
    while _count(labels) > fewest:
        size = np.bincount(labels, cores.fragments)
        small = (size < _LEAST_SHARE * fragments) | (np.bincount(labels) < _LEAST_GROUPS)
        if not small.any() or len(small) - small.sum() < fewest:
            break
        labels = _give_up(cores, labels, small)
    return labels


def _describe(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the weighted mean and variance of what lies between the first and the last tenth."""
    order = values.argsort()
    shares = np.cumsum(weights[order]) / weights.sum()
    inside = order[(shares > _TRIMMED) & (shares <= 1 - _TRIMMED)]
    inside = inside if len(inside) >= _LEAST_GROUPS else order
    mean = np.average(values[inside], weights=weights[inside])
    return mean, np.average((values[inside] - mean) ** 2, weights=weights[inside])


def measure_distances(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Return (K, K): how far apart clusters lie, in standard deviations, shortened where links join them.

    Each group's place between two clusters is the difference of its log-likelihoods by letter.
    """
    count = _count(labels)
    scores, letters = cores.score(labels), cores.letters
    member = sparse.csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)), shape=(len(labels), count))
    crossings = (member.T @ cores.links @ member).toarray()
    degrees = crossings.sum(axis=1) / np.bincount(labels, minlength=count)
    distances = np.full((count, count), np.inf)
    for a in range(count):
        for b in range(a):
            sides = []
            for label in (a, b):
                inside = labels == label
                places = (scores[inside, a] - scores[inside, b]) / letters[inside]
                sides.append(_describe(places, letters[inside]))
            # The geometric mean: beside a cluster of odd groups from everywhere, compact ones must not look near.
            spread = (sides[0][1] * sides[1][1] + 1e-24) ** 0.25
            joined = _measure_joining(crossings, a, b) if min(degrees[a], degrees[b]) >= _LEAST_DEGREE else 0.0
            distance = (sides[0][0] - sides[1][0]) / spread / (1 + _LINK_WEIGHT * joined)
            distances[a, b] = distances[b, a] = distance
    return distances


def _measure_joining(crossings: np.ndarray, a: int, b: int) -> float:
    """Return 0 to 1: links between two clusters against those between random parts of one genome, chance taken off."""
    if crossings[a, b] < _LEAST_CROSSINGS:
        return 0.0
    of_a, of_b = crossings[a, a] + crossings[a, b], crossings[b, b] + crossings[a, b]
    return float(np.clip(crossings[a, b] * (of_a + of_b) / (of_a * of_b) - _CHANCE, 0, 1))


def get_least_distances(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Return (K, K): the distance from which two clusters count as two genomes.

    Short groups scatter by chance, hence normally; long ones by their genomes' islands, whose heaps lie far apart.
    """
    stretches = np.array([np.median(cores.weights[labels == label]) for label in range(_count(labels))])
    shorter = np.minimum(stretches[:, None], stretches)
    return np.clip(_DISTANCE + _DISTANCE_GROWTH * np.log(shorter / _STRETCH), *_DISTANCE_BOUNDS)


def _merge(cores: Cores, labels: np.ndarray, fewest: int, is_counted: bool) -> np.ndarray:
    """Merge clusters that are each other's nearest and too near, the nearer half of such pairs at a time.

    Args:
        is_counted: merge down to `fewest` clusters, however far apart they lie.
    """
    while _count(labels) > fewest:
        distances = measure_distances(cores, labels) / get_least_distances(cores, labels)
        nearest = distances.argmin(axis=1)
        pairs = [(distances[a, b], a, b) for a, b in enumerate(nearest) if a < b and nearest[b] == a]
        pairs = sorted(pair for pair in pairs if is_counted or pair[0] < 1)
        if not pairs:
            break
        merged = labels.copy()
        for _, a, b in pairs[: min((len(pairs) + 1) // 2, _count(labels) - fewest)]:
            merged[labels == b] = a
        labels = _settle(cores, _renumber(merged), fewest)
    return labels


def _join_islands(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Make each cluster without markers a part of the cluster next to it, the nearest first."""
    while (count := _count(labels)) > 1:
        markers = np.stack([cores.markers[labels == label].any(axis=0) for label in range(count)])
        stretches = np.bincount(labels, cores.weights)
        depths = np.bincount(labels, cores.letters) / stretches
        island = find_island(
            markers, stretches, depths, measure_distances(cores, labels) / get_least_distances(cores, labels)
        )
        if island is None:
            break
        labels = _settle(cores, _renumber(np.where(labels == island[1], island[0], labels)), 1)
    return labels


def _settle(cores: Cores, labels: np.ndarray, fewest: int) -> np.ndarray:
    """Let every group move to the cluster in whose spread it lies best, as long as enough clusters are left."""
    for _ in range(_SETTLING_ROUNDS):
        if _count(labels) == 1:
            break
        better = classify_groups(cores.score(labels), cores.letters, labels)
        if len(np.unique(better)) < fewest or np.array_equal(better, labels):
            break
        labels = _renumber(better)
    return labels


def _spread(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Let labels spread along links: a group weighs its own composition against what its neighbours are.

    The steady state of a random walk with restart (Zhou et al. 2004, "Learning with local and global consistency").
    """
    count = _count(labels)
    if count == 1:
        return labels
    scores = cores.score(labels)
    rows = np.arange(len(labels))
    own = scores[rows, labels]
    others = scores.copy()
    others[rows, labels] = -np.inf
    # Words along a genome depend on each other: a likelihood is scaled down until a typical group is merely sure.
    scale = _TYPICAL_GAP / max(np.median(own - others.max(axis=1)), 1e-9)
    belief = np.exp(scale * (scores - scores.max(axis=1, keepdims=True)))
    belief /= belief.sum(axis=1, keepdims=True)
    degree = np.asarray(cores.links.sum(axis=1)).reshape(-1, 1)
    weight = _SPREAD * degree / (_SPREAD * degree + 1)
    state = belief
    for _ in range(_SPREAD_STEPS):
        state = (1 - weight) * belief + weight / np.maximum(degree, 1) * (cores.links @ state)
    return _renumber(state.argmax(axis=1))
