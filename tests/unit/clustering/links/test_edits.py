"""Edits by bit vectors against the plain table."""

import numpy as np
import pytest

from readclade.clustering.links.edits import count_edits, count_edits_piecewise, orient
from readclade.clustering.links.packing import pack_reads


def count_plainly(x, y) -> int:
    row = list(range(len(y) + 1))
    for i, letter in enumerate(x, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(y, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != other))
    return row[-1]


def mutate(rng, codes, rate):
    kept = codes[rng.random(len(codes)) >= rate / 3]
    changed = np.where(rng.random(len(kept)) < rate / 3, rng.integers(0, 4, len(kept)), kept)
    at = rng.integers(0, len(changed) + 1, rng.binomial(len(changed), rate / 3))
    return np.insert(changed, at, rng.integers(0, 4, len(at))).astype(np.uint8)


def count(words, from_x, n, from_y, m, function=count_edits) -> int:
    blocks = n // 64 + 1
    scratch = np.empty((4, blocks), np.uint64), np.empty(blocks, np.uint64), np.empty(blocks, np.uint64)
    return function(words, from_x, n, words, from_y, m, scratch)


@pytest.mark.parametrize("rate", [0, 0.01, 0.1, 0.3, 1])
def test_count_edits_is_that_of_the_table(rate):
    rng = np.random.default_rng(int(100 * rate))
    for size in (1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200):
        x = rng.integers(0, 4, size).astype(np.uint8)
        y = mutate(rng, x, rate) if rate < 1 else rng.integers(0, 4, rng.integers(1, 200)).astype(np.uint8)
        # Both stand in the middle of words, among other letters.
        before, between = rng.integers(0, 70, 2)
        codes = np.concatenate([rng.integers(0, 4, before), x, rng.integers(0, 4, between), y, rng.integers(0, 4, 9)])
        words, _, _ = pack_reads(codes.astype(np.uint8), np.array([0, len(codes)]))
        assert count(words, before, size, before + size + between, len(y)) == count_plainly(x, y)


def test_count_edits_where_one_stretch_is_empty():
    words, _, _ = pack_reads(np.zeros(40, np.uint8), np.array([0, 40]))
    assert [count(words, 3, n, 9, m) for n, m in ((0, 0), (0, 5), (7, 0))] == [0, 5, 7]


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_count_edits_of_few_substitutions_and_of_a_shift(shift):
    """One length, few letters that differ, or many for one inserted and one deleted."""
    rng = np.random.default_rng(shift)
    x = rng.integers(0, 4, 150).astype(np.uint8)
    y = x.copy()
    y[[20, 70, 149][:shift]] ^= 1
    moved = np.roll(x[:100], shift)
    for one, other in ((x, y), (x[:100], moved)):
        words, _, _ = pack_reads(np.concatenate([one, other]), np.array([0, 2 * len(one)]))
        assert count(words, 0, len(one), len(one), len(other)) == count_plainly(one, other)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 100])
def test_orient_writes_either_strand(size):
    codes = np.random.default_rng(size).integers(0, 4, 40 + size).astype(np.uint8)
    words, begins, lengths = pack_reads(codes, np.array([0, 40, 40 + size]))
    for is_reversed, expected in ((False, codes[40:]), (True, 3 - codes[40:][::-1])):
        scratch = np.zeros(size // 32 + 2, np.uint64)
        orient(words, begins[1], lengths[1], is_reversed, scratch)
        found = [int(scratch[j // 32] >> np.uint64(2 * (j % 32))) & 3 for j in range(size)]
        assert found == expected.tolist()


@pytest.mark.parametrize(("rate", "most"), [(0, 0), (0.004, 1.02), (0.1, 1.02), (0.2, 1.05), (1, 1)])
def test_edits_of_long_stretches_that_are_cut_are_nearly_the_least(rate, most):
    rng = np.random.default_rng(int(1000 * rate))
    for size in (10, 64, 65, 66, 300, 700):
        x = rng.integers(0, 4, size).astype(np.uint8)
        y = mutate(rng, x, rate) if rate < 1 else rng.integers(0, 4, size).astype(np.uint8)
        words, _, _ = pack_reads(np.concatenate([x, y]), np.array([0, size + len(y)]))
        found, least = count(words, 0, size, size, len(y), count_edits_piecewise), count(words, 0, size, size, len(y))
        assert least <= found <= most * least + (0 < rate < 1)


@pytest.mark.parametrize("unit", [1, 2, 3, 5])
def test_edits_of_repeats_that_are_cut(unit):
    """Repeats have the same bases at many shifts."""
    rng = np.random.default_rng(unit)
    x = np.tile(rng.permutation(4)[: min(unit, 4)], 200)[:400].astype(np.uint8)
    y = np.concatenate([x[:150], rng.integers(0, 4, 10).astype(np.uint8), x[160:395]])
    words, _, _ = pack_reads(np.concatenate([x, y]), np.array([0, 400 + len(y)]))
    found, least = count(words, 0, 400, 400, len(y), count_edits_piecewise), count(words, 0, 400, 400, len(y))
    assert least <= found <= least + 10
