"""Clusters that are parts of one genome, as reads that join them tell, and genes that genomes have once.

All are of like depth, and all but *continued* ones each other's nearest. *Bridged* parts: reads run from one into the
other. *Islands*: far fewer markers than a genome has. *Halves*: the markers of one genome between them. *Continued*
islands: where a chain of linked groups ends in the one, the other goes on. *Alone*: nothing else is in the sample, and
they lie nearer than two genomes mostly do. What is too short and poor for a genome, and near none, is a *remnant*. The
evidence stands in docs/log/.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.special import pdtr

from readclade.clustering.genomes.cores import Cores, count_clusters
from readclade.clustering.genomes.separation import (
    count_crossings,
    list_nearest_pairs,
    measure_joining,
    measure_separations,
)

_LIKE_DEPTH = 0.4  # natural logarithm of the ratio of two clusters' depths
# Bridged parts. Distances count from 1 on as those of two genomes.
_BRIDGED_DISTANCE = 2.6
_BRIDGED = 0.05  # of the links that random parts of one genome would have between them
_PLACES = 2  # at which reads run across, for a stray group makes one; nearer than halves, one is enough
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
_LONG = 40_000  # of genome, or of bases where depth is unknown; the median group
_SHARED = 0.1  # of the fewer markers, or one: what a genome holds twice
_WHOLE = 1.6  # times the markers of the median other cluster: two genomes hold more
_ALONE_DISTANCE = 2.0
# Continued islands, of short reads.
_CONTINUED_DISTANCE = 2.0
_HOPS = 3  # within which a chain's ends are told
_CHAIN = 4  # groups; fewer are a stray's
_RELATED = 0.15  # of the links of `joining`: the conserved genes of relatives make more
_TO_ENDS = 0.25  # of the links between two clusters: mistaken ones start anywhere


@dataclass(frozen=True)
class Clusters:
    """What is known of K clusters.

    Attributes:
        markers: (K, M) bool, which of them each holds.
        stretches: (K,) > 0, of genome.
        depths: (K,) > 0.
        distances: (K, K), 1 where two clusters just count as two genomes, infinite on the diagonal.
        joining: (K, K), links between two against those between random parts of one genome.
        places: for clusters a < b that are each other's nearest, at how many places links run across.
        shared: for the same, how many markers both hold, in groups that do not overlap.
        are_long: (K,) bool, whether groups are long, so that chance hardly moves them.
        is_short: whether links are of short reads.
    """

    markers: np.ndarray
    stretches: np.ndarray
    depths: np.ndarray
    distances: np.ndarray
    joining: np.ndarray
    places: dict[tuple[int, int], int]
    shared: dict[tuple[int, int], int]
    are_long: np.ndarray
    is_short: bool

    def list_pairs(self, bound: float) -> list[tuple[float, int, int]]:
        """Return (distance, a, b) of clusters of like depth that are each other's nearest and nearer than the bound."""
        pairs = list_nearest_pairs(self.distances)
        return [pair for pair in pairs if pair[0] < bound and self.are_alike(pair[1])[pair[2]]]

    def are_alike(self, a: int) -> np.ndarray:
        """Return (K,) bool: which clusters are as deep as `a`."""
        return np.abs(np.log(self.depths / self.depths[a])) < _LIKE_DEPTH

    def are_poor(self, chance: float = _CHANCE) -> np.ndarray:
        """Return (K,) bool: which clusters have far fewer markers than their stretch lets expect.

        Args:
            chance: at most, that a genome has so few; 1 does not ask for it.
        """
        counts = self.markers.sum(axis=1)
        expected = counts.sum() * self.stretches / self.stretches.sum()
        return (counts <= _FEW * expected) & (pdtr(counts, expected) <= chance)

    def are_short(self) -> np.ndarray:
        """Return (K,) bool: which clusters are shorter than genomes mostly are here."""
        return self.stretches <= _SHORT * np.median(self.stretches)

    def is_tiny(self, a: int) -> bool:
        """Whether a cluster is far shorter than the others that are as deep, where depth is known."""
        others = self.are_alike(a)
        others[a] = False
        is_known = self.depths[a] >= _DEEP and others.any()
        return bool(is_known and self.stretches[a] <= _TINY * np.median(self.stretches[others]))

    def share_markers(self, a: int, b: int, shared: int | None = None) -> bool:
        """Whether more markers are in both than a genome holds twice.

        Args:
            shared: how many; as counted where they are each other's nearest.
        """
        fewer = self.markers[[a, b]].sum(axis=1).min()
        return (self.shared[a, b] if shared is None else shared) > max(_SHARED * fewer, 1)

    def are_whole(self, a: int, b: int) -> bool:
        """Whether together they hold no more markers than a genome, as far as the other clusters tell."""
        counts = self.markers.sum(axis=1)
        others = np.delete(counts, [a, b])
        together = (self.markers[a] | self.markers[b]).sum()
        return not len(others) or together <= _WHOLE * np.median(others)


def describe_clusters(cores: Cores, labels: np.ndarray) -> Clusters:
    """Return what is known of the clusters of (G,) labels."""
    sides = [labels == label for label in range(count_clusters(labels))]
    markers = np.stack([cores.markers[side].any(axis=0) for side in sides])
    stretches = np.bincount(labels, cores.weights)
    depths = np.bincount(labels, cores.letters) / stretches
    distances = measure_separations(cores, labels)
    joining = measure_joining(count_crossings(cores, labels))
    pairs = [(a, b) for _, a, b in list_nearest_pairs(distances)]
    places = {(a, b): count_places(cores, sides[a], sides[b]) for a, b in pairs}
    shared = {(a, b): count_shared(cores, sides[a], sides[b]) for a, b in pairs}
    are_long = np.array([np.median(cores.weights[side]) >= _LONG for side in sides])
    return Clusters(markers, stretches, depths, distances, joining, places, shared, are_long, cores.is_short)


def count_places(cores: Cores, first: np.ndarray, second: np.ndarray) -> int:
    """Return at how many places links run between two clusters, (G,) bool each.

    Groups with links to the other cluster are at one place where they are linked to one another.
    """
    between = cores.links[first][:, second]
    parts = [np.flatnonzero(side)[between.sum(axis=axis) > 0] for side, axis in ((first, 1), (second, 0))]
    touched = np.concatenate(parts)
    return connected_components(cores.links[touched][:, touched], directed=False)[0] if len(touched) else 0


def count_shared(cores: Cores, first: np.ndarray, second: np.ndarray) -> int:
    """Return how many markers two clusters, (G,) bool each, both hold in groups that are not linked to one another.

    Groups that are linked may overlap, and what both hold may be there once.
    """
    of_first, of_second = cores.markers[first], cores.markers[second]
    linked = (cores.links[first][:, second] @ of_second.astype(np.float64) > 0) & of_first
    return int((of_first.any(axis=0) & of_second.any(axis=0) & ~linked.any(axis=0)).sum())


def find_bridged(clusters: Clusters) -> tuple[int, int] | None:
    """Return the nearest two clusters that reads join, or None.

    Short reads fit into repeats and join genomes at several places, so they count only where clusters are as near as
    halves.
    """
    bound = _HALF_DISTANCE if clusters.is_short else _BRIDGED_DISTANCE
    for distance, a, b in sorted(clusters.list_pairs(bound)):
        places = _PLACES if distance >= _HALF_DISTANCE else 1
        are_joined = clusters.joining[a, b] >= _BRIDGED and clusters.places[a, b] >= places
        if are_joined and not clusters.share_markers(a, b):
            return a, b
    return None


def find_island(clusters: Clusters) -> tuple[int, int] | None:
    """Return the nearest two clusters of which one is an island in the other, or None.

    One is shorter than most and has far fewer markers than its stretch lets expect, and than the other has; and no
    marker is in both, as many would be if both were genomes. Or the one is far shorter than what is as deep.
    """
    counts, stretches = clusters.markers.sum(axis=1), clusters.stretches
    poor = clusters.are_poor() & clusters.are_short()

    def is_island(distance: float, a: int, b: int) -> bool:
        """Whether `a` is one in `b`."""
        # Two genomes poor in known markers are poor alike.
        is_poorer = counts[a] * stretches[b] <= _FEW * counts[b] * stretches[a]
        is_poor = poor[a] and is_poorer and distance < _ISLAND_DISTANCE
        return (is_poor or clusters.is_tiny(a)) and not clusters.shared[min(a, b), max(a, b)]

    pairs = clusters.list_pairs(_TINY_DISTANCE)
    pairs = [pair for pair in pairs if is_island(*pair) or is_island(pair[0], pair[2], pair[1])]
    return min(pairs)[1:] if pairs else None


def find_remnants(clusters: Clusters) -> np.ndarray:
    """Return (K,) bool: which clusters are no genome, though nothing tells of which genome they are a part.

    They are far shorter than what is as deep, and poor in markers: islands that lie far from their genome, or replicons
    of their own.
    """
    poor = clusters.are_poor()
    return np.array([poor[a] and clusters.is_tiny(a) for a in range(len(poor))])


def find_alone(clusters: Clusters) -> tuple[int, int] | None:
    """Return the two clusters of a sample that has no others, if they are one genome; else None.

    Of many clusters, some two lie near. Two genomes that are alone seldom do, and markers that are in both betray them.
    """
    pairs = clusters.list_pairs(_ALONE_DISTANCE) if len(clusters.depths) == 2 else []
    return (0, 1) if pairs and not clusters.share_markers(0, 1) else None


def list_halves(clusters: Clusters) -> list[tuple[int, int]]:
    """Return the clusters, two by two, that are halves of one genome.

    They lie nearly too near for two genomes. Two genomes with their markers would have some in common, and they have
    hardly any; together they hold no more than a genome does. Where groups are long, distances alone tell as much, and
    markers need not.
    """
    counts = clusters.markers.sum(axis=1)

    def are_halves(a: int, b: int) -> bool:
        are_told = clusters.are_long[[a, b]].all() or counts[a] * counts[b] >= _TELLING * _COMMON
        return are_told and not clusters.share_markers(a, b) and clusters.are_whole(a, b)

    return [(a, b) for _, a, b in clusters.list_pairs(_HALF_DISTANCE) if are_halves(a, b)]


def list_continued(cores: Cores, labels: np.ndarray, clusters: Clusters) -> list[tuple[int, int]]:
    """Return the clusters, two by two, the nearest first, of which one is an island that continues the other.

    Links join the ends of chains of linked groups in the one to such ends in the other. Mistaken links start anywhere,
    and from strays. Groups of long reads are so few that chains have no such ends. The link replaces some of what else
    tells an island: another genome may be nearer by composition, and it may be so short that chance makes it poor.

    Args:
        labels: (G,), of the clusters.
    """
    if not clusters.is_short:
        return []
    poor = clusters.are_poor(chance=1) & clusters.are_short()
    may_be = (clusters.distances < _CONTINUED_DISTANCE) & (clusters.joining < _RELATED)
    may_be &= (poor[:, None] | poor) & np.stack([clusters.are_alike(a) for a in range(len(poor))])
    first, second = (side.astype(np.int64) for side in cores.links.nonzero())
    is_crossing = (labels[first] < labels[second]) & may_be[labels[first], labels[second]]
    first, second = first[is_crossing], second[is_crossing]
    are_ends = find_ends(cores, labels, np.union1d(first, second))
    to_ends = are_ends[first] & are_ends[second]
    between = labels[np.stack([first, second], axis=1)]

    def are_continued(a: int, b: int) -> bool:
        share = to_ends[(between == (a, b)).all(axis=1)].mean()
        shared = count_shared(cores, labels == a, labels == b)
        return bool(share >= _TO_ENDS and not clusters.share_markers(a, b, shared))

    found = [(a, b) for a, b in np.unique(between[to_ends], axis=0).tolist() if are_continued(a, b)]
    return sorted(found, key=lambda pair: clusters.distances[pair])


def find_ends(cores: Cores, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return (G,) bool: which of the groups are ends of chains of linked groups of their clusters.

    What is linked to an end within its cluster stays together when the end is taken away.

    Args:
        labels: (G,).
        groups: (N,) indices.
    """
    are_ends = np.zeros(len(labels), bool)
    for group in groups.tolist():
        near = np.array([group])
        for _ in range(_HOPS):
            reached = np.unique(cores.links[near].indices)
            near = np.union1d(near, reached[labels[reached] == labels[group]])
        others = near[near != group]
        if len(others) >= _CHAIN - 1:
            are_ends[group] = connected_components(cores.links[others][:, others], directed=False)[0] == 1
    return are_ends
