"""Error rates from overlaps whose reads have known ones."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.links.errors import estimate_rates, find_quantile, to_error_rate, to_half
from readclade.clustering.links.verified import STEPS, Verified
from readclade.clustering.ranks.exchange import Layout

COMM = MPI.COMM_SELF


def overlap(rng, rates: np.ndarray, pairs: np.ndarray, divergence=0.0) -> Verified:
    """Return overlaps of 2 kb, sorted, that differ by the rates of both reads and so much more."""
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    edits = rng.poisson(2000 * (rates[pairs].sum(axis=1) + divergence)).astype(np.int32)
    zeros, stretch = np.zeros(len(pairs), np.int32), np.full(len(pairs), 2000, np.int32)
    return Verified(*pairs.T, zeros > 0, zeros, stretch, zeros, stretch, stretch, stretch, edits)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.05, 0.1, 0.2])
def test_halves_of_divergences_are_turned_into_rates_and_back(rate):
    assert to_error_rate(to_half(rate)) == pytest.approx(rate, abs=2e-6)
    assert to_half(rate) <= rate * STEPS


def test_quantiles_are_values_that_are_there():
    values = np.array([5, 1, 3, 3, 2_000_000, -4])
    found = [find_quantile(COMM, values, share) for share in (0, 0.16, 0.5, 0.51, 0.99)]
    assert found == [0, 0, 3, 3, STEPS]


@pytest.mark.parametrize("depth", [4, 30])
@pytest.mark.parametrize("rate", [0.002, 0.05])
def test_rates_of_reads_and_sample(rate, depth):
    rng = np.random.default_rng(depth)
    rates = rate * rng.choice([0.8, 1, 1.25], 1000)
    found = estimate_rates(Layout(COMM, [0, 1000]), overlap(rng, rates, rng.integers(0, 1000, (depth * 500, 2))), 7)
    assert found.is_known
    assert found.sample == pytest.approx(rate * STEPS, rel=0.15)
    assert (found.reads >= 0).all()
    if rate == 0.05 and depth == 30:
        assert np.median(np.abs(found.reads / STEPS / rates - 1)) < 0.05
        assert np.corrcoef(found.reads, rates)[0, 1] > 0.85


def test_relatives_push_no_rate_far_up():
    """Of 1000 reads the last 200 overlap one another seldom, and often the others, from which they differ."""
    rng = np.random.default_rng(1)
    rates = np.full(1000, 0.05)
    own = overlap(rng, rates, rng.integers(0, 800, (8000, 2)))
    others = np.stack([rng.integers(0, 800, 2000), rng.integers(800, 1000, 2000)], axis=1)
    related = overlap(rng, rates, others, 0.06)
    both = [np.concatenate(pair) for pair in zip(*(vars(part).values() for part in (own, related)), strict=True)]
    found = estimate_rates(Layout(COMM, [0, 1000]), Verified(*both), 7)
    assert found.sample == pytest.approx(50_000, rel=0.05)
    assert np.median(found.reads[800:]) < 1.2 * 50_000


def test_what_is_assumed_stands_in_where_too_little_overlaps():
    rng = np.random.default_rng(2)
    found = estimate_rates(Layout(COMM, [0, 100]), overlap(rng, np.full(100, 0.05), np.array([[3, 5], [5, 6]])), 777)
    assert (found.sample, found.is_known) == (777, False)
    assert np.flatnonzero(found.is_told).tolist() == [3, 5, 6]
    assert (found.reads[~found.is_told] == 777).all()
    assert estimate_rates(Layout(COMM, [0]), overlap(rng, np.zeros(1), np.zeros((0, 2), np.int64)), 5).reads.size == 0
