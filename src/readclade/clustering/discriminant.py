"""Which cluster a group belongs to when genomes vary along themselves, each in its own way and measure.

A likelihood asks which composition explains a group best, and takes its letters for independent. Genes, islands and
strands make a genome vary by far more than that: a stretch of one can resemble the middle of another. So groups are
compared by their log-likelihoods per letter under all models as coordinates, in which each cluster has a place and a
spread: quadratic discriminant analysis with shrunk covariances (Friedman 1989, "Regularized discriminant analysis") and
the heavy tails of Student's t.
"""

import numpy as np

from readclade.clustering.composition import score_groups

_OWN_SHARE = 0.6  # of a large cluster's own covariance against that of all clusters pooled
_HALF_TRUST = 10  # groups at which half of that share holds
_RIDGE = 1e-3
_FREEDOM = 6.0  # degrees of Student's t


def place_groups(words: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where groups lie: (G, count) log-likelihoods per letter less their mean, and (G,) letters.

    Args:
        words: (G, 4096) float32 counts.
        labels: (G,) int64, 0 .. count - 1; a group's own cluster is taken without it.
    """
    letters = np.maximum(words.sum(axis=1, dtype=np.float64), 1)
    scores, _ = score_groups(words, labels, count)
    places = scores / letters[:, None]
    return places - places.mean(axis=1, keepdims=True), letters


def classify_groups(words: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return (G,) int64, for each group the cluster in whose spread it lies best.

    Args:
        words: (G, 4096) float32 counts.
        labels: (G,) int64, 0 .. count - 1, each taken at least once; count >= 2.
    """
    places, letters = place_groups(words, labels, count)
    # Places add up to zero: one coordinate less says the same.
    basis = np.linalg.svd(np.ones((1, count)))[2][1:].T
    points = places @ basis
    members = [labels == label for label in range(count)]
    middles = np.stack([np.average(points[inside], axis=0, weights=letters[inside]) for inside in members])
    deviations = points - middles[labels]
    pooled = _get_covariance(deviations, letters)
    # The fewer letters, the more chance: the spread of a group shorter than the median is taken wider.
    widening = np.maximum(np.median(letters) / letters, 1)
    evidence = np.empty((len(labels), count))
    for label, inside in enumerate(members):
        own = _OWN_SHARE * inside.sum() / (inside.sum() + _HALF_TRUST)
        covariance = own * _get_covariance(deviations[inside], letters[inside]) + (1 - own) * pooled
        covariance += _RIDGE * max(covariance.trace() / (count - 1), 1e-12) * np.eye(count - 1)
        factor = np.linalg.cholesky(covariance)
        squares = (np.linalg.solve(factor, (points - middles[label]).T) ** 2).sum(axis=0) / widening
        tails = (_FREEDOM + count - 1) / 2 * np.log1p(squares / _FREEDOM)
        evidence[:, label] = -np.log(np.diag(factor)).sum() - tails
    return evidence.argmax(axis=1)


def _get_covariance(deviations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (deviations * (weights / weights.sum())[:, None]).T @ deviations
