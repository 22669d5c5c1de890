"""The map from an embedder's columns to those of a shard."""

import json

import numpy as np
import pyarrow as pa
import pytest

from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import Projection, fit_projection
from readclade.errors import InputError


@pytest.fixture(scope="module")
def vectors(take_reads) -> np.ndarray:
    """Return the 4-mer frequencies of 300 pairs."""
    reads = [[sequence for _, sequence, _ in take_reads(f"pairs_{mate}.fastq.gz", 300)] for mate in (1, 2)]
    return KmerEmbedder(4).embed(pa.array(reads[0]), pa.array(reads[1]))


def assert_same_bits(first: Projection, second: Projection):
    for name in ("mean", "components"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == b.dtype == np.float32
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("d", [1, 32, 136])
def test_to_json_round_trip_keeps_every_bit(vectors, d):
    projection = fit_projection(vectors, d, True)
    text = json.dumps(projection.to_json())
    assert_same_bits(Projection.from_json(json.loads(text)), projection)


def test_to_json_round_trip_keeps_extreme_values():
    projection = Projection(
        np.array([1e-45, -0.0, 3.4e38], np.float32), np.array([[1 / 3], [1e-38], [-2.5]], np.float32)
    )
    assert_same_bits(Projection.from_json(projection.to_json()), projection)


def test_from_json_unknown_method_is_refused(vectors):
    value = fit_projection(vectors, 4, True).to_json() | {"method": "magic"}
    with pytest.raises(InputError, match="unknown projection method 'magic'") as caught:
        Projection.from_json(value)
    assert caught.value.remedy == "run `embed` again"


@pytest.mark.parametrize("is_composition", [True, False])
def test_apply_equals_the_formula_at_float16_precision(vectors, is_composition):
    projection = fit_projection(vectors, 32, is_composition)
    projected = projection.apply(vectors)
    assert projected.shape == (300, 32)
    assert projected.dtype == np.float32
    np.testing.assert_array_equal(projected, projected.astype(np.float16))
    exact = (vectors.astype(np.float64) - projection.mean) @ projection.components.astype(np.float64)
    np.testing.assert_allclose(projected, exact, rtol=2**-10, atol=2**-22)


def test_apply_row_of_nan_becomes_zeros(vectors):
    projection = fit_projection(vectors, 8, True)
    broken = vectors[:5].copy()
    broken[[0, 3]] = np.nan
    projected = projection.apply(broken)
    assert (projected[[0, 3]] == 0).all()
    np.testing.assert_array_equal(projected[[1, 2, 4]], projection.apply(vectors[:5])[[1, 2, 4]])


@pytest.mark.parametrize("size", [1, 7, 299])
def test_apply_in_other_batches_gives_the_same_bits(vectors, size):
    projection = fit_projection(vectors, 32, True)
    parts = [projection.apply(vectors[begin : begin + size]) for begin in range(0, len(vectors), size)]
    assert np.concatenate(parts).tobytes() == projection.apply(vectors).tobytes()


def test_apply_no_rows(vectors):
    assert fit_projection(vectors, 8, True).apply(vectors[:0]).shape == (0, 8)


def test_fit_leaves_out_rows_of_nan(vectors):
    with_nan = np.insert(vectors, [0, 7, 300], np.nan, axis=0)
    assert_same_bits(fit_projection(with_nan, 8, True), fit_projection(vectors, 8, True))


def test_fit_is_deterministic(vectors):
    assert_same_bits(fit_projection(vectors.copy(), 32, True), fit_projection(vectors, 32, True))


def test_fit_keeps_the_first_directions_when_d_grows(vectors):
    few, many = fit_projection(vectors, 5, True), fit_projection(vectors, 50, True)
    np.testing.assert_array_equal(many.components[:, :5], few.components)


@pytest.mark.parametrize("is_composition", [True, False])
def test_fit_directions_are_orthonormal_in_the_scaled_space(vectors, is_composition):
    projection = fit_projection(vectors, 32, is_composition)
    mean = vectors.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(projection.mean, mean, rtol=1e-6)
    scale = 1 / np.sqrt(np.maximum(mean, 0.1 / 136)) if is_composition else np.ones(136)
    directions = projection.components / scale[:, None]
    np.testing.assert_allclose(directions.T @ directions, np.eye(32), atol=1e-5)


def test_fit_keeps_most_of_the_variance(vectors):
    """The kept directions are uncorrelated, in falling order, and those of a singular value decomposition."""
    projection = fit_projection(vectors, 10, False)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    projected = centred @ projection.components
    covariance = projected.T @ projected
    values = np.linalg.svd(centred, compute_uv=False)[:10] ** 2
    np.testing.assert_allclose(np.diag(covariance), values, rtol=1e-5)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-5 * values[0]


def test_fit_sign_of_a_direction_is_fixed_by_its_largest_entry(vectors):
    components = fit_projection(vectors, 32, False).components
    assert (components[np.abs(components).argmax(axis=0), np.arange(32)] > 0).all()


def test_fit_d_larger_than_the_columns_keeps_all_distances(vectors):
    projection = fit_projection(vectors, 1000, False)
    assert projection.d == 136
    projected = (vectors - projection.mean).astype(np.float64) @ projection.components
    distances = np.linalg.norm(vectors[:50, None] - vectors[None, :50], axis=2)
    np.testing.assert_allclose(
        np.linalg.norm(projected[:50, None] - projected[None, :50], axis=2), distances, atol=1e-5
    )


@pytest.mark.parametrize("is_composition", [True, False])
@pytest.mark.parametrize("case", ["one fragment", "identical fragments", "all NaN"])
def test_fit_without_variation_gives_finite_zeros(vectors, case, is_composition):
    rows = {
        "one fragment": vectors[:1],
        "identical fragments": np.repeat(vectors[:1], 9, axis=0),
        "all NaN": np.full((3, 136), np.nan, np.float32),
    }[case]
    projection = fit_projection(rows, 32, is_composition)
    assert projection.d == 32
    assert np.isfinite(projection.components).all()
    assert np.isfinite(projection.mean).all()
    np.testing.assert_allclose(projection.apply(rows), 0, atol=1e-5)
    # What comes later, and is different, must stay within float16.
    assert np.isfinite(projection.apply(vectors)).all()


def test_fit_unseen_kmer_gets_a_bounded_weight():
    vectors = np.zeros((10, 136), np.float32)
    vectors[:, 0] = 1
    projection = fit_projection(vectors, 136, True)
    assert np.abs(projection.components).max() <= 1 / np.sqrt(0.1 / 136) * (1 + 1e-6)
