"""Composition models: a plain model of dictionaries and loops is the oracle."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.communities.simulation import COMPLEMENT
from readclade.clustering.genomes.composition import (
    _PRIOR,
    COMPLEMENTS,
    SCORE_STEPS,
    WORD,
    WORDS,
    add_scores,
    count_steps,
    count_words,
    make_models,
    score_groups,
)
from readclade.clustering.links.sequences import encode_sequences

ALL_WORDS = ["".join(letters) for letters in product("ACGT", repeat=WORD)]  # in the order of codes
CODES = {word: code for code, word in enumerate(ALL_WORDS)}


def turn(sequence: str) -> str:
    return sequence.encode().translate(COMPLEMENT)[::-1].decode()


def make_fragments(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return pairs of uneven length with unknown letters; some mates are empty or shorter than a word."""
    rng = np.random.default_rng(seed)

    def make_read(length: int) -> str:
        return "".join(rng.choice(list("ACGTN"), length, p=[0.3, 0.2, 0.28, 0.2, 0.02]))

    mates = (0, 4, WORD, 80)
    return [(make_read(int(rng.integers(0, 120))), make_read(mates[number % 4])) for number in range(count)]


def encode(fragments: list[tuple[str, str]]):
    sequences, mates = zip(*fragments, strict=True)
    return encode_sequences([pa.table({"sequence": pa.array(sequences), "mate": pa.array(mates)})])


def count_plainly(fragments: list[tuple[str, str]]) -> Counter:
    words = (read[i : i + WORD] for pair in fragments for read in pair for i in range(len(read) - WORD + 1))
    return Counter(word for word in words if "N" not in word)


class Model:
    """The probability of a letter after five others, in clusters that their fragments are given of."""

    def __init__(self, clusters: list[list[tuple[str, str]]], background: list[tuple[str, str]]):
        self.counts = [self.count_both(fragments) for fragments in clusters]
        self.background = self.count_both(background)

    @staticmethod
    def count_both(fragments) -> Counter:
        both = Counter()
        for word, count in count_plainly(fragments).items():
            both[word] += count
            both[turn(word)] += count
        return both

    def get_log(self, cluster: int, word: str) -> float:
        context = [word[:-1] + letter for letter in "ACGT"]
        whole = sum(self.background[other] + 1 for other in context)
        shaped = {
            other: self.counts[cluster][other] + _PRIOR * (self.background[other] + 1) / whole for other in context
        }
        return math.log(shaped[word] / sum(shaped.values()))

    def score(self, cluster: int, fragments: list[tuple[str, str]]) -> float:
        return sum(count * self.get_log(cluster, word) for word, count in count_plainly(fragments).items())


@pytest.fixture(scope="module")
def fragments() -> list[tuple[str, str]]:
    return make_fragments(24)


def score(fragments, models: np.ndarray) -> np.ndarray:
    """Return (n, K), the scores of each fragment."""
    numbers = np.arange(len(fragments))
    scores = np.zeros((len(fragments), len(models)), np.int64)
    add_scores(encode(fragments), numbers, numbers, count_steps(models), scores)
    return scores


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.array([0, 1, 2] * 8)


def test_complements_are_those_of_the_words():
    assert [ALL_WORDS[code] for code in COMPLEMENTS] == [turn(word) for word in ALL_WORDS]
    assert np.array_equal(COMPLEMENTS[COMPLEMENTS], np.arange(WORDS))


def test_count_words_counts_the_strand_that_was_read(fragments, labels):
    groups = np.where(np.arange(24) < 4, -1, labels)
    counts = count_words(encode(fragments), groups, 4)
    assert counts.dtype == np.int32
    for group in range(3):
        expected = count_plainly([fragments[i] for i in np.flatnonzero(groups == group)])
        assert {ALL_WORDS[code]: counts[group, code] for code in np.flatnonzero(counts[group])} == expected
    assert not counts[3].any()


def test_count_words_never_joins_mates_or_spans_unknown_letters():
    sequences = encode([("ACGTAC", "GTACGT"), ("ACGTANCGTACG", ""), ("ACGT", "ACGTA")])
    counts = count_words(sequences, np.arange(3), 3)
    assert [ALL_WORDS[code] for code in np.flatnonzero(counts[0])] == ["ACGTAC", "GTACGT"]
    assert [ALL_WORDS[code] for code in np.flatnonzero(counts[1])] == ["CGTACG"]
    assert not counts[2].any()


def test_make_models_agrees_with_a_plain_model(fragments, labels):
    models = make_models(count_words(encode(fragments), labels, 3))
    oracle = Model([[fragments[i] for i in np.flatnonzero(labels == label)] for label in range(3)], fragments)
    for label, word in product(range(3), ALL_WORDS[::13]):
        assert models[label, CODES[word]] == pytest.approx(oracle.get_log(label, word), rel=1e-12)


def test_make_models_gives_probabilities_and_the_background_where_nothing_was_seen():
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 90, (3, WORDS))
    counts[2] = 0
    models = make_models(counts)
    assert np.exp(models).reshape(3, -1, 4).sum(axis=2) == pytest.approx(np.ones((3, WORDS // 4)))
    both = (counts + counts[:, COMPLEMENTS]).sum(axis=0).reshape(-1, 4) + 1
    assert np.exp(models[2]).reshape(-1, 4) == pytest.approx(both / both.sum(axis=1, keepdims=True))
    assert np.exp(make_models(np.zeros((1, WORDS)))) == pytest.approx(np.full((1, WORDS), 0.25))


def test_models_do_not_depend_on_the_strand_that_was_read(fragments, labels):
    turned = [(turn(one), turn(other)) for one, other in fragments]
    one, other = (make_models(count_words(encode(reads), labels, 3)) for reads in (fragments, turned))
    assert one.tobytes() == other.tobytes()


def test_add_scores_agrees_with_a_plain_model(fragments, labels):
    models = make_models(count_words(encode(fragments), labels, 3))
    scores = score(fragments, models)
    oracle = Model([[fragments[i] for i in np.flatnonzero(labels == label)] for label in range(3)], fragments)
    for i, label in product(range(24), range(3)):
        words = count_plainly([fragments[i]]).total()
        exact = oracle.score(label, [fragments[i]]) * SCORE_STEPS
        assert scores[i, label] == pytest.approx(exact, abs=0.5 * words + 1e-6)


def test_add_scores_adds_up_chosen_fragments_by_group(fragments, labels):
    models = make_models(count_words(encode(fragments), labels, 3))
    chosen, groups = np.array([5, 2, 2, 23]), np.array([1, 0, 1, 3])
    scores = np.full((4, 3), 7)
    add_scores(encode(fragments), chosen, groups, count_steps(models), scores)
    one, two, last = (score([fragments[number]], models)[0] for number in (5, 2, 23))
    assert np.array_equal(scores - 7, [two, one + two, 0 * one, last])


def test_score_groups_judges_a_group_by_its_cluster_without_it(fragments, labels):
    """Every third fragment is a group of its own cluster; leaving it out equals fitting the cluster without it."""
    words = count_words(encode(fragments), np.arange(24), 24).astype(np.float32)
    scores, models = score_groups(words, words, labels, 3)
    assert models == pytest.approx(make_models(count_words(encode(fragments), labels, 3)), rel=1e-12)
    for group in range(0, 24, 5):
        for label in range(3):
            members = [fragments[i] for i in np.flatnonzero(labels == label) if i != group]
            # The background is that of all groups, this one included.
            oracle = Model([members], fragments)
            assert scores[group, label] == pytest.approx(oracle.score(0, [fragments[group]]), rel=1e-5, abs=1e-4)


def test_score_groups_leaves_out_what_it_is_told(fragments, labels):
    """A group and another of its cluster left out: the cluster is what the rest of it says."""
    words = count_words(encode(fragments), np.arange(24), 24).astype(np.float32)
    group, other = np.flatnonzero(labels == labels[7])[:2].tolist()
    left_out = words.copy()
    left_out[group] += words[other]
    scores, _ = score_groups(words, left_out, labels, 3)
    rest = [fragments[i] for i in np.flatnonzero(labels == labels[7]) if i not in (group, other)]
    expected = Model([rest], fragments).score(0, [fragments[group]])
    assert scores[group, labels[7]] == pytest.approx(expected, rel=1e-5, abs=1e-4)
    plain, _ = score_groups(words, words, labels, 3)
    assert np.array_equal(np.delete(scores, group, axis=0), np.delete(plain, group, axis=0))


def test_score_groups_of_a_cluster_of_one_group_is_the_background():
    fragments = make_fragments(2, 5)
    words = count_words(encode(fragments), np.arange(2), 2).astype(np.float32)
    scores, _ = score_groups(words, words, np.array([0, 1]), 2)
    oracle = Model([[]], fragments)
    for group in range(2):
        assert scores[group, group] == pytest.approx(oracle.score(0, [fragments[group]]), rel=1e-6)


def test_score_groups_of_reads_without_words_are_zero():
    words = np.zeros((3, WORDS), np.float32)
    scores, _ = score_groups(words, words, np.array([0, 1, 0]), 2)
    assert not scores.any()


def test_models_tell_two_sources_apart():
    rng = np.random.default_rng(7)

    def draw(count: int, odds: list[float]) -> list[tuple[str, str]]:
        return [("".join(rng.choice(list("ACGT"), 600, p=odds)), "") for _ in range(count)]

    fragments = draw(40, [0.3, 0.2, 0.2, 0.3]) + draw(40, [0.2, 0.3, 0.3, 0.2])
    origin = np.repeat([0, 1], 40)
    models = make_models(count_words(encode(fragments), np.where(np.arange(80) % 2, origin, -1), 2))
    best = score(fragments, models).argmax(axis=1)
    assert (best == origin).mean() > 0.95
