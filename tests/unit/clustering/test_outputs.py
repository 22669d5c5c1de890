"""The files of the cluster stage, as a reader who knows only the contract finds them."""

import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import netCDF4
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mpi4py import MPI

from readclade.clustering import outputs
from readclade.clustering.groups.calibration import LATTICE_STEPS
from readclade.clustering.job import Parameters, cluster_fragments
from readclade.clustering.outputs import ResultWriter
from readclade.embedders.projection import Projection
from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.reads.batch import Batch
from readclade.results import assignments
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import write_shard

FILES = ["assignments.parquet", "binning.tsv", "clusters.h5"]
D = 6


def make_embeddings(rng, origin: np.ndarray, spread: float) -> np.ndarray:
    centres = np.random.default_rng(0).normal(0, 1, (5, D))
    values = centres[origin] + rng.normal(0, spread, (len(origin), D))
    return values.astype(np.float16).astype(np.float32)


def write_shards(folder: Path, embeddings: np.ndarray, cuts: list[int], lengths=None) -> SimpleNamespace:
    """Write shards of reads without meaning whose embeddings are given; return what a test wants to know of them."""
    rng = np.random.default_rng(0)
    count, d = embeddings.shape
    names = [f"read.{number}:{rng.integers(1000)}" for number in range(count)]
    lengths = rng.integers(30, 400, (count, 2)) if lengths is None else np.column_stack([lengths, lengths])
    reads = ["".join(rng.choice(list("ACGT"), length)) for length in lengths.ravel()]
    shards = []
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, count], strict=True)):
        batch = Batch(
            begin,
            pa.array(names[begin:end]),
            pa.array(reads[0::2][begin:end]),
            pa.array(reads[1::2][begin:end]),
            np.full(end - begin, 0.01, np.float32),
            int(lengths[begin:end].sum()),
        )
        rows = embeddings[begin:end]
        shards.append(write_shard(folder / f"shard-{number:05d}.parquet", [(batch, rows)], d))
    projection = Projection(np.zeros(d, np.float32), np.eye(d, dtype=np.float32))
    embedder = {"name": "kmer", "revision": "1", "parameters": {}, "projection": projection.to_json()}
    manifest = Manifest("gut_1", "illumina", embedder, d, "0" * 64, tuple(shards))
    manifest.write(folder / "manifest.json")
    return SimpleNamespace(
        path=folder / "manifest.json",
        folder=folder,
        names=names,
        bases=lengths.sum(axis=1),
        embeddings=embeddings,
        known=embeddings.any(axis=1),
    )


def run(sample, out: Path, k: int | None, directions: int = D, algorithm: str = "kmeans"):
    parameters = Parameters(algorithm, k, 0, directions, 3)
    cluster_fragments(MPI.COMM_SELF, [sample.path], out, parameters, ranks=1)
    with h5py.File(out / "clusters.h5") as file:
        arrays = {name: data[()] for name, data in file.items()}
        attributes = dict(file.attrs)
    assignments = {name: column.to_numpy() for name, column in read_columns(out / "assignments.parquet").items()}
    return SimpleNamespace(out=out, k=k, arrays=arrays, attributes=attributes, **assignments)


def read_columns(path: Path) -> dict[str, pa.ChunkedArray]:
    table = pq.read_table(path)
    return dict(zip(table.column_names, table.columns, strict=True))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """600 fragments in three uneven shards, five blobs of uneven size, 20 fragments about which nothing is known."""
    rng = np.random.default_rng(1)
    origin = rng.choice(5, 600, p=[0.1, 0.4, 0.2, 0.05, 0.25])
    embeddings = make_embeddings(rng, origin, 0.05)
    embeddings[rng.choice(600, 20, replace=False)] = 0
    sample = write_shards(tmp_path_factory.mktemp("shards"), embeddings, [300, 301])
    sample.origin = origin
    return sample


@pytest.fixture(scope="module")
def result(sample, tmp_path_factory):
    return run(sample, tmp_path_factory.mktemp("result"), 5)


def average_members(sample, result) -> np.ndarray:
    """Return the base-weighted mean embedding of each cluster's members."""
    return np.stack(
        [
            np.average(
                sample.embeddings[result.cluster == number].astype(np.float64),
                axis=0,
                weights=sample.bases[result.cluster == number],
            )
            for number in range(len(result.arrays["sizes"]))
        ]
    )


# clusters.h5


def test_the_files_and_nothing_else(result):
    assert sorted(path.name for path in result.out.iterdir()) == FILES


def test_clusters_h5_holds_what_the_contract_lists(sample, result):
    arrays = result.arrays
    r = arrays["calibration"].shape[1]
    assert r == D
    assert arrays["centroids"].shape == (5, D)
    assert arrays["calibrated_centroids"].shape == (5, r)
    assert arrays["sizes"].tolist() == np.bincount(result.cluster[sample.known], minlength=5).tolist()
    assert arrays["sizes"].sum() == sample.known.sum() == 580
    assert arrays["objective"].ndim == 1
    assert (np.diff(arrays["objective"]) <= 0).all()
    for name, value in {"k": 5, "seed": 0, "directions": D, "seedings": 3}.items():
        assert result.attributes[name] == value
    assert result.attributes["algorithm"] == "kmeans"
    assert "0" * 64 in result.attributes["manifests"]


def test_clusters_h5_opens_as_netcdf_with_named_dimensions(result):
    with netCDF4.Dataset(result.out / "clusters.h5") as file:
        dimensions = {name: len(dimension) for name, dimension in file.dimensions.items()}
        assert dimensions == {
            "cluster": 5,
            "dimension": D,
            "direction": D,
            "iteration": len(result.arrays["objective"]),
        }
        assert {name: file[name].dimensions for name in file.variables if name not in dimensions} == {
            "centroids": ("cluster", "dimension"),
            "calibrated_centroids": ("cluster", "direction"),
            "sizes": ("cluster",),
            "bases": ("cluster",),
            "homology": ("cluster",),
            "two_relatives": ("cluster",),
            "objective": ("iteration",),
            "mean": ("dimension",),
            "calibration": ("dimension", "direction"),
        }
        for name in file.variables:
            assert np.array_equal(file[name][:], result.arrays[name], equal_nan=True), name
        assert file.algorithm == "kmeans"
        assert file.k == 5


def test_clusters_come_by_falling_bases(sample, result):
    bases = [sample.bases[result.cluster == number].sum() for number in range(5)]
    assert result.arrays["bases"].tolist() == bases
    assert sorted(bases, reverse=True) == bases
    assert sum(bases) == sample.bases[sample.known].sum()


def test_few_long_fragments_come_before_many_short_ones(tmp_path):
    origin = np.repeat([0, 1], [30, 10])
    embeddings = make_embeddings(np.random.default_rng(3), origin, 0.05)
    sample = write_shards(tmp_path / "shards", embeddings, [], lengths=np.where(origin == 0, 50, 500))
    result = run(sample, tmp_path / "out", 2, directions=1)
    assert result.cluster.tolist() == (1 - origin).tolist()
    assert result.arrays["sizes"].tolist() == [10, 30]
    assert result.arrays["bases"].tolist() == [10_000, 3_000]


def test_centroids_are_the_base_weighted_means_of_the_members(sample, result):
    # The lattice's step in the space of the embeddings, and half of it for the rounding of points and of centroids.
    step = np.linalg.norm(np.linalg.inv(result.arrays["calibration"]), axis=0).sum() / LATTICE_STEPS
    assert np.abs(result.arrays["centroids"] - average_members(sample, result)).max() <= step
    assert step < 1e-3


def test_centroids_of_fewer_directions_are_the_means_within_their_span(sample, tmp_path):
    result = run(sample, tmp_path, 5, directions=3)
    means = average_members(sample, result)
    whitening, mean = result.arrays["calibration"], result.arrays["mean"]
    assert whitening.shape == (D, 3)
    whitened = (means - mean) @ whitening
    assert result.arrays["calibrated_centroids"] == pytest.approx(whitened, abs=1.5 / LATTICE_STEPS)
    assert (result.arrays["centroids"] - mean) @ whitening == pytest.approx(whitened, abs=1.5 / LATTICE_STEPS)
    # Nothing lies outside the span: the base-weighted mean of the whole fills the rest.
    rest = np.linalg.svd(whitening)[0][:, 3:]
    assert np.abs((result.arrays["centroids"] - mean) @ rest).max() < 1e-9
    assert np.abs((means - mean) @ rest).max() > 0.01


def test_centroids_of_blobs_that_overlap_are_the_means(tmp_path):
    rng = np.random.default_rng(4)
    sample = write_shards(tmp_path / "shards", make_embeddings(rng, rng.integers(0, 5, 900), 1.0), [450])
    result = run(sample, tmp_path / "out", 7)
    whitened = (average_members(sample, result) - result.arrays["mean"]) @ result.arrays["calibration"]
    assert result.arrays["calibrated_centroids"] == pytest.approx(whitened, abs=1.5 / LATTICE_STEPS)


def test_each_blob_is_one_cluster(sample, result):
    pairs = set(zip(sample.origin[sample.known].tolist(), result.cluster[sample.known].tolist(), strict=True))
    assert len(pairs) == 5


# assignments.parquet


def test_assignments_have_the_columns_and_types_of_the_contract(result):
    schema = pq.read_schema(result.out / "assignments.parquet")
    assert {field.name: str(field.type) for field in schema} == {
        "fragment": "int64",
        "name": "string",
        "group": "int64",
        "cluster": "int32",
        "distance": "float",
        "margin": "float",
    }
    assert schema.names == ["fragment", "name", "group", "cluster", "distance", "margin"]


def test_assignments_stand_in_the_order_of_fragments(sample, result):
    assert result.fragment.tolist() == list(range(600))
    assert result.name.tolist() == sample.names
    assert result.group.tolist() == result.fragment.tolist()  # without links every fragment is its own group


def test_assignments_measure_distance_and_margin_in_calibrated_units(sample, result):
    whitened = (sample.embeddings[sample.known] - result.arrays["mean"]) @ result.arrays["calibration"]
    distances = np.linalg.norm(whitened[:, None] - result.arrays["calibrated_centroids"], axis=2)
    nearest = np.sort(distances, axis=1)
    assert np.array_equal(distances.argmin(axis=1), result.cluster[sample.known])
    assert result.distance[sample.known] == pytest.approx(nearest[:, 0], abs=2e-3)
    assert result.margin[sample.known] == pytest.approx(nearest[:, 1] - nearest[:, 0], abs=2e-3)


def test_fragments_without_an_embedding_are_not_assigned(sample, result):
    assert (~sample.known).sum() == 20
    assert (result.cluster[~sample.known] == -1).all()
    assert np.isnan(result.distance[~sample.known]).all()
    assert np.isnan(result.margin[~sample.known]).all()
    assert (result.cluster[sample.known] >= 0).all()
    assert np.isfinite(result.distance[sample.known]).all()


def test_one_cluster_has_no_margin(sample, tmp_path):
    result = run(sample, tmp_path, 1)
    assert np.isnan(result.margin).all()
    assert result.arrays["sizes"].tolist() == [580]
    assert np.isfinite(result.distance[sample.known]).all()


# binning.tsv


def test_binning_is_as_the_contract_says(sample, result):
    lines = (result.out / "binning.tsv").read_text().splitlines()
    assert lines[:3] == ["@Version:0.9.1", "@SampleID:gut_1", "@@SEQUENCEID\tBINID"]
    rows = [tuple(line.split("\t")) for line in lines[3:]]
    expected = zip(sample.names, result.cluster.tolist(), strict=True)
    assert rows == [(name, f"c{cluster + 1}") for name, cluster in expected if cluster >= 0]
    assert len(rows) == 580
    assert {label for _, label in rows} == {"c1", "c2", "c3", "c4", "c5"}
    assert all(re.fullmatch(r"c[1-9][0-9]*", label) for _, label in rows)


# Small and odd samples


def test_one_fragment(tmp_path):
    sample = write_shards(tmp_path / "shards", np.full((1, D), 0.5, np.float32), [])
    result = run(sample, tmp_path / "out", 1)
    assert result.cluster.tolist() == [0]
    assert result.distance.tolist() == [0]
    assert np.isnan(result.margin).all()
    assert result.arrays["centroids"].tolist() == [[0.5] * D]
    assert result.arrays["sizes"].tolist() == [1]
    assert (tmp_path / "out/binning.tsv").read_text().splitlines()[3:] == [f"{sample.names[0]}\tc1"]
    with netCDF4.Dataset(tmp_path / "out/clusters.h5") as file:
        assert file["centroids"].shape == (1, D)


def test_fragments_that_are_all_the_same(tmp_path):
    sample = write_shards(tmp_path / "shards", np.full((40, D), 0.1, np.float16).astype(np.float32), [10])
    result = run(sample, tmp_path / "one", 1)
    assert result.cluster.tolist() == [0] * 40
    assert result.arrays["centroids"][0] == pytest.approx(sample.embeddings[0], abs=1e-12)
    with pytest.raises(ConfigError, match="k = 2 is larger than the number of different fragments, 1"):
        run(sample, tmp_path / "two", 2)
    assert list_files(tmp_path / "two") == ["checkpoint"]


def test_fragments_without_links_are_one_cluster_where_k_is_found(sample, tmp_path):
    result = run(sample, tmp_path, None)
    assert set(result.cluster[sample.known]) == {0}
    assert set(result.cluster[~sample.known]) == {-1}
    assert result.arrays["sizes"].tolist() == [580]
    assert len(result.arrays["objective"]) == 0
    assert result.attributes["k"] == "auto"
    assert result.arrays["centroids"] == pytest.approx(average_members(sample, result), abs=1e-3)


def test_fragments_without_links_are_in_no_cluster_of_lsh(sample, tmp_path):
    result = run(sample, tmp_path, None, algorithm="lsh")
    assert set(result.cluster) == {-1}
    assert np.isnan(result.distance).all()
    assert result.arrays["centroids"].shape == (0, D)
    assert result.arrays["sizes"].shape == result.arrays["bases"].shape == (0,)
    assert len((tmp_path / "binning.tsv").read_text().splitlines()) == 3
    with netCDF4.Dataset(tmp_path / "clusters.h5") as file:
        assert file["centroids"].shape == (0, D)


def test_a_shard_without_anything_known(tmp_path):
    embeddings = make_embeddings(np.random.default_rng(2), np.repeat([0, 1], 20), 0.05)
    embeddings[10:20] = 0
    sample = write_shards(tmp_path / "shards", embeddings, [10, 20])
    result = run(sample, tmp_path / "out", 2, directions=1)
    assert (result.cluster[10:20] == -1).all()
    assert sorted(result.arrays["sizes"].tolist()) == [10, 20]


def test_nothing_known_at_all_is_refused(tmp_path):
    sample = write_shards(tmp_path / "shards", np.zeros((5, D), np.float32), [])
    with pytest.raises(InputError, match="none of the 5 fragments holds anything that could be embedded"):
        run(sample, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_refused(value, tmp_path):
    embeddings = np.ones((5, D), np.float32)
    embeddings[3, 2] = value
    sample = write_shards(tmp_path / "shards", embeddings, [2])
    with pytest.raises(ReadcladeError, match=r"shard-00001\.parquet.*no numbers"):
        run(sample, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_a_manifest_without_shards_is_refused(sample, tmp_path):
    text = sample.path.read_text()
    (tmp_path / "manifest.json").write_text(re.sub(r'"shards": \[.*\]', '"shards": []', text, flags=re.DOTALL))
    with pytest.raises(ReadcladeError, match="holds no shards"):
        cluster_fragments(
            MPI.COMM_SELF, [tmp_path / "manifest.json"], tmp_path / "out", Parameters("kmeans", 1, 0, 1, 1)
        )


# Files that exist whole or not at all


def make_table(count: int = 3) -> pa.Table:
    return pa.table(
        {
            "fragment": np.arange(count),
            "name": [f"r{number}" for number in range(count)],
            "group": np.arange(count),
            "cluster": np.array([0, -1, 1][:count], np.int32),
            "distance": np.ones(count, np.float32),
            "margin": np.ones(count, np.float32),
        }
    )


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_result_writer_gives_names_at_finish_only(tmp_path):
    writer = ResultWriter(tmp_path, "s")
    writer.add(make_table())
    writer.add(make_table(1))
    assert all(name.startswith(".") and name.endswith(".tmp") for name in list_files(tmp_path))
    writer.finish()
    writer.close()  # does nothing any more
    assert list_files(tmp_path) == ["assignments.parquet", "binning.tsv"]
    assert pq.read_table(tmp_path / "assignments.parquet").num_rows == 4
    assert (tmp_path / "binning.tsv").read_text().splitlines()[3:] == ["r0\tc1", "r2\tc2", "r0\tc1"]


def test_result_writer_leaves_nothing_when_it_is_closed_unfinished(tmp_path):
    writer = ResultWriter(tmp_path, "s")
    writer.add(make_table())
    writer.close()
    assert list_files(tmp_path) == []


def test_result_writer_leaves_nothing_when_a_table_does_not_fit(tmp_path):
    writer = ResultWriter(tmp_path, "s")
    writer.add(make_table())
    with pytest.raises(ValueError, match="names"):
        writer.add(make_table().drop_columns(["margin"]))
    writer.close()
    assert list_files(tmp_path) == []


def test_result_writer_leaves_nothing_when_it_cannot_begin(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(assignments.pq, "ParquetWriter", fail)
    with pytest.raises(OSError, match="No space left"):
        ResultWriter(tmp_path, "s")
    assert list_files(tmp_path) == []


def test_result_writer_keeps_an_older_result_until_it_finishes(tmp_path):
    (tmp_path / "binning.tsv").write_text("older")
    writer = ResultWriter(tmp_path, "s")
    writer.close()
    assert list_files(tmp_path) == ["binning.tsv"]
    assert (tmp_path / "binning.tsv").read_text() == "older"


@pytest.mark.parametrize("name", ["write_clusters", "_make_table"])
def test_a_job_that_fails_while_it_writes_leaves_nothing(name, sample, tmp_path, monkeypatch):
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        raise OSError("No space left on device")

    monkeypatch.setattr(outputs, name, fail)
    with pytest.raises(OSError, match="No space left"):
        run(sample, tmp_path, 2)
    monkeypatch.undo()
    assert len(calls) == 1
    assert list_files(tmp_path) == ["checkpoint"]
    run(sample, tmp_path, 2)
    assert list_files(tmp_path) == FILES


def test_a_damaged_shard_is_named(tmp_path):
    sample = write_shards(tmp_path / "shards", np.ones((6, D), np.float32), [2, 4])
    path = tmp_path / "shards/shard-00001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReadcladeError, match=r"shard-00001\.parquet: is damaged"):
        run(sample, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()
