"""Bad input stops the workflow with an error that names the place and the remedy; more of it in test_run.py."""

import gzip
from dataclasses import replace

import pytest

from tests.workflow.conftest import DEMO, assert_refused, copy_head

pytestmark = pytest.mark.workflow


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_unknown_config_key(fresh):
    assert_refused(fresh.run("-n", config={"clustring": {"k": 3}}), "unknown key 'clustring'", "clustering")


def test_unknown_column(fresh):
    edit(fresh.inputs / "samples.tsv", "platform", "plattform")
    assert_refused(fresh.run("-n"), "samples.tsv:1", "unknown column 'plattform'", "remedy")


def test_missing_file(fresh):
    (fresh.inputs / "long.fastq.gz").unlink()
    assert_refused(fresh.run("-n"), "samples.tsv:3", "long.fastq.gz", "does not exist")


def test_file_listed_twice(fresh):
    with (fresh.inputs / "samples.tsv").open("a") as file:
        file.write("again\tlong.fastq.gz\t\tont\n")
    assert_refused(fresh.run("-n"), "samples.tsv:4", "already listed in line 3")


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "a;b", "$(id)", "-a"])
def test_sample_name(fresh, name):
    edit(fresh.inputs / "samples.tsv", "long\tlong", f"{name}\tlong")
    assert_refused(fresh.run("-n"), "samples.tsv:3", name, "remedy")


def test_references_without_lineage(fresh):
    table = fresh.inputs / "references.tsv"
    rows = table.read_text().splitlines()
    rows[1] = "\t".join(rows[1].split("\t")[:3])
    table.write_text("\n".join(rows) + "\n")
    assert_refused(fresh.run("-n"), "references.tsv:2", "lineage")


def test_weights_folder_without_a_model(fresh):
    (fresh.inputs / "model").mkdir()
    config = {"embedder": {"name": "dnabert-s", "weights": str(fresh.inputs / "model")}}
    assert_refused(fresh.run("-n", config=config), "model: lacks config.json, tokenizer.json, model.safetensors or")


def test_refusal_writes_nothing(fresh):
    fresh.run(config={"nonsense": 1})
    assert not (fresh.directory / "reads").exists()
    assert not (fresh.directory / "results").exists()


def test_braces_in_a_path(fresh):
    fresh = replace(fresh, directory=fresh.directory.with_name("a {run}"))
    fresh.directory.mkdir()
    assert_refused(fresh.run("-n"), "a {run} has a brace", "remedy: rename it, or link to it")


def test_bad_samples_withhold_nothing_from_the_others(fresh):
    """An empty control and one of N alone stand beside a good sample; the second run has only them to try again."""
    (fresh.inputs / "blank.fq").touch()
    (fresh.inputs / "n.fq").write_text("@a\nNNNN\n+\n!!!!\n")
    copy_head(DEMO / "reads/long.fastq.gz", fresh.inputs / "long.fastq.gz", 60)
    rows = ["sample\tfq1\tplatform", "blank\tblank.fq\tillumina", "long\tlong.fastq.gz\tont", "n\tn.fq\tont"]
    (fresh.inputs / "samples.tsv").write_text("\n".join(rows) + "\n")
    done = fresh.run()
    assert_refused(done, "holds no reads", "holds no known base in 1 reads")
    last = (done.stdout + done.stderr)[-3000:]
    assert f"sample blank has no results: fetch: {fresh.inputs}/blank.fq: holds no reads" in last
    assert "sample n has no results: fetch: " in last
    page = (fresh.directory / "results/partial-report.html").read_text()
    assert "Sample long" in page
    assert "blank.fq: holds no reads" in page
    (fresh.inputs / "samples.tsv").write_text("\n".join(rows[::2]) + "\n")
    done = fresh.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "blank" not in (fresh.directory / "results/report.html").read_text()


def test_truncated_gzip_stops_fetch_and_names_the_log(fresh):
    path = fresh.inputs / "long.fastq.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    done = fresh.run("reads/long/reads.json")
    assert_refused(done, "long.fastq.gz", "truncated", "remedy", "logs/fetch/long.log")
    assert not (fresh.directory / "reads/long/reads.json").exists()


def test_letters_are_refused_with_their_read(fresh):
    path = fresh.inputs / "long.fastq.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines[5] = "J" + lines[5][1:]
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    assert_refused(fresh.run("reads/long/reads.json"), "long.fastq.gz:6", "read 2 holds 'J'")


def test_lsh_with_a_number_of_clusters(fresh):
    done = fresh.run("-n", config={"clustering": {"algorithm": "lsh", "k": 3}})
    assert_refused(done, "config: clustering.k is 3", "remedy: give clustering.k 'auto'", "clustering.algorithm lsh")
    done = fresh.run("-n", config={"clustering": {"algorithm": "lsh"}})
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_fragment_with_one_cluster_works(fresh):
    copy_head(DEMO / "reads/long.fastq.gz", fresh.inputs / "long.fastq.gz", 1)
    (fresh.inputs / "samples.tsv").write_text("sample\tfq1\tplatform\none\tlong.fastq.gz\tont\n")
    done = fresh.run(config={"clustering": {"k": 1}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (fresh.directory / "results/report.html").exists()
