"""The groups that clusters are found from, and their labels."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from readclade.clustering.composition import score_groups

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
            self._scored.update(labels=labels, scores=score_groups(self.words, labels, count_clusters(labels))[0])
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


def count_clusters(labels: np.ndarray) -> int:
    """Return how many clusters labels from 0 on without gaps name."""
    return int(labels.max()) + 1


def renumber(labels: np.ndarray) -> np.ndarray:
    """Return (G,) int64: the labels, in their order, from 0 on without gaps."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
