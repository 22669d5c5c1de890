"""How many clusters there are, and which groups belong to which: without labels, and without being told a number.

Too many clusters of pooled vectors are made first (`kmeans`). Composition models then take over (`composition`): each
group moves to the cluster that explains it best, its own cluster judged without it, so that a cluster which is no
genome of its own loses its groups to those that are. What is left is cleaned in four ways:

- each group moves to the cluster in whose spread it lies best, by composition and by depth (`discriminant`), for
  genomes vary along themselves; its own cluster is judged without what overlaps it, too;
- two clusters are one when the groups between them do not part into two heaps. Halves of one normally distributed heap
  lie 3.6 standard deviations apart, outer tenths left out; links between the two raise the distance that is asked for;
- labels spread along the links between groups, which corrects stretches of foreign composition;
- last, two clusters are one where reads that join them, or the genes that every genome has once, say so (`parts`).

What is left and can be no genome is set apart: its fragments stay unassigned.

One process does this on a bounded number of groups; docs/log/ holds the evidence for the thresholds.
"""

from itertools import chain

import numpy as np
from mpi4py import MPI
from scipy.special import softmax

from readclade.clustering.genomes.cores import Cores, count_clusters, renumber
from readclade.clustering.genomes.discriminant import classify_groups, measure_evidence
from readclade.clustering.genomes.kmeans import Clustering, run_kmeans
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.genomes.merging import (
    describe_clusters,
    find_alone,
    find_bridged,
    find_island,
    find_remnants,
    list_continued,
    list_halves,
)
from readclade.clustering.genomes.separation import list_nearest_pairs, measure_separations
from readclade.clustering.groups.calibration import Calibration
from readclade.clustering.ranks.progress import tell

_MOST_STARTS = 256  # clusters to begin with
_GROUPS_PER_START = 8
_LEAST_GROUPS = 4  # of a cluster
_LEAST_APART = 2  # of them that do not overlap, by a bound that counts a row of them for a third of its groups
_LEAST_SHARE = 0.004  # of all fragments in a cluster
_ROUNDS = 8
_SETTLED = 0.002  # share of groups that may still move
_SETTLING_ROUNDS = 3
_SPREAD = 0.5
_SPREAD_STEPS = 40


def find_clusters(
    cores: Cores,
    calibration: Calibration,
    fragments: int,
    k: int | None,
    seed: int,
    seedings: int,
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
    labels, clustering = _overcluster(points, start, seed, seedings)
    labels = _refine(cores, labels, _ROUNDS)
    labels = _drop_small(cores, labels, fragments, fewest)
    tell(f"{start} clusters to begin with, {count_clusters(labels)} after each group chose its own")
    labels = _merge(cores, _settle(cores, labels, fewest), fewest, is_counted=k is not None)
    labels = _drop_small(cores, labels, fragments, fewest)
    if k is not None and count_clusters(labels) < k:
        return _overcluster(points, k, seed, seedings)
    for _ in range(2):
        spread = _spread(cores, labels)
        labels = spread if count_clusters(spread) >= fewest else labels
    # Spreading can leave a remnant of a cluster.
    labels = _drop_small(cores, _settle(cores, labels, fewest), fragments, fewest)
    # And what lay apart by stray groups may not any more.
    labels = labels if k is not None else _join_parts(cores, _merge(cores, labels, fewest, is_counted=False))
    tell(f"{count_clusters(labels)} clusters that lie apart")
    return labels, clustering


def _overcluster(points: Points, k: int, seed: int, seedings: int) -> tuple[np.ndarray, Clustering]:
    clustering = run_kmeans(points, k, seed, seedings)
    labels = points.get_distances(clustering.centroids)[0].astype(np.int64)
    return renumber(labels), clustering


def _refine(cores: Cores, labels: np.ndarray, rounds: int) -> np.ndarray:
    """Let every group move to the cluster that explains it best, until they settle."""
    for _ in range(rounds):
        if count_clusters(labels) == 1:
            break
        better = cores.score(labels).argmax(axis=1)
        moved = (better != labels).sum()
        labels = renumber(better)
        if moved <= _SETTLED * len(labels):
            break
    return labels


def _give_up(cores: Cores, labels: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Give the groups of the lost clusters (K,) bool to the best of the others."""
    scores = cores.score(labels).copy()
    scores[:, lost] = -np.inf
    return renumber(np.where(lost[labels], scores.argmax(axis=1), labels))


def _drop_small(cores: Cores, labels: np.ndarray, fragments: int, fewest: int) -> np.ndarray:
    while count_clusters(labels) > fewest:
        size = np.bincount(labels, cores.fragments)
        small = (size < _LEAST_SHARE * fragments) | (np.bincount(labels) < _LEAST_GROUPS)
        small |= cores.count_apart(labels) < _LEAST_APART
        if not small.any() or len(small) - small.sum() < fewest:
            break
        labels = _give_up(cores, labels, small)
    return labels


def _merge(cores: Cores, labels: np.ndarray, fewest: int, is_counted: bool) -> np.ndarray:
    """Merge clusters that are each other's nearest and too near, the nearer half of such pairs at a time.

    Args:
        is_counted: merge down to `fewest` clusters, however far apart they lie.
    """
    while count_clusters(labels) > fewest:
        pairs = list_nearest_pairs(measure_separations(cores, labels))
        pairs = sorted(pair for pair in pairs if is_counted or pair[0] < 1)
        if not pairs:
            break
        pairs = pairs[: min((len(pairs) + 1) // 2, count_clusters(labels) - fewest)]
        labels = _join(cores, labels, [(a, b) for _, a, b in pairs], fewest)
    return labels


def _join(cores: Cores, labels: np.ndarray, pairs: list[tuple[int, int]], fewest: int) -> np.ndarray:
    """Make the two clusters of each pair one; no cluster is in two pairs. Then let the groups settle."""
    joined = labels.copy()
    for a, b in pairs:
        joined[labels == b] = a
    return _settle(cores, renumber(joined), fewest)


def _join_parts(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Join what reads join, and islands to the clusters next to them, the nearest first; then the rest of parts, once.

    Once, for clusters of two compositions, or of two genomes by mistake, spread so far that others come near to them.
    """
    while count_clusters(labels) > 1:
        clusters = describe_clusters(cores, labels)
        pair = find_bridged(clusters) or find_island(clusters) or find_alone(clusters)
        if pair is None:
            pairs = _keep_disjoint(list_halves(clusters) + list_continued(cores, labels, clusters))
            return _join(cores, labels, pairs, 1) if pairs else labels
        labels = _join(cores, labels, [pair], 1)
    return labels


def _keep_disjoint(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs that no earlier one of them shares a cluster with."""
    kept: list[tuple[int, int]] = []
    for pair in pairs:
        if set(pair).isdisjoint(chain.from_iterable(kept)):
            kept.append(pair)
    return kept


def set_remnants_apart(cores: Cores, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the labels with those clusters last that are no genome (`find_remnants`), and how many come before."""
    are_remnants = find_remnants(describe_clusters(cores, labels))
    places = np.argsort(np.argsort(are_remnants, kind="stable"))
    return places[labels], int((~are_remnants).sum())


def _settle(cores: Cores, labels: np.ndarray, fewest: int) -> np.ndarray:
    """Let every group move to the cluster in whose spread it lies best, as long as enough clusters are left."""
    for _ in range(_SETTLING_ROUNDS):
        if count_clusters(labels) == 1:
            break
        scores = cores.score(labels, without_neighbours=True)
        better = classify_groups(scores, cores.letters, cores.log_depths, labels)
        if len(np.unique(better)) < fewest or np.array_equal(better, labels):
            break
        labels = renumber(better)
    return labels


def _spread(cores: Cores, labels: np.ndarray) -> np.ndarray:
    """Let labels spread along links: a group weighs its own place against what its neighbours are.

    The steady state of a random walk with restart (Zhou et al. 2004, "Learning with local and global consistency").
    """
    count = count_clusters(labels)
    if count == 1:
        return labels
    belief = softmax(measure_evidence(cores.score(labels), cores.letters, cores.log_depths, labels), axis=1)
    degree = np.asarray(cores.links.sum(axis=1)).reshape(-1, 1)
    weight = _SPREAD * degree / (_SPREAD * degree + 1)
    state = belief
    for _ in range(_SPREAD_STEPS):
        state = (1 - weight) * belief + weight / np.maximum(degree, 1) * (cores.links @ state)
    return renumber(state.argmax(axis=1))
