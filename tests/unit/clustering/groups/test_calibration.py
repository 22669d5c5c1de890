"""Calibration: scipy's and numpy's own decompositions are the oracle, real reads show what it is good for."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.linalg import eigh

from benchmarks.communities.simulation import read_fasta
from readclade.clustering.groups.calibration import _LEAST_PARTS, _RIDGE, LATTICE_STEPS, Calibration, fit_calibration
from readclade.embedders.kmer import KmerEmbedder

LIMIT = 32 * LATTICE_STEPS


def make_vectors(count: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated vectors and weights."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, d)) @ rng.normal(size=(d, d)) * 0.05 + rng.normal(size=d) * 0.1
    return vectors, rng.integers(100, 20_000, count)


def whiten(vectors: np.ndarray, weights: np.ndarray, directions: int = 99) -> Calibration:
    d = vectors.shape[1]
    return fit_calibration(vectors, weights, np.zeros((0, d)), np.zeros(0), directions)


def apply(calibration: Calibration, vectors: np.ndarray) -> np.ndarray:
    return (vectors - calibration.mean) @ calibration.directions


def measure_scatter(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.cov(vectors.T, aweights=weights, bias=True)


# Noise that was measured


@pytest.fixture
def noisy():
    """Groups that differ most in the first column, where they are noisiest, and next in the quiet second one."""
    rng = np.random.default_rng(1)
    noise = np.diag([1.0, 0.05, 0.2, 0.2])
    vectors = rng.normal(size=(600, 4)) @ np.diag([2.0, 1.0, 0.01, 0.01]) + rng.normal(size=(600, 4)) @ noise
    deviations = rng.normal(size=(4000, 4)) @ noise
    return vectors, rng.integers(100, 9000, 600), deviations, rng.integers(100, 900, 4000)


def test_fit_calibration_solves_the_generalised_eigenproblem(noisy):
    vectors, weights, deviations, deviation_weights = noisy
    calibration = fit_calibration(vectors, weights, deviations, deviation_weights, 4)
    assert not calibration.is_whitening
    assert calibration.mean == pytest.approx(np.average(vectors, axis=0, weights=weights), rel=1e-12)
    total = measure_scatter(vectors, weights)
    noise = (deviations * deviation_weights[:, None]).T @ deviations / deviation_weights.sum()
    noise += _RIDGE * np.trace(noise) / 4 * np.eye(4)
    directions = calibration.directions
    # One unit is one standard deviation of noise, and groups differ by ever less from direction to direction.
    assert directions.T @ noise @ directions == pytest.approx(np.eye(4), abs=1e-9)
    ratios = eigh(total, noise, eigvals_only=True)[::-1]
    assert directions.T @ total @ directions == pytest.approx(np.diag(ratios), abs=1e-9)


def test_noise_decides_what_comes_first(noisy):
    vectors, weights, deviations, deviation_weights = noisy
    calibration = fit_calibration(vectors, weights, deviations, deviation_weights, 1)
    assert calibration.directions.shape == (4, 1)
    assert np.abs(calibration.directions[:, 0]).argmax() == 1
    assert np.abs(whiten(vectors, weights, 1).directions[:, 0]).argmax() == 0


def test_too_few_parts_of_groups_mean_whitening(noisy):
    vectors, weights, deviations, deviation_weights = noisy
    enough = _LEAST_PARTS * 4
    for count, is_whitening in ((enough, False), (enough - 1, True), (0, True)):
        calibration = fit_calibration(vectors, weights, deviations[:count], deviation_weights[:count], 4)
        assert calibration.is_whitening is is_whitening
    assert calibration.directions.tobytes() == whiten(vectors, weights).directions.tobytes()


def test_parts_that_do_not_differ_mean_whitening(noisy):
    vectors, weights, _, _ = noisy
    calibration = fit_calibration(vectors, weights, np.zeros((100, 4)), np.ones(100), 4)
    assert calibration.is_whitening
    assert measure_scatter(apply(calibration, vectors), weights) == pytest.approx(np.eye(4), abs=1e-9)


def test_noise_in_one_column_alone_leaves_numbers(noisy):
    vectors, weights, deviations, deviation_weights = noisy
    calibration = fit_calibration(vectors, weights, deviations * [1, 0, 0, 0], deviation_weights, 4)
    assert not calibration.is_whitening
    assert np.isfinite(calibration.directions).all()
    assert np.abs(calibration.to_lattice(vectors)).max() < LIMIT


def test_calibrated_real_reads_lie_better_apart_than_whitened_ones(repository):
    """Stretches of 6 kb of three genomes, embedded in parts of 1 kb: the parts say what is noise."""
    names = ["Helicobacter_pylori_G27", "Staphylococcus_aureus_N315", "Methanococcus_maripaludis_S2"]
    genomes = [b"".join(read_fasta(repository / f"demo/genomes/{name}.fa.gz", "").values()) for name in names]
    rng = np.random.default_rng(0)
    origin = np.repeat(np.arange(3), 120)
    begins = [int(rng.integers(0, len(genomes[i]) - 6000)) for i in origin]
    parts = [
        genomes[i][begin + 1000 * p :][:1000].decode()
        for i, begin in zip(origin, begins, strict=True)
        for p in range(6)
    ]
    embedded = KmerEmbedder(4).embed(pa.array(parts), None).astype(np.float64)
    _, axes = np.linalg.eigh(np.cov(embedded.T))
    embedded = (embedded @ axes[:, -24:]).reshape(360, 6, 24)
    vectors = embedded.mean(axis=1)
    deviations = (embedded - vectors[:, None]).reshape(-1, 24)
    weights = np.full(360, 6000)

    def measure_separation(calibration: Calibration) -> float:
        """Return the scatter between the genomes over that within, over all directions."""
        points = calibration.to_lattice(vectors).astype(np.float64)
        means = np.stack([points[origin == i].mean(axis=0) for i in range(3)])
        return ((means - means.mean(axis=0)) ** 2).sum() / ((points - means[origin]) ** 2).sum(axis=1).mean()

    calibrated = fit_calibration(vectors, weights, deviations, np.full(len(deviations), 1000), 16)
    assert not calibrated.is_whitening
    assert measure_separation(calibrated) > 1.5 * measure_separation(whiten(vectors, weights, 16))


# Whitening


def test_whitening_agrees_with_numpy():
    vectors, weights = make_vectors(3000, 12)
    calibration = whiten(vectors, weights)
    assert calibration.is_whitening
    values, axes = np.linalg.eigh(measure_scatter(vectors, weights))
    # numpy's eigenvectors but for their signs, each scaled to unit variance.
    cosines = (axes[:, ::-1] * np.sqrt(values[::-1]) * calibration.directions).sum(axis=0)
    assert np.abs(cosines) == pytest.approx(np.ones(12), abs=1e-9)


def test_whitened_directions_have_unit_variance_and_no_two_are_correlated():
    vectors, weights = make_vectors(3000, 12)
    whitened = apply(whiten(vectors, weights, 5), vectors)
    assert whitened.shape == (3000, 5)
    assert np.average(whitened, axis=0, weights=weights) == pytest.approx(np.zeros(5), abs=1e-9)
    assert measure_scatter(whitened, weights) == pytest.approx(np.eye(5), abs=1e-9)


# Both


@pytest.fixture(params=["whitened", "calibrated"])
def fit(request):
    """Return a function that fits one kind of calibration to vectors and weights."""

    def fit(vectors: np.ndarray, weights: np.ndarray, directions: int = 99) -> Calibration:
        d, rng = vectors.shape[1], np.random.default_rng(9)
        count = 50 * d if request.param == "calibrated" else 0
        deviations = 0.02 * rng.normal(size=(count, d)) * np.arange(1, d + 1)
        return fit_calibration(vectors, weights, deviations, np.ones(count), directions)

    return fit


def test_the_leading_directions_are_kept(fit):
    data = make_vectors(2000, 10)
    few, many = fit(*data, directions=4), fit(*data)
    assert np.array_equal(few.directions, many.directions[:, :4])
    assert np.array_equal(few.back, many.back[:, :4])
    assert fit(*data, directions=1).directions.shape == (10, 1)


def test_back_undoes_the_directions(fit):
    vectors, weights = make_vectors(500, 8)
    calibration = fit(vectors, weights)
    assert calibration.directions.T @ calibration.back == pytest.approx(np.eye(8), abs=1e-9)
    assert calibration.mean + apply(calibration, vectors) @ calibration.back.T == pytest.approx(vectors, abs=1e-9)
    few = fit(vectors, weights, 3)
    # Of fewer directions the coordinates come back, not the vectors.
    again = apply(few, few.mean + apply(few, vectors) @ few.back.T)
    assert again == pytest.approx(apply(few, vectors), abs=1e-9)


def test_weights_count_like_repeated_rows(fit):
    vectors, _ = make_vectors(400, 6)
    times = np.random.default_rng(1).integers(1, 5, 400)
    weighted = fit(vectors, times)
    repeated = fit(np.repeat(vectors, times, axis=0), np.ones(times.sum(), np.int64))
    assert weighted.mean == pytest.approx(repeated.mean, abs=1e-14)
    assert np.abs(weighted.directions) == pytest.approx(np.abs(repeated.directions), rel=1e-6)


def test_constant_columns_are_left_out(fit):
    vectors, weights = make_vectors(500, 9)
    vectors[:, 2], vectors[:, 5] = 0.123, 0
    calibration = fit(vectors, weights)
    assert calibration.directions.shape == calibration.back.shape == (9, 7)
    assert (np.ptp(calibration.to_lattice(vectors), axis=0) > LATTICE_STEPS).all()


def test_fewer_groups_than_columns(fit):
    vectors, weights = make_vectors(4, 20)
    calibration = fit(vectors, weights)
    assert calibration.directions.shape == (20, 3)
    assert np.abs(calibration.to_lattice(vectors)).max() < LIMIT


def test_one_group_lies_at_the_origin(fit):
    vectors, weights = make_vectors(1, 6)
    calibration = fit(vectors, weights)
    assert np.array_equal(calibration.mean, vectors[0])
    assert calibration.directions.shape == calibration.back.shape == (6, 1)
    assert np.isfinite(calibration.directions).all()
    assert not calibration.to_lattice(vectors).any()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.0999755859375, -3.2])
def test_groups_that_are_all_the_same_lie_at_one_place(value, fit):
    vectors = np.full((300, 5), value)
    calibration = fit(vectors, np.random.default_rng(2).integers(100, 30_000, 300))
    assert np.isfinite(calibration.directions).all()
    assert np.isfinite(calibration.back).all()
    assert len(np.unique(calibration.to_lattice(vectors), axis=0)) == 1


# The lattice


def test_to_lattice_rounds_to_steps(fit):
    vectors, weights = make_vectors(2 * 8192 + 3, 4)
    calibration = fit(vectors, weights)
    points = calibration.to_lattice(vectors)
    assert points.dtype == np.int32
    assert np.abs(points - apply(calibration, vectors) * LATTICE_STEPS).max() <= 0.5 + 1e-6


def test_to_lattice_clips_at_32_deviations():
    vectors, weights = make_vectors(500, 3)
    calibration = whiten(vectors, weights)
    distances = np.array([-1e6, -33, -31, 0, 31, 33, 1e6])
    points = calibration.to_lattice(calibration.mean + distances[:, None] * calibration.back[:, 0])
    assert points[[0, 1, 5, 6], 0].tolist() == [-LIMIT, -LIMIT, LIMIT, LIMIT]
    assert points[[2, 4], 0] == pytest.approx([-31 * LATTICE_STEPS, 31 * LATTICE_STEPS], abs=2)
    assert np.abs(points).max() == LIMIT


def test_to_lattice_gives_a_row_the_same_place_in_any_block(fit):
    vectors, weights = make_vectors(8192 + 700, 32)
    calibration = fit(vectors, weights, 16)
    points = calibration.to_lattice(vectors)
    for rows in (slice(0, 1), slice(8190, 8195), slice(5, 8892), slice(0, None, 97), slice(None, None, -1)):
        assert np.array_equal(calibration.to_lattice(vectors[rows]), points[rows])
    assert calibration.to_lattice(vectors[:0]).shape == (0, 16)
    assert np.array_equal(calibration.to_lattice(np.asfortranarray(vectors)), points)
