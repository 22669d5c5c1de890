"""One command makes everything, and only what has to be made again is made again."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from readclade.manifest import read_manifest

pytestmark = pytest.mark.workflow


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


def test_other_k_runs_cluster_and_after(project):
    plan = project.plan(config={"clustering": {"k": 4}})
    assert plan == {"cluster": 2, "label": 2, "evaluate": 1, "report": 1}


def test_other_support_runs_label_and_after(project):
    plan = project.plan(config={"labelling": {"support": 0.7}})
    assert plan == {"label": 2, "evaluate": 1, "report": 1}


def test_other_references_run_label_and_after(project):
    table = project.inputs / "references.tsv"
    text, times = table.read_text(), (table.stat().st_atime_ns, table.stat().st_mtime_ns)
    table.write_text("".join(text.splitlines(keepends=True)[:-1]))
    plan = project.plan()
    table.write_text(text)
    os.utime(table, ns=times)
    assert plan == {"index_references": 1, "label": 2, "evaluate": 1, "report": 1}
    assert project.plan() == {}


def test_one_more_sample_runs_alone(project):
    rows = (project.inputs / "samples.tsv").read_text()
    extra = project.inputs / "more.fastq.gz"
    extra.write_bytes((project.inputs / "long.fastq.gz").read_bytes())
    (project.inputs / "more.tsv").write_text(rows + "more\tmore.fastq.gz\t\tont\n")
    plan = project.plan(samples="more.tsv")
    assert plan == {"fetch": 1, "embed": 1, "stage": 1, "cluster": 1, "label": 1, "report": 1}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("scripts/label_clusters.py", {"label": 2, "evaluate": 1, "report": 1}),
        ("src/readclade/clustering/kmeans.py", {"cluster": 2, "label": 2, "evaluate": 1, "report": 1}),
        ("src/readclade/report.py", {"report": 1}),
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


def test_snakemake_report_works_beside_ours(project, tmp_path):
    done = project.run("--report", str(tmp_path / "snakemake.html"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "snakemake.html").stat().st_size > 0
