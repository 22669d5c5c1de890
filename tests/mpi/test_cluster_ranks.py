"""cluster_fragments.py on several ranks: the same bytes on any number, and no rank left waiting when one fails."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.mpi

FILES = ["assignments.parquet", "binning.tsv", "clusters.h5"]


def read_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def assert_refused(done, out: Path, code: int, *texts: str):
    """All ranks ended, the error was told once and without a traceback, and no file is left."""
    assert done.returncode == code, done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for text in (*texts, "remedy:"):
        assert text in done.stderr
    assert not out.exists() or list(out.iterdir()) == []


@pytest.fixture(scope="module")
def alone(cluster, manifests, tmp_path_factory):
    """Return a function that gives the result of one rank without mpiexec."""
    results = {}

    def run(*samples: str) -> Path:
        if samples not in results:
            out = tmp_path_factory.mktemp("alone")
            done = cluster(0, [manifests[sample] for sample in samples], out, "--k", 8)
            assert done.returncode == 0, done.stderr
            results[samples] = out
        return results[samples]

    return run


@pytest.fixture
def main(repository, monkeypatch, capsys):
    """Return a function that runs the script as the only rank within this process: far faster than a launch."""

    def run(manifest: Path, out: Path, *arguments: str) -> SimpleNamespace:
        script = repository / "scripts/cluster_fragments.py"
        monkeypatch.setattr("sys.argv", [str(script), "--manifest", str(manifest), "--out", str(out), *arguments])
        code = 0
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            code = end.code
        return SimpleNamespace(returncode=code, stderr=capsys.readouterr().err)

    return run


def keep_shard(manifest: Path, number: int) -> Path:
    """Drop the other shards from a manifest."""
    value = json.loads(manifest.read_text())
    value["shards"] = [value["shards"][number] | {"first_fragment": 0}]
    manifest.write_text(json.dumps(value))
    return manifest


# The same result


@pytest.mark.parametrize(
    ("ranks", "samples"),
    [
        (1, ["pairs"]),
        (2, ["pairs"]),
        (3, ["pairs"]),
        (4, ["pairs"]),  # the last rank holds nothing but fragments without an embedding
        (2, ["pairs", "long"]),
        (4, ["pairs", "long"]),
        (3, ["long"]),  # the last rank holds no shard
    ],
)
def test_results_are_the_same_on_any_number_of_ranks(ranks, samples, alone, cluster, manifests, tmp_path):
    expected = read_files(alone(*samples))
    assert list(expected) == FILES
    done = cluster(ranks, [manifests[sample] for sample in samples], tmp_path, "--k", 8, "--ranks", ranks)
    assert done.returncode == 0, done.stderr
    assert f"on {ranks} ranks" in done.stderr
    assert done.stderr.count("shards on") == 1  # one rank alone reports
    result = read_files(tmp_path)
    assert list(result) == FILES
    for name in FILES:
        assert result[name] == expected[name], f"{name} differs"


def test_another_seed_gives_another_result(alone, main, manifests, tmp_path):
    assert main(manifests["pairs"], tmp_path, "--k=8", "--seedings=2").returncode == 0
    assert read_files(tmp_path) == read_files(alone("pairs"))
    assert main(manifests["pairs"], tmp_path, "--k=8", "--seedings=2", "--seed=1").returncode == 0
    assert read_files(tmp_path)["assignments.parquet"] != read_files(alone("pairs"))["assignments.parquet"]


def test_fragments_without_an_embedding_are_left_unassigned(alone):
    out = alone("pairs")
    table = pq.read_table(out / "assignments.parquet").to_pydict()
    clusters, unknown = np.array(table["cluster"]), np.arange(601, 621)
    assert np.flatnonzero(clusters == -1).tolist() == unknown.tolist()
    assert np.isnan(np.array(table["distance"])[unknown]).all()
    assert np.isnan(np.array(table["margin"])[unknown]).all()
    rows = [line.split("\t")[0] for line in (out / "binning.tsv").read_text().splitlines()[3:]]
    assert rows == [name for name, cluster in zip(table["name"], clusters, strict=True) if cluster >= 0]
    assert len(rows) == 680


def test_two_manifests_are_numbered_one_after_the_other(alone, manifests):
    table = pq.read_table(alone("pairs", "long") / "assignments.parquet").to_pydict()
    assert table["fragment"] == list(range(850))
    assert table["name"][699:701] == ["pairs.000700", "long.000001"]
    with h5py.File(alone("pairs", "long") / "clusters.h5") as file:
        prints = [json.loads(manifests[sample].read_text())["fingerprint"] for sample in ("pairs", "long")]
        assert json.loads(file.attrs["manifests"]) == sorted(prints)
        assert file["sizes"][()].sum() == 830


def test_one_fragment(cluster, manifests, copy_manifest, tmp_path):
    path = keep_shard(copy_manifest("pairs"), 1)
    done = cluster(2, path, tmp_path / "out", "--k", 1, "--ranks", 2)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out/assignments.parquet").to_pydict()
    assert table["cluster"] == [0]
    assert table["distance"] == [0]


def test_k_above_one_fragment_is_refused(main, manifests, copy_manifest, tmp_path):
    path = keep_shard(copy_manifest("pairs"), 1)
    done = main(path, tmp_path / "out", "--k=2")
    assert_refused(done, tmp_path / "out", 2, "k = 2", "the number of fragments, 1")


def test_fragments_of_which_nothing_is_known_are_refused(main, manifests, copy_manifest, tmp_path):
    path = keep_shard(copy_manifest("pairs"), 3)
    done = main(path, tmp_path / "out", "--k=1")
    assert_refused(
        done,
        tmp_path / "out",
        1,
        "fragments holds anything that could be embedded",
        "longer than the embedder's k-mers",
    )


# What is refused


@pytest.mark.parametrize(("ranks", "expected"), [(2, 3), (0, 2)])
def test_a_wrong_number_of_ranks_is_refused(ranks, expected, cluster, manifests, tmp_path):
    done = cluster(ranks, manifests["pairs"], tmp_path / "out", "--k", 8, "--ranks", expected)
    found = max(ranks, 1)
    assert_refused(done, tmp_path / "out", 1, f"expected {expected} MPI ranks but found {found}", "srun --mpi=pmi2")


def test_k_auto_is_refused_until_it_can_be_found(cluster, manifests, tmp_path):
    done = cluster(2, manifests["pairs"], tmp_path / "out", "--k", "auto", "--ranks", 2)
    assert_refused(done, tmp_path / "out", 2, "automatically", "--k")


@pytest.mark.parametrize("k", ["0", "abc", "-1", "1.5", ""])
def test_k_that_is_no_number_of_clusters_is_refused(k, main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", f"--k={k}")
    assert_refused(done, tmp_path / "out", 2, f"k = {k} is no number of clusters", "at least 1")


def test_k_above_the_number_of_fragments_is_refused_naming_both(cluster, manifests, tmp_path):
    done = cluster(2, manifests["pairs"], tmp_path / "out", "--k", 701)
    assert_refused(done, tmp_path / "out", 2, "k = 701", "the number of fragments, 700", "smaller")


def test_k_above_the_number_of_known_fragments_is_refused_naming_both(main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", "--k=690")
    assert_refused(done, tmp_path / "out", 2, "k = 690", "that can be clustered, 680", "smaller")


@pytest.mark.parametrize("argument", ["--directions=0", "--seedings=0", "--seed=-1"])
def test_numbers_out_of_range_are_refused(argument, main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", "--k=2", argument)
    assert_refused(done, tmp_path / "out", 2, argument.partition("=")[0])


def test_manifests_of_two_projections_are_refused_by_name(cluster, manifests, tmp_path):
    both = [manifests["pairs"], manifests["other"]]
    done = cluster(2, both, tmp_path / "out", "--k", 8)
    assert_refused(done, tmp_path / "out", 1, f"{both[1]}: was embedded otherwise than {both[0]}", "one projection")


def test_a_missing_manifest_is_refused(main, tmp_path):
    done = main(tmp_path / "manifest.json", tmp_path / "out", "--k=8")
    assert_refused(done, tmp_path / "out", 1, f"{tmp_path}/manifest.json: cannot be read: No such file", "run `embed`")


# Failures on one rank


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_shard_of_the_last_rank_ends_all(damage, cluster, copy_manifest, tmp_path):
    path = copy_manifest("pairs")
    shard = path.parent / "shard-00002.parquet"  # of five shards on three ranks, the last rank's only one
    if damage == "flip":
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    else:
        shard.unlink()
    done = cluster(3, path, tmp_path / "out", "--k", 8, "--ranks", 3)
    what = {"flip": "is damaged", "delete": "is missing"}[damage]
    assert_refused(done, tmp_path / "out", 1, f"{shard}: {what}", "delete it and run the workflow again")


@pytest.mark.parametrize("function", ["_load_part", "_make_table"])
def test_a_bug_on_one_rank_ends_all(function, launch, repository, manifests, tmp_path):
    # Without `python -m mpi4py` the other ranks would wait for this one for ever.
    program, script = Path(__file__).with_name("fail_on_last_rank.py"), repository / "scripts/cluster_fragments.py"
    out = tmp_path / "out"
    done = launch(3, program, function, script, "--manifest", manifests["pairs"], "--out", out, "--k", 8)
    assert done.returncode not in (0, 2)
    assert done.stderr.count("ZeroDivisionError: a bug on the last rank") == 1
    # Where the bug comes while rank 0 writes, that rank is killed: a temporary may stay, a result may not.
    assert not [name for name in FILES if (out / name).exists()]
