"""Whitening on one rank: numpy's weighted covariance is the oracle."""

from itertools import pairwise

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.whitening import LATTICE_STEPS, fit_whitening

LIMIT = 32 * LATTICE_STEPS


def make_embeddings(count: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated vectors of float16's precision, and weights."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, d)) @ rng.normal(size=(d, d)) * 0.05 + rng.normal(size=d) * 0.1
    return vectors.astype(np.float16).astype(np.float32), rng.integers(100, 20_000, count)


def fit(*shards, directions: int = 99):
    shards = {number: shard for number, shard in enumerate(shards) if shard is not None}
    return fit_whitening(MPI.COMM_SELF, shards, shards[0][0].shape[1], directions)


def whiten(whitening, embeddings: np.ndarray) -> np.ndarray:
    return (embeddings.astype(np.float64) - whitening.mean) @ whitening.directions


def assert_bits(one, other):
    for name in ("mean", "directions", "variances"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_fit_whitening_agrees_with_numpy():
    embeddings, weights = make_embeddings(3000, 12)
    whitening = fit((embeddings, weights))
    covariance = np.cov(embeddings.T.astype(np.float64), aweights=weights, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    assert whitening.mean == pytest.approx(
        np.average(embeddings.astype(np.float64), axis=0, weights=weights), rel=1e-12
    )
    assert whitening.variances == pytest.approx(values[::-1], rel=1e-9)
    # numpy's eigenvectors but for their signs, each scaled to unit variance.
    cosines = (vectors[:, ::-1] * np.sqrt(values[::-1]) * whitening.directions).sum(axis=0)
    assert np.abs(cosines) == pytest.approx(np.ones(12), abs=1e-9)


def test_every_direction_has_unit_variance_and_no_two_are_correlated():
    embeddings, weights = make_embeddings(3000, 12)
    whitened = whiten(fit((embeddings, weights), directions=5), embeddings)
    assert whitened.shape == (3000, 5)
    assert np.average(whitened, axis=0, weights=weights) == pytest.approx(np.zeros(5), abs=1e-9)
    assert np.cov(whitened.T, aweights=weights, bias=True) == pytest.approx(np.eye(5), abs=1e-9)


def test_the_leading_directions_are_kept():
    shard = make_embeddings(2000, 10)
    few, all_directions = fit(shard, directions=4), fit(shard)
    assert np.array_equal(few.directions, all_directions.directions[:, :4])
    assert np.array_equal(few.variances, all_directions.variances[:4])
    assert (np.diff(all_directions.variances) < 0).all()
    assert fit(shard, directions=1).directions.shape == (10, 1)


def test_weights_count_like_repeated_rows():
    embeddings, _ = make_embeddings(400, 6)
    times = np.random.default_rng(1).integers(1, 5, 400)
    weighted = fit((embeddings, times))
    repeated = fit((np.repeat(embeddings, times, axis=0), np.ones(times.sum(), np.int64)))
    assert weighted.mean == pytest.approx(repeated.mean, abs=1e-14)
    assert weighted.variances == pytest.approx(repeated.variances, rel=1e-9)


def test_shards_add_up_to_the_whole():
    embeddings, weights = make_embeddings(1000, 8)
    cuts = [0, 700, 701, 701, 1000]  # uneven, and one is empty
    parts = [(embeddings[begin:end], weights[begin:end]) for begin, end in pairwise(cuts)]
    whole, in_parts = fit((embeddings, weights)), fit(*parts)
    assert in_parts.mean == pytest.approx(whole.mean, abs=1e-14)
    assert in_parts.variances == pytest.approx(whole.variances, rel=1e-9)
    assert np.abs(whole.to_lattice(embeddings)) == pytest.approx(np.abs(in_parts.to_lattice(embeddings)), abs=1)


def test_shards_may_come_in_any_order():
    shards = {number: make_embeddings(50 + 31 * number, 7, number) for number in range(5)}
    backwards = {number: shards[number] for number in reversed(shards)}
    assert_bits(*(fit_whitening(MPI.COMM_SELF, each, 7, 7) for each in (shards, backwards)))


def test_constant_columns_are_left_out():
    embeddings, weights = make_embeddings(500, 9)
    embeddings[:, 2], embeddings[:, 5] = 0.123, 0
    whitening = fit((embeddings, weights))
    assert whitening.directions.shape == (9, 7)
    assert np.abs(whitening.directions[[2, 5]]).max() < 1e-6
    assert np.cov(whiten(whitening, embeddings).T, aweights=weights, bias=True) == pytest.approx(np.eye(7), abs=1e-6)


def test_fewer_fragments_than_columns():
    embeddings, weights = make_embeddings(4, 20)
    whitening = fit((embeddings, weights))
    assert whitening.directions.shape == (20, 3)
    assert np.abs(whitening.to_lattice(embeddings)).max() < LIMIT


def test_one_fragment_lies_at_the_origin():
    embeddings, weights = make_embeddings(1, 6)
    whitening = fit((embeddings, weights))
    assert np.array_equal(whitening.mean, embeddings[0])
    assert np.isfinite(whitening.directions).all()
    assert not whitening.to_lattice(embeddings).any()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.0999755859375, -3.2])
def test_fragments_that_are_all_the_same_lie_at_one_place(value):
    embeddings = np.full((300, 5), value, np.float32).astype(np.float16).astype(np.float32)
    weights = np.random.default_rng(2).integers(100, 30_000, 300)
    whitening = fit((embeddings, weights))
    assert np.isfinite(whitening.directions).all()
    assert np.isfinite(whitening.variances).all()
    assert len(np.unique(whitening.to_lattice(embeddings), axis=0)) == 1


def test_no_fragments_at_all():
    whitening = fit((np.zeros((0, 5), np.float32), np.zeros(0, np.int64)))
    assert not whitening.mean.any()
    assert not whitening.directions.any()
    assert whitening.to_lattice(np.zeros((0, 5), np.float32)).shape == (0, 1)


def test_to_lattice_rounds_to_steps():
    embeddings, weights = make_embeddings(2 * 8192 + 3, 4)
    whitening = fit((embeddings, weights))
    points = whitening.to_lattice(embeddings)
    assert points.dtype == np.int32
    exact = whiten(whitening, embeddings) * LATTICE_STEPS
    assert np.abs(points - exact).max() <= 0.5 + 1e-6
    assert points.std() == pytest.approx(LATTICE_STEPS, rel=0.05)


def test_to_lattice_clips_at_32_deviations():
    embeddings, weights = make_embeddings(500, 3)
    whitening = fit((embeddings, weights))
    axis = whitening.directions[:, 0] / np.linalg.norm(whitening.directions[:, 0])
    deviation = np.sqrt(whitening.variances[0])
    distances = np.array([-1e6, -33, -31, 0, 31, 33, 1e6])
    far = (whitening.mean + distances[:, None] * deviation * axis).astype(np.float32)
    points = whitening.to_lattice(far)
    assert points[[0, 1, 5, 6], 0].tolist() == [-LIMIT, -LIMIT, LIMIT, LIMIT]
    assert points[[2, 4], 0] == pytest.approx([-31 * LATTICE_STEPS, 31 * LATTICE_STEPS], abs=2)
    assert np.abs(points).max() == LIMIT
