"""Composition models: Markov chains of order 5, which tell genomes apart by their words of six letters.

A model holds the probability of a letter after the five before it. Both strands are counted, for reads come from both.
Order 5 is the highest whose 4,096 words a genome of a megabase at low coverage still fills.
"""

import numba
import numpy as np

from readclade.clustering.links.sequences import Sequences

WORD = 6
WORDS = 4**WORD
SCORE_STEPS = 4096  # scores are whole numbers in units of 2^-12 nats, so that their sums do not depend on an order
_PRIOR = 50.0  # letters after a context that the background is worth


def _find_complements() -> np.ndarray:
    codes, reverse = np.arange(WORDS), np.zeros(WORDS, np.int64)
    for _ in range(WORD):
        reverse = reverse * 4 + 3 - codes % 4
        codes = codes // 4
    return reverse


COMPLEMENTS = _find_complements()  # of each word the code of its reverse complement


@numba.njit(cache=True, inline="always")
def _add_letter(word, known, code):
    """Return the code of the last six letters, and how many letters in a row are known, after one more."""
    if code > 3:
        return 0, 0
    return ((word << 2) | code) & (WORDS - 1), known + 1


@numba.njit(cache=True)
def _count_words(codes, offsets, groups, counts):
    for i in range(len(groups)):
        group = groups[i]
        if group < 0:
            continue
        for read in (2 * i, 2 * i + 1):
            word = 0
            known = 0
            for position in range(offsets[read], offsets[read + 1]):
                word, known = _add_letter(word, known, np.int64(codes[position]))
                if known >= WORD:
                    counts[group, word] += 1


def count_words(sequences: Sequences, groups: np.ndarray, count: int) -> np.ndarray:
    """Return (count, 4096) int32, how often each group's reads show each word, on the strand that was read.

    Args:
        groups: (n,) int64, group of each fragment, 0 .. count - 1, or -1 for none.
    """
    counts = np.zeros((count, WORDS), np.int32)
    for block in sequences.blocks():
        _count_words(block.codes, block.offsets, groups[block.begin : block.end], counts)
    return counts


def make_models(counts: np.ndarray) -> np.ndarray:
    """Return (K, 4096) float64, natural logarithms of the probability of each word's last letter after the others.

    Args:
        counts: (K, 4096), words of each cluster. All clusters together are the background that smooths each.
    """
    both = counts + counts[:, COMPLEMENTS]
    prior = get_prior(both)
    shaped = both.reshape(-1, WORDS // 4, 4) + prior.reshape(-1, 4)
    return np.log(shaped / shaped.sum(axis=2, keepdims=True)).reshape(-1, WORDS)


def get_prior(both: np.ndarray) -> np.ndarray:
    """Return (4096,) float64, pseudo-counts: what the background is worth to a model.

    Args:
        both: (K, 4096) counts over both strands.
    """
    background = (both.sum(axis=0) + 1.0).reshape(-1, 4)
    return (_PRIOR * background / background.sum(axis=1, keepdims=True)).reshape(-1)


@numba.njit(cache=True)
def _score(codes, offsets, groups, models, scores):
    """Add up the models' logarithms over the words of each group's reads."""
    clusters = models.shape[1]
    own = np.zeros(clusters, np.int64)
    for i in range(len(groups)):
        own[:] = 0
        for read in (2 * i, 2 * i + 1):
            word = 0
            known = 0
            for position in range(offsets[read], offsets[read + 1]):
                word, known = _add_letter(word, known, np.int64(codes[position]))
                if known >= WORD:
                    for cluster in range(clusters):
                        own[cluster] += models[word, cluster]
        for cluster in range(clusters):
            scores[groups[i], cluster] += own[cluster]


def count_steps(models: np.ndarray) -> np.ndarray:
    """Return (4096, K) int64, the logarithms of (K, 4096) models (`make_models`) in 2^-12 nats."""
    return np.ascontiguousarray(np.rint(models.T * SCORE_STEPS).astype(np.int64))


def add_scores(
    sequences: Sequences, fragments: np.ndarray, groups: np.ndarray, steps: np.ndarray, scores: np.ndarray
) -> None:
    """Add to (G, K) int64 scores how likely fragments are under each model, in 2^-12 nats.

    Args:
        fragments: (m,) int64, which of the sequences.
        groups: (m,) int64, the row of the scores that each adds to.
        steps: of `count_steps`.
    """
    for block in sequences.blocks_of(fragments):
        _score(block.codes, block.offsets, groups[block.begin : block.end], steps, scores)


@numba.njit(cache=True)
def _leave_out(words, left_out, labels, both, complements, prior, scores):
    """Overwrite each group's score under its own cluster by that under the cluster without what is left out."""
    for group in range(len(words)):
        own = labels[group]
        score = 0.0
        for context in range(WORDS // 4):
            seen = np.float32(0)
            for letter in range(4):
                seen += words[group, 4 * context + letter]
            if seen == 0:
                continue
            total = 0.0
            for letter in range(4):
                word = 4 * context + letter
                total += both[own, word] - left_out[group, word] - left_out[group, complements[word]] + prior[word]
            for letter in range(4):
                word = 4 * context + letter
                if words[group, word] > 0:
                    left = both[own, word] - left_out[group, word] - left_out[group, complements[word]] + prior[word]
                    score += words[group, word] * np.log(left / total)
        scores[group, own] = score


def score_groups(
    words: np.ndarray, left_out: np.ndarray, labels: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how likely each group is under each cluster, its own cluster taken without what is left out.

    Without that, a small cluster would always explain its own groups best, whatever they have in common.

    Args:
        words: (G, 4096) float32 counts.
        left_out: (G, 4096) float32 counts: the group's own, or those of other groups of its cluster, too.
        labels: (G,) int64, 0 .. count - 1.

    Returns:
        (G, count) float64 log-likelihoods in nats, and the (count, 4096) models with all their groups.
    """
    counts = np.stack([words[labels == label].sum(axis=0, dtype=np.float64) for label in range(count)])
    models = make_models(counts)
    scores = (words @ models.T.astype(np.float32)).astype(np.float64)
    both = counts + counts[:, COMPLEMENTS]
    _leave_out(words, left_out, labels, both, COMPLEMENTS, get_prior(both), scores)
    return scores, models
