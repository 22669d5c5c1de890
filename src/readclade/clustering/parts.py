"""Clusters that are parts of one genome: what reads that join them say, and what the genes that genomes have once say.

Three kinds of parts are told, all of them each other's nearest and of like depth. *Bridged* parts: reads run from one
into the other, at several places. *Islands*: far fewer markers than a genome has. *Halves*: markers as one genome
holds them. Evidence: docs/clustering.md.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import poisson

from readclade.clustering.cores import Cores, count_clusters
from readclade.clustering.separation import count_crossings, list_nearest_pairs, measure_joining, measure_separations

_LIKE_DEPTH = 0.4  # natural logarithm of the ratio of two clusters' depths
# Parts that reads join. Distances count from 1 on as those of two genomes.
_BRIDGED_DISTANCE = 2.6
_BRIDGED = 0.05  # of the links that random parts of one genome would have between them
_PLACES = 2  # at which reads run across: a stray group makes one; as near as halves, one is enough
# An island.
_ISLAND_DISTANCE = 1.6
_FEW = 0.35  # of the markers that the stretch lets expect
_CHANCE = 0.05  # at which a genome would have so few
_SHORT = 0.75  # of the median stretch of the clusters: as long as the others, it is a genome poor in known markers
_TINY_DISTANCE = 2.5
_TINY = 0.1  # of the median stretch of the clusters of like depth: no genome is so short, and markers cannot tell
_DEEP = 2.2  # from which depths differ enough to say that
# Halves of a genome.
_HALF_DISTANCE = 1.25
_COMMON = 160  # two bacteria with a and b known markers have about a b / 160 in common
_TELLING = 0.4  # common markers that two genomes lead to expect: with fewer, having none in common says nothing
_SHARED = 0.1  # of the fewer markers, or one: what a genome holds twice
_WHOLE = 1.6  # times the markers of the median other cluster: two genomes hold more


@dataclass(frozen=True)
class Clusters:
    """What is known of K clusters.

    Attributes:
        markers: (K, M) bool, which of them each holds.
        stretches: (K,) > 0, of genome.
        depths: (K,) > 0.
        distances: (K, K), 1 where two clusters just count as two genomes, infinite on the diagonal.
        joining: (K, K), links between two against those between random parts of one genome.
        places: (K, K) int64, at how many places links run from one to the other.
    """

    markers: np.ndarray
    stretches: np.ndarray
    depths: np.ndarray
    distances: np.ndarray
    joining: np.ndarray
    places: np.ndarray

    def list_pairs(self, bound: float) -> list[tuple[float, int, int]]:
        """Return (distance, a, b) of clusters of like depth that are each other's nearest and nearer than the bound."""
        pairs = list_nearest_pairs(self.distances)
        return [pair for pair in pairs if pair[0] < bound and self.are_alike(pair[1])[pair[2]]]

    def are_alike(self, a: int) -> np.ndarray:
        """Return (K,) bool: which clusters are as deep as `a`."""
        return np.abs(np.log(self.depths / self.depths[a])) < _LIKE_DEPTH

    def hold_one_genome(self, a: int, b: int) -> bool:
        """Whether hardly any marker is in both, and together they hold no more than a genome, as far as others tell."""
        counts = self.markers.sum(axis=1)
        shared = (self.markers[a] & self.markers[b]).sum()
        others = np.delete(counts, [a, b])
        return shared <= max(_SHARED * min(counts[a], counts[b]), 1) and (
            not len(others) or counts[a] + counts[b] - shared <= _WHOLE * np.median(others)
        )


def describe_clusters(cores: Cores, labels: np.ndarray) -> Clusters:
    """Return what is known of the clusters of (G,) labels."""
    count = count_clusters(labels)
    markers = np.stack([cores.markers[labels == label].any(axis=0) for label in range(count)])
    stretches = np.bincount(labels, cores.weights)
    crossings = count_crossings(cores, labels)
    places = np.array([[count_places(cores, labels, a, b) for a in range(count)] for b in range(count)])
    depths = np.bincount(labels, cores.letters) / stretches
    return Clusters(markers, stretches, depths, measure_separations(cores, labels), measure_joining(crossings), places)


def count_places(cores: Cores, labels: np.ndarray, a: int, b: int) -> int:
    """Return at how many places links run from cluster `a` to cluster `b`.

    Groups with links to the other cluster are at one place where they are linked to one another.
    """
    sides = [np.flatnonzero(labels == label) for label in (a, b)]
    between = cores.links[sides[0]][:, sides[1]]
    touched = np.concatenate([side[between.sum(axis=axis) > 0] for axis, side in zip((1, 0), sides, strict=True)])
    return connected_components(cores.links[touched][:, touched], directed=False)[0] if len(touched) else 0


def find_bridged(clusters: Clusters) -> tuple[int, int] | None:
    """Return the nearest two clusters that reads join, or None."""
    for distance, a, b in sorted(clusters.list_pairs(_BRIDGED_DISTANCE)):
        places = _PLACES if distance >= _HALF_DISTANCE else 1
        are_joined = clusters.joining[a, b] >= _BRIDGED and clusters.places[a, b] >= places
        if are_joined and clusters.hold_one_genome(a, b):
            return a, b
    return None


def find_island(clusters: Clusters) -> tuple[int, int] | None:
    """Return the nearest two clusters of which one is an island in the other, or None.

    One is shorter than most and has far fewer markers than its stretch lets expect, and than the other has; and no
    marker is in both, as many would be if both were genomes. Or the one is far shorter than what is as deep.
    """
    counts, stretches = clusters.markers.sum(axis=1), clusters.stretches
    expected = counts.sum() * stretches / stretches.sum()
    poor = (counts <= _FEW * expected) & (poisson.cdf(counts, expected) <= _CHANCE)
    poor &= stretches <= _SHORT * np.median(stretches)

    def is_island(distance: float, a: int, b: int) -> bool:
        """Whether `a` is one in `b`."""
        # Two genomes poor in known markers are poor alike.
        is_poorer = counts[a] * stretches[b] <= _FEW * counts[b] * stretches[a]
        is_poor = poor[a] and is_poorer and distance < _ISLAND_DISTANCE
        alike = clusters.are_alike(a)
        alike[a] = False
        is_tiny = clusters.depths[a] >= _DEEP and stretches[a] <= _TINY * np.median(stretches[alike])
        return (is_poor or is_tiny) and not (clusters.markers[a] & clusters.markers[b]).any()

    pairs = clusters.list_pairs(_TINY_DISTANCE)
    pairs = [pair for pair in pairs if is_island(*pair) or is_island(pair[0], pair[2], pair[1])]
    return min(pairs)[1:] if pairs else None


def list_halves(clusters: Clusters) -> list[tuple[int, int]]:
    """Return the clusters, two by two, that are halves of one genome.

    They lie nearly too near for two genomes. Two genomes with their markers would have some in common, and they have
    hardly any.
    """
    counts = clusters.markers.sum(axis=1)
    pairs = [(a, b) for _, a, b in clusters.list_pairs(_HALF_DISTANCE)]
    return [
        (a, b) for a, b in pairs if counts[a] * counts[b] >= _TELLING * _COMMON and clusters.hold_one_genome(a, b)
    ]
