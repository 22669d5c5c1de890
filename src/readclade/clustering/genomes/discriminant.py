"""Which cluster a group belongs to when genomes vary along themselves, each in its own way and measure.

A likelihood asks which composition explains a group best, and takes its letters for independent. Genes, islands and
strands make a genome vary by far more than that: a stretch of one can resemble the middle of another. So groups are
compared by their log-likelihoods per letter under all models as coordinates, in which each cluster has a place and a
spread: quadratic discriminant analysis with shrunk covariances (Friedman 1989, "Regularized discriminant analysis") and
the heavy tails of Student's t. How deep a group was read is one coordinate more.
"""

import numpy as np

from readclade.clustering.genomes.cores import DEPTH_SPREAD

_OWN_SHARE = 0.6  # of a large cluster's own covariance against that of all clusters pooled
_HALF_TRUST = 10  # groups at which half of that share holds
_RIDGE = 1e-3
_FREEDOM = 6.0  # degrees of Student's t


def place_groups(scores: np.ndarray, letters: np.ndarray) -> np.ndarray:
    """Return (G, K), where groups lie: log-likelihoods per letter less their mean.

    Args:
        scores: (G, K) log-likelihoods under the models of the clusters, a group's own cluster taken without it.
        letters: (G,) words of each group, > 0.
    """
    places = scores / letters[:, None]
    return places - places.mean(axis=1, keepdims=True)


def classify_groups(scores: np.ndarray, letters: np.ndarray, log_depths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (G,) int64, for each group the cluster in whose spread it lies best; arguments as `measure_evidence`."""
    return measure_evidence(scores, letters, log_depths, labels).argmax(axis=1)


def measure_evidence(scores: np.ndarray, letters: np.ndarray, log_depths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (G, K), in nats and up to a constant, how likely each group's place is in the spread of each cluster.

    Depth is one coordinate more: an abundant genome's odd stretch is no part of a rare genome.

    Args:
        scores, letters: as `place_groups`, K >= 2.
        log_depths: (G,) natural logarithms, all alike where depth was not measured.
        labels: (G,) int64, 0 .. K - 1, each taken at least once.
    """
    count = scores.shape[1]
    # Places add up to zero: one coordinate less says the same.
    basis = np.linalg.svd(np.ones((1, count)))[2][1:].T
    points = np.column_stack([place_groups(scores, letters) @ basis, log_depths])
    members = [labels == label for label in range(count)]
    middles = np.stack([np.average(points[inside], axis=0, weights=letters[inside]) for inside in members])
    deviations = points - middles[labels]
    pooled = _get_covariance(deviations, letters)
    # The fewer letters, the more chance: the spread of a group shorter than the median is taken wider.
    widening = np.maximum(np.median(letters) / letters, 1)
    evidence = np.empty((len(points), count))
    for label, inside in enumerate(members):
        own = _OWN_SHARE * inside.sum() / (inside.sum() + _HALF_TRUST)
        covariance = own * _get_covariance(deviations[inside], letters[inside]) + (1 - own) * pooled
        covariance[-1, :-1] = covariance[:-1, -1] = 0  # depth counts by itself, whatever it goes along with
        ridge = _RIDGE * max(covariance[:-1, :-1].trace() / (count - 1), 1e-12)
        covariance += np.diag([ridge] * (count - 1) + [DEPTH_SPREAD**2])
        factor = np.linalg.cholesky(covariance)
        squares = (np.linalg.solve(factor, (points - middles[label]).T) ** 2).sum(axis=0) / widening
        tails = (_FREEDOM + count) / 2 * np.log1p(squares / _FREEDOM)
        evidence[:, label] = -np.log(np.diag(factor)).sum() - tails
    return evidence


def _get_covariance(deviations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (deviations * (weights / weights.sum())[:, None]).T @ deviations
