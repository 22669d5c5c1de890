"""The groups that clusters are found from, and their labels."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from readclade.clustering.genomes.composition import score_groups

# Standard deviation within which log depths of one genome lie, whatever was measured: replication forks alone make
# twice the depth at one end of a genome.
DEPTH_SPREAD = 0.3
_LINK_CAP = 5  # links between two groups beyond this add nothing


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
        is_short: whether links are of short reads, which repeats mislead: they fit into them.
    """

    vectors: np.ndarray
    weights: np.ndarray
    fragments: np.ndarray
    words: np.ndarray
    links: sparse.csr_array
    markers: np.ndarray
    is_short: bool = False
    _scored: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def letters(self) -> np.ndarray:
        """(G,) float64: words of each group, at least 1."""
        return np.maximum(self.words.sum(axis=1, dtype=np.float64), 1)

    @cached_property
    def log_depths(self) -> np.ndarray:
        """(G,) float64: natural logarithm of how often a group's stretch was read, 0 where that is unknown."""
        return np.log(self.letters / self.weights)

    def score(self, labels: np.ndarray, without_neighbours: bool = False) -> np.ndarray:
        """Return (G, K) log-likelihoods under the clusters of (G,) labels (`score_groups`); the last ones are kept.

        Args:
            without_neighbours: take a group's own cluster without the groups that are linked to it, too. They overlap:
                a handful of groups from one place would make a cluster that explains itself best.
        """
        last, scores = self._scored.get(without_neighbours, (None, None))
        if not np.array_equal(last, labels):
            left_out = self.words
            if without_neighbours:
                left_out = self._link_within(labels).astype(np.float32) @ self.words
                left_out += self.words
            scores = score_groups(self.words, left_out, labels, count_clusters(labels))[0]
            self._scored[without_neighbours] = labels, scores
        return scores

    def count_apart(self, labels: np.ndarray) -> np.ndarray:
        """Return (K,) float64: how many groups of each cluster are not linked to one another, at least.

        Source: the bound of Caro (1979) and Wei (1981) for the size of an independent set.
        """
        return np.bincount(labels, 1 / (1 + self._link_within(labels).sum(axis=1)))

    def _link_within(self, labels: np.ndarray) -> sparse.csr_array:
        """Return (G, G), 1 for two groups of one cluster that are linked."""
        first, second = self.links.nonzero()
        inside = labels[first] == labels[second]
        return sparse.csr_array((np.ones(inside.sum()), (first[inside], second[inside])), shape=self.links.shape)


def make_link_matrix(count: int, first: np.ndarray, second: np.ndarray, numbers: np.ndarray) -> sparse.csr_array:
    """Return the symmetric (count, count) matrix of links between groups, cut off at 5.

    Args:
        first, second: indices of groups, each pair once.
        numbers: of links between them.
    """
    kept = np.minimum(numbers, _LINK_CAP).astype(np.float64)
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    return sparse.csr_array((np.concatenate([kept, kept]), (rows, columns)), shape=(count, count))


def count_clusters(labels: np.ndarray) -> int:
    """Return how many clusters labels from 0 on without gaps name."""
    return int(labels.max()) + 1


def renumber(labels: np.ndarray) -> np.ndarray:
    """Return (G,) int64: the labels, in their order, from 0 on without gaps."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
