"""Groups are placed by the spread of clusters, tested on counts drawn from known compositions."""

import numpy as np
import pytest

from readclade.clustering.genomes import discriminant
from readclade.clustering.genomes.composition import WORDS, score_groups


def draw_words(rng, leaning: np.ndarray, letters: int) -> np.ndarray:
    """Return (n, 4096) counts of groups whose words lean to G and C (positive) or to A and T."""
    codes = np.arange(WORDS)
    strong = sum(((codes >> shift) & 3) % 3 != 0 for shift in range(0, 12, 2)) - 3.0  # C and G are codes 1 and 2
    shares = np.exp(leaning[:, None] * strong)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.stack([rng.multinomial(letters, share) for share in shares]).astype(np.float32)


def classify_groups(words: np.ndarray, labels: np.ndarray, count: int, depths: np.ndarray | float = 1) -> np.ndarray:
    letters = np.maximum(words.sum(axis=1, dtype=np.float64), 1)
    scores = score_groups(words, words, labels, count)[0]
    return discriminant.classify_groups(scores, letters, np.log(np.broadcast_to(depths, len(words))), labels)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_place_groups_are_log_likelihoods_by_letter_less_their_mean(rng):
    words = draw_words(rng, np.repeat([-0.2, 0.0, 0.3], 5), 2000)
    labels = np.repeat(np.arange(3), 5)
    places = discriminant.place_groups(score_groups(words, words, labels, 3)[0], np.full(15, 2000))
    expected = score_groups(words, words, labels, 3)[0] / 2000
    assert places == pytest.approx(expected - expected.mean(axis=1, keepdims=True))
    assert places.sum(axis=1) == pytest.approx(np.zeros(15))


def test_classify_groups_agrees_where_clusters_are_clear(rng):
    words = draw_words(rng, np.repeat([-0.3, 0.0, 0.3], 20), 3000)
    labels = np.repeat(np.arange(3), 20)
    assert np.array_equal(classify_groups(words, labels, 3), labels)


def test_classify_groups_mends_wrong_labels(rng):
    words = draw_words(rng, np.repeat([-0.3, 0.0, 0.3], 20), 3000)
    truth = np.repeat(np.arange(3), 20)
    labels = truth.copy()
    labels[[3, 25, 47]] = [1, 2, 0]
    assert np.array_equal(classify_groups(words, labels, 3), truth)


def test_a_wide_cluster_reaches_farther_than_a_narrow_one(rng):
    """What likelihoods alone get wrong: halfway between the means, a group belongs to the cluster that varies."""
    words = draw_words(rng, np.concatenate([np.linspace(-0.4, 0.2, 80), np.full(80, 0.4), np.full(80, -0.7)]), 20_000)
    labels = np.repeat(np.arange(3), 80)
    by_likelihood = (score_groups(words, words, labels, 3)[0].argmax(axis=1) != labels).sum()
    assert by_likelihood >= 5
    assert (classify_groups(words, labels, 3) != labels).sum() <= by_likelihood // 3


def test_an_odd_stretch_of_an_abundant_genome_is_no_part_of_a_rare_one(rng):
    """By composition five groups lie in the first cluster; their depth is the second's."""
    leaning = np.concatenate([rng.normal(0, 0.05, 30), np.zeros(5), np.linspace(-0.2, 0.4, 30)])
    words = draw_words(rng, leaning, 3000)
    truth = np.repeat([0, 1], [30, 35])
    labels = np.repeat([0, 1], [35, 30])
    depths = rng.lognormal(np.log(np.where(truth, 12, 1.5)), 0.15)
    assert classify_groups(words, labels, 2)[30:35].sum() <= 2
    assert np.array_equal(classify_groups(words, labels, 2, depths), truth)


def test_depths_that_one_genome_can_have_say_little(rng):
    words = draw_words(rng, np.repeat([-0.3, 0.3], 30), 3000)
    labels = np.repeat([0, 1], 30)
    depths = np.concatenate([np.linspace(6, 12, 30), np.full(30, 12.0)])
    assert np.array_equal(classify_groups(words, labels, 2, depths), labels)
    assert np.array_equal(classify_groups(words, labels, 2, 8.0), classify_groups(words, labels, 2, 1.0))


@pytest.mark.parametrize("sizes", [(1, 30), (2, 2), (1, 1)])
def test_clusters_of_few_groups_do_not_fail(sizes, rng):
    labels = np.repeat(np.arange(2), sizes)
    words = draw_words(rng, np.where(labels, 0.3, -0.3), 3000)
    assert set(classify_groups(words, labels, 2)) <= {0, 1}


def test_groups_without_letters_do_not_fail():
    labels = np.array([0, 0, 1, 1])
    assert set(classify_groups(np.zeros((4, WORDS), np.float32), labels, 2)) <= {0, 1}
