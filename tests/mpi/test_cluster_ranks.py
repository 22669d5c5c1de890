"""cluster_fragments.py on several ranks: the same bytes on any number, and no rank left waiting when one fails."""

import json
import runpy
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from readclade.shards.manifest import read_manifest
from readclade.storage.files import hash_file
from tests.mpi.run_clusterings import JOBS, WITH_OVERLAPS

pytestmark = pytest.mark.mpi

FILES = ["assignments.parquet", "binning.tsv", "clusters.h5"]


def read_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def read_table(out: Path) -> SimpleNamespace:
    columns = pq.read_table(out / "assignments.parquet").to_pydict()
    return SimpleNamespace(**{name: np.array(values) for name, values in columns.items()})


def assert_refused(done, out: Path, code: int, *texts: str):
    """All ranks ended, the error was told once and without a traceback, and no result is left."""
    assert done.returncode == code, done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for text in (*texts, "remedy:"):
        assert text in done.stderr
    assert not out.exists() or [path.name for path in out.iterdir()] in ([], ["checkpoint"])


@pytest.fixture(scope="module")
def run_jobs(launch, manifests):
    """Return a function that runs jobs of run_clusterings.py into folders of their names."""

    def run(ranks: int, out: Path, *jobs: str) -> Path:
        program = Path(__file__).with_name("run_clusterings.py")
        done = launch(ranks, program, out, manifests["pairs"].parents[1], *jobs)
        assert done.returncode == 0, done.stderr
        return out

    return run


@pytest.fixture(scope="module")
def alone(run_jobs, tmp_path_factory):
    """Return the folder with the results of one rank."""
    return run_jobs(0, tmp_path_factory.mktemp("alone"), *JOBS)


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
    ("ranks", "jobs"),
    [
        (1, ["auto"]),
        (2, JOBS),
        (3, ["auto", "lsh", "unlinked", "long", "sparse"]),  # of the last two, the last rank holds no shard
        (4, ["auto", "given", "lsh", "two", "sparse"]),  # of `linked`, the last rank holds no shard
        (8, ["auto", "given", "lsh", "sparse"]),
    ],
)
def test_results_are_the_same_on_any_number_of_ranks(ranks, jobs, alone, run_jobs, tmp_path):
    run_jobs(ranks, tmp_path, *jobs)
    for job in jobs:
        expected, result = read_files(alone / job), read_files(tmp_path / job)
        files = FILES + ["overlaps.paf.gz"] * (job in WITH_OVERLAPS)
        assert list(expected) == list(result) == files
        for name in files:
            assert result[name] == expected[name], f"{name} of {job} differs"


def test_the_script_gives_the_same_result(alone, cluster, manifests, tmp_path):
    done = cluster(2, manifests["linked"], tmp_path, "--ranks", 2)
    assert done.returncode == 0, done.stderr
    assert read_files(tmp_path) == read_files(alone / "auto")
    assert done.stderr.count("3 shards on 2 ranks") == 1  # one rank alone reports


# What the results are


def test_two_genomes_are_two_clusters(alone):
    table = read_table(alone / "auto")
    assert set(table.cluster) == {-1, 0, 1}
    unknown = np.arange(2000, 2010)
    assert (table.cluster[unknown] == -1).all()
    assert (table.cluster >= 0).sum() >= 3980
    # Copies of a fragment are in its group.
    assert np.array_equal(table.group[3000:3010], table.group[:10])
    # Every group is whole in one cluster, and named after its smallest fragment.
    for group in np.unique(table.group):
        inside = np.flatnonzero(table.group == group)
        assert inside[0] == group
        assert len(set(table.cluster[inside])) == 1


def test_a_given_number_is_obeyed(alone):
    for job, k in (("given", 3), ("many", 20), ("unlinked", 8), ("long", 2)):
        assert set(read_table(alone / job).cluster) - {-1} == set(range(k))


def test_every_group_is_a_cluster_of_lsh(alone):
    for job in ("lsh", "long_lsh"):
        table = read_table(alone / job)
        sizes = dict(zip(*np.unique(table.group, return_counts=True), strict=True))
        unknown = range(2000, 2010) if job == "lsh" else ()
        for group in sizes:
            inside = np.setdiff1d(np.flatnonzero(table.group == group), unknown)
            clusters = set(table.cluster[inside])
            assert len(clusters) == 1 or not len(inside)
            assert (sizes[group] < 2) == (clusters <= {-1})
        assert len(set(table.cluster) - {-1}) == sum(size > 1 for size in sizes.values())


def test_another_seed_gives_another_result(alone, main, manifests, tmp_path):
    assert main(manifests["pairs"], tmp_path, "--k=8", "--seedings=2").returncode == 0
    assert read_files(tmp_path) == read_files(alone / "unlinked")
    assert main(manifests["pairs"], tmp_path, "--k=8", "--seedings=2", "--seed=1").returncode == 0
    assert read_files(tmp_path)["assignments.parquet"] != read_files(alone / "unlinked")["assignments.parquet"]


def test_fragments_without_an_embedding_are_left_unassigned(alone):
    table, unknown = read_table(alone / "unlinked"), np.arange(601, 621)
    assert np.flatnonzero(table.cluster == -1).tolist() == unknown.tolist()
    assert np.isnan(table.distance[unknown]).all()
    assert np.isnan(table.margin[unknown]).all()
    rows = [line.split("\t")[0] for line in (alone / "unlinked/binning.tsv").read_text().splitlines()[3:]]
    assert rows == table.name[table.cluster >= 0].tolist()
    assert len(rows) == 680


def test_two_manifests_are_numbered_one_after_the_other(alone, manifests):
    table = read_table(alone / "two")
    assert table.fragment.tolist() == list(range(4700))
    assert table.name[699:701].tolist() == ["pairs.000700", "linked.0"]
    with h5py.File(alone / "two/clusters.h5") as file:
        prints = [read_manifest(manifests[sample]).fingerprint for sample in ("pairs", "linked")]
        assert json.loads(file.attrs["manifests"]) == sorted(prints)
        assert file["sizes"][()].sum() == (table.cluster >= 0).sum()


def test_long_reads_without_any_link_take_part(main, manifests, alone, tmp_path):
    table = read_table(alone / "sparse")
    assert len(set(table.group)) == 114
    assert len(set(table.cluster)) == 2
    done = main(manifests["sparse"], tmp_path, "--seedings=2")
    assert "114 groups, 16 directions, calibrated" in done.stderr  # by their halves
    assert "114 groups to find clusters from" in done.stderr
    assert read_files(tmp_path) == read_files(alone / "sparse")


def test_one_fragment_is_one_cluster(cluster, main, copy_manifest, tmp_path):
    path = keep_shard(copy_manifest("pairs"), 1)
    for name, done in (("auto", cluster(2, path, tmp_path / "auto")), ("one", main(path, tmp_path / "one", "--k=1"))):
        assert done.returncode == 0, done.stderr
        table = read_table(tmp_path / name)
        assert table.cluster.tolist() == table.distance.tolist() == [0]
        assert np.isnan(table.margin).all()


def test_one_fragment_is_in_no_cluster_of_lsh(main, copy_manifest, tmp_path):
    done = main(keep_shard(copy_manifest("pairs"), 1), tmp_path / "out", "--algorithm=lsh")
    assert done.returncode == 0, done.stderr
    assert read_table(tmp_path / "out").cluster.tolist() == [-1]


@pytest.mark.parametrize("platform", ["illumina", "ont"])
def test_reads_that_are_all_the_same_are_one_cluster(platform, cluster, main, make_sample, take_reads, tmp_path):
    read = take_reads("long.fastq.gz", 1)[0][1][: 150 if platform == "illumina" else 5000]
    path = make_sample([(read, "")] * 40, [30, 10], platform)
    done = cluster(3, path, tmp_path / "auto") if platform == "illumina" else main(path, tmp_path / "auto")
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "auto")
    assert table.cluster.tolist() == table.group.tolist() == [0] * 40
    assert main(path, tmp_path / "lsh", "--algorithm=lsh").returncode == 0
    assert read_table(tmp_path / "lsh").cluster.tolist() == [0] * 40
    assert_refused(main(path, tmp_path / "out", "--k=2"), tmp_path / "out", 2, "k = 2", "number of groups")


def test_reads_without_any_link_are_one_cluster(cluster, main, make_sample, tmp_path):
    rng = np.random.default_rng(0)
    path = make_sample([("".join(rng.choice(list("ACGT"), 100)), "") for _ in range(60)], [20, 40])
    done = cluster(2, path, tmp_path / "auto")
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "auto")
    assert table.cluster.tolist() == [0] * 60
    assert table.group.tolist() == list(range(60))
    assert main(path, tmp_path / "lsh", "--algorithm=lsh").returncode == 0
    assert read_table(tmp_path / "lsh").cluster.tolist() == [-1] * 60


# What is refused


def test_k_above_one_fragment_is_refused(main, copy_manifest, tmp_path):
    done = main(keep_shard(copy_manifest("pairs"), 1), tmp_path / "out", "--k=2")
    assert_refused(done, tmp_path / "out", 2, "k = 2", "the number of fragments, 1")


def test_fragments_of_which_nothing_is_known_are_refused(cluster, copy_manifest, tmp_path):
    done = cluster(2, keep_shard(copy_manifest("pairs"), 3), tmp_path / "out")
    what = "none of the 20 fragments holds anything that could be embedded"
    assert_refused(done, tmp_path / "out", 1, what, "longer than the embedder's k-mers")


@pytest.mark.parametrize(("ranks", "expected"), [(2, 3), (0, 2)])
def test_a_wrong_number_of_ranks_is_refused(ranks, expected, cluster, manifests, tmp_path):
    done = cluster(ranks, manifests["pairs"], tmp_path / "out", "--ranks", expected)
    found = max(ranks, 1)
    assert_refused(done, tmp_path / "out", 1, f"expected {expected} MPI ranks but found {found}", "srun --mpi=pmi2")


def test_lsh_refuses_a_number_of_clusters(main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", "--algorithm=lsh", "--k=3")
    assert_refused(done, tmp_path / "out", 2, "lsh makes as many clusters as there are groups", "auto")


@pytest.mark.parametrize("k", ["0", "abc", "-1", "1.5", ""])
def test_k_that_is_no_number_of_clusters_is_refused(k, main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", f"--k={k}")
    assert_refused(done, tmp_path / "out", 2, f"k = {k} is no number of clusters", "give auto")


def test_k_above_the_number_of_fragments_is_refused_naming_both(cluster, manifests, tmp_path):
    done = cluster(2, manifests["pairs"], tmp_path / "out", "--k", 701)
    assert_refused(done, tmp_path / "out", 2, "k = 701", "the number of fragments, 700", "smaller")


def test_k_above_the_number_of_groups_is_refused_naming_both(main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", "--k=690")
    assert_refused(done, tmp_path / "out", 2, "k = 690", "that can be clustered, 629", "smaller")


@pytest.mark.parametrize("argument", ["--directions=0", "--seedings=0", "--seed=-1"])
def test_numbers_out_of_range_are_refused(argument, main, manifests, tmp_path):
    done = main(manifests["pairs"], tmp_path / "out", "--k=2", argument)
    assert_refused(done, tmp_path / "out", 2, argument.partition("=")[0])


def test_manifests_of_two_projections_are_refused_by_name(cluster, manifests, tmp_path):
    both = [manifests["pairs"], manifests["other"]]
    done = cluster(2, both, tmp_path / "out")
    assert_refused(done, tmp_path / "out", 1, f"{both[1]}: was embedded otherwise than {both[0]}", "one projection")


def test_manifests_of_two_platforms_are_refused_by_name(cluster, manifests, tmp_path):
    both = [manifests["pairs"], manifests["long"]]
    done = cluster(2, both, tmp_path / "out")
    assert_refused(done, tmp_path / "out", 1, f"{both[1]}: is of platform ont, but {both[0]} of illumina", "one by one")


def test_manifests_of_two_sizes_of_vectors_are_refused_by_name(main, manifests, copy_manifest, tmp_path):
    path = copy_manifest("pairs")
    replace(read_manifest(path), d=7).write(path)
    done = main(manifests["pairs"], tmp_path / "out", "--manifest", str(manifests["pairs"]), str(path))
    assert_refused(done, tmp_path / "out", 1, f"{path}: was embedded otherwise than {manifests['pairs']}")


def test_a_missing_manifest_is_refused(main, tmp_path):
    done = main(tmp_path / "manifest.json", tmp_path / "out", "--k=8")
    assert_refused(done, tmp_path / "out", 1, f"{tmp_path}/manifest.json: cannot be read: No such file", "run `embed`")


# Failures on one rank


def change_embeddings(path: Path, number: int, change) -> Path:
    """Overwrite a shard's embeddings, and give it the checksum of its new file."""
    manifest = read_manifest(path)
    shard = path.parent / manifest.shards[number].file
    table = pq.read_table(shard)
    values = table.column("embedding").combine_chunks().flatten().to_numpy().reshape(-1, manifest.d).copy()
    values = change(values)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    place = table.schema.get_field_index("embedding")
    pq.write_table(table.set_column(place, table.schema.field(place).with_type(column.type), column), shard)
    shards = list(manifest.shards)
    shards[number] = replace(shards[number], bytes=shard.stat().st_size, sha256=hash_file(shard))
    replace(manifest, shards=tuple(shards)).write(path)
    return shard


def test_vectors_that_are_no_numbers_on_the_last_rank_end_all(cluster, copy_manifest, tmp_path):
    def change(values: np.ndarray) -> np.ndarray:
        values[7, 3], values[8, 0] = np.nan, -np.inf
        return values

    path = copy_manifest("pairs")
    shard = change_embeddings(path, 2, change)
    done = cluster(3, path, tmp_path / "out")
    assert_refused(done, tmp_path / "out", 1, f"{shard}: holds embeddings that are no numbers", "run `embed` again")


def test_a_shard_of_shorter_vectors_ends_all(cluster, copy_manifest, tmp_path):
    path = copy_manifest("pairs")
    shard = change_embeddings(path, 1, lambda values: values[:, :20])
    done = cluster(2, path, tmp_path / "out")
    assert_refused(done, tmp_path / "out", 1, f"{shard}: column embedding is fixed_size_list", "[20], expected", "[24]")


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_shard_ends_all(damage, cluster, main, copy_manifest, tmp_path):
    path = copy_manifest("pairs")
    shard = path.parent / "shard-00002.parquet"  # of five shards on three ranks, the last rank's only one
    if damage == "flip":
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        done = cluster(3, path, tmp_path / "out", "--ranks", 3)
    else:
        shard.unlink()
        done = main(path, tmp_path / "out")
    what = {"flip": "is damaged", "delete": "is missing"}[damage]
    assert_refused(done, tmp_path / "out", 1, f"{shard}: {what}", "delete it and run the workflow again")


@pytest.mark.parametrize(
    ("place", "how"),
    [
        ("job.load_fragments", "raise"),
        ("outputs._make_table", "raise"),
        ("job._cluster", "kill"),
    ],
)
def test_a_rank_that_fails_ends_all(place, how, launch, repository, manifests, tmp_path):
    # Without `python -m mpi4py` the other ranks would wait for this one for ever.
    program, script = Path(__file__).with_name("fail_on_last_rank.py"), repository / "scripts/cluster_fragments.py"
    out = tmp_path / "out"
    begin = time.monotonic()
    done = launch(3, program, place, how, script, "--manifest", manifests["pairs"], "--out", out)
    assert time.monotonic() - begin < 60
    assert done.returncode not in (0, 2)
    reason = {"raise": "ZeroDivisionError: a bug on the last rank", "kill": "EXIT STRING: Killed (signal 9)"}[how]
    assert (done.stdout + done.stderr).count(reason) == 1
    # Where the bug comes while rank 0 writes, that rank is killed: a temporary may stay, a result may not.
    assert not [name for name in FILES if (out / name).exists()]
