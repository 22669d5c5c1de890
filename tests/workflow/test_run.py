"""One command makes everything, and only what has to be made again is made again."""

import gzip
import json
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from readclade.shards.manifest import read_manifest
from tests.workflow.conftest import assert_refused

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]


def read_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_run_makes_every_result(project):
    results = project.directory / "results"
    for sample, fragments in (("pairs", 3000), ("long", 250)):
        manifest = read_manifest(project.directory / "shards" / sample / "manifest.json")
        assert manifest.fragments == fragments
        assert len(manifest.shards) > 1
        staged = project.directory / "staged" / sample
        assert (staged / "manifest.json").read_bytes() == (
            project.directory / "shards" / sample / "manifest.json"
        ).read_bytes()
        assert all(shard.is_intact(staged) for shard in manifest.shards)
        assignments = pq.read_table(results / sample / "cluster/assignments.parquet")
        assert assignments.column("fragment").to_pylist() == list(range(fragments))
        assert set(assignments.column("cluster").to_pylist()) == {0, 1, 2}
        binning = read_rows(results / sample / "binning.tsv")
        assert binning[:3] == [["@Version:0.9.1"], [f"@SampleID:{sample}"], ["@@SEQUENCEID", "BINID", "TAXID"]]
        assert len(binning) == 3 + fragments
        assert {row[1] for row in binning[3:]} == {"c1", "c2", "c3"}
        assert read_rows(results / sample / "taxa.tsv")[0][0] == "cluster"
        assert (results / sample / "profile.tsv").read_text().startswith("@")
    assert (results / "long/evaluation.tsv").exists()
    assert {row[0] for row in read_rows(results / "long/strata.tsv")[1:]} == {"length", "abundance"}
    assert not (results / "pairs/evaluation.tsv").exists()
    assert "<html" in (results / "report.html").read_text()
    assert json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]


def test_run_leaves_no_temporary_file(project):
    assert not [path for path in project.directory.rglob("*.tmp") if ".snakemake" not in path.parts]


def test_second_run_has_nothing_to_do(project):
    done = project.run()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_lost_shard_is_made_again_alone(project):
    shards = project.directory / "shards/pairs"
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in shards.glob("*.parquet")}
    assert len(before) >= 3
    (shards / "shard-00001.parquet").unlink()
    plan = project.plan()
    assert plan["embed"] == 1
    assert "fetch" not in plan
    done = project.run()
    assert done.returncode == 0, done.stderr
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in shards.glob("*.parquet")}
    assert {name: data for name, (_, data) in after.items()} == {name: data for name, (_, data) in before.items()}
    assert [name for name in before if after[name][0] != before[name][0]] == ["shard-00001.parquet"]
    assert "Nothing to be done" in "".join(project.run("--dry-run").stdout)


def test_shortened_shard_is_made_again(project):
    shard = project.directory / "shards/long/shard-00000.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert project.plan()["embed"] == 1
    shard.write_bytes(whole)
    assert project.plan() == {}


def test_lost_staged_shard_is_staged_again(project):
    shard = project.directory / "staged/long/shard-00000.parquet"
    whole = shard.read_bytes()
    shard.unlink()
    plan = project.plan()
    assert plan["stage"] == 1
    assert "embed" not in plan
    shard.write_bytes(whole)
    assert project.plan() == {}


def test_other_support_runs_label_and_after(project):
    plan = project.plan(config={"labelling": {"support": 0.7}})
    assert plan == {"label": 2, "evaluate": 1, "report": 1}


@contextmanager
def keep(path: Path):
    """Put a file back as it was, with its times, when the block ends."""
    data, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    yield path
    path.write_bytes(data)
    os.utime(path, ns=times)


def preview(project, **options) -> str:
    """Return what a dry run says that the pages on running again show: how many jobs, and why."""
    done = project.run("--dry-run", "--quiet", "rules", **options)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (done.stdout + done.stderr).rpartition("Job stats:\n")[2]
    end = re.search("^(Some jobs were|This was a dry-run)", text, re.MULTILINE).start()
    return "Job stats:\n" + text[:end].strip() + "\n"


def read_example(heading: str) -> str:
    """Return the output that a part of the pages on running again shows."""
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("rerun.md", "rerun-examples.md"))
    return re.search(rf"^## {heading}\n.*?^```text\n(.*?)^```", pages, re.MULTILINE | re.DOTALL)[1]


def test_other_k(project):
    assert preview(project, config={"clustering": {"k": 4}}) == read_example("Another number of clusters")


def test_other_references(project):
    with keep(project.inputs / "references.tsv") as table:
        table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
        assert preview(project) == read_example("Other references")
    assert project.plan() == {}


def test_one_more_sample(project):
    rows = (project.inputs / "samples.tsv").read_text()
    shutil.copy(project.inputs / "long.fastq.gz", project.inputs / "more.fastq.gz")
    (project.inputs / "more.tsv").write_text(rows + "more\tmore.fastq.gz\t\tont\n")
    assert preview(project, samples="more.tsv") == read_example("One more sample")


def test_other_code_of_one_stage(project):
    with keep(project.root / "scripts/label_clusters.py") as script:
        script.write_text(script.read_text() + "# changed\n")
        assert preview(project) == read_example("Other code of one stage")
    assert project.plan() == {}


def test_deleted_shard(project):
    with keep(project.directory / "shards/pairs/shard-00001.parquet") as shard:
        shard.unlink()
        assert preview(project) == read_example("A deleted shard")
    assert project.plan() == {}


def test_interrupted_run_goes_on_where_it_ended(project, finished):
    for path in ("shards/pairs", "staged/pairs", "results/pairs", "logs/embed"):
        shutil.rmtree(finished.directory / path)
    (finished.directory / "results/report.html").unlink()
    # What Ctrl-C stops is a Ray of its own.
    done = replace(finished, ray_address="local").run(ctrl_c_at=finished.directory / "logs/embed/pairs.log")
    assert done.returncode != 0
    assert not (finished.directory / "shards/pairs/manifest.json").exists()
    assert preview(finished) == read_example("An interrupted run")
    done = finished.run()
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("shards/pairs/manifest.json", "results/pairs/cluster/clusters.h5", "results/pairs/binning.tsv"):
        assert (finished.directory / name).read_bytes() == (project.directory / name).read_bytes()


def test_k_larger_than_the_sample(finished):
    done = finished.run("results/long/cluster/clusters.h5", config={"clustering": {"k": 251}})
    assert_refused(done, "k = 251 is larger than the number of fragments, 250")


def test_damaged_shard_is_named_by_stage(finished):
    shutil.rmtree(finished.directory / "staged/long")
    shard = finished.directory / "shards/long/shard-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert_refused(finished.run("staged/long"), "shard-00000.parquet", "checksum", "remedy")
    assert not (finished.directory / "staged/long").exists()
    shard.unlink()
    assert finished.run("staged/long").returncode == 0


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("src/readclade/clustering/genomes/kmeans.py", {"cluster": 2, "label": 2, "evaluate": 1, "report": 1}),
        ("src/readclade/report/page.py", {"report": 1}),
    ],
)
def test_changed_code_runs_its_stage_and_after(project, file, expected):
    path = project.root / file
    text, times = path.read_text(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text(text + "# changed\n")
    assert project.plan() == expected
    path.write_text(text)
    os.utime(path, ns=times)
    assert project.plan() == {}


def test_bins_hold_the_reads_of_each_cluster(project):
    done = project.run("results/long/bins", config={"bins": True})
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (project.directory / "results/long/bins").glob("c*")) == [
        "c1.fastq.gz",
        "c2.fastq.gz",
        "c3.fastq.gz",
    ]


def test_overlaps_are_written_on_request(finished):
    overlaps = finished.directory / "results/long/cluster/overlaps.paf.gz"
    done = finished.run(f"results/long/cluster/{overlaps.name}", config={"clustering": {"overlaps": True}})
    assert done.returncode == 0, done.stderr
    assert len(gzip.decompress(overlaps.read_bytes()).splitlines()) > 100


def test_snakemake_report_works_beside_ours(project, tmp_path):
    done = project.run("--report", str(tmp_path / "snakemake.html"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "snakemake.html").stat().st_size > 0
