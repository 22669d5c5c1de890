"""The report: what it says about ordinary and odd runs, that it hides nothing and trusts nothing, and its scripts."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest

from readclade.errors import ConfigError, InputError
from readclade.report.page import write_report
from readclade.report.samples import choose_fragments
from readclade.storage.files import hash_file
from tests.unit.report.run_folder import RunFolder, add_sample, make_run, write_config

ROOT = Path(__file__).parents[3]
GENOMES = ("Bacillus_subtilis", "other", "none")


class Page(HTMLParser):
    """The text of a page, its elements' attributes, and whether its elements are closed in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " " if tag in ("td", "th", "div") else ""

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def get_words(self) -> str:
        return " ".join(self.text.split())


def write(run: RunFolder) -> str:
    write_report(run.root / "samples.tsv", run.config, run.folders, *run.outputs)
    return read(run)


def make_ordinary(folder: Path) -> RunFolder:
    run = make_run(folder)
    add_sample(run, "s1", [0] * 30 + [1] * 8 + [-1] * 2, genomes=GENOMES)
    return run


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> RunFolder:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    return make_ordinary(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> RunFolder:
    """Return a run whose report is written, for tests that change nothing but the report."""
    run = make_ordinary(tmp_path_factory.mktemp("written"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        write(run)
    return run


def read(run: RunFolder) -> str:
    return run.outputs[0].read_text(encoding="utf-8")


def test_write_report_ordinary_run_says_the_figures(run):
    add_sample(run, "s2", [0] * 5)
    page = Page(write(run))
    words = page.get_words()
    assert "s1 40 320 bases 2 1 95.0 % 0.912 1.000 –" in words
    assert "s2 5 40 bases 1 1 100.0 % – – –" in words
    assert "all 40 are shown. t-SNE places" in words
    assert "length 5 10 40 1 0.750 1 1 1" in words
    assert "too few fragments for t-SNE" in words
    assert "2, was given and not found from the data" in words
    assert "written 2023-11-14T22:13:20+00:00" in words
    assert words.count("not recorded") == 1 + 6 + 5
    assert run.outputs[2].read_text() == (
        "sample\tmetric\tvalue\ns1\tfragments\t40\ns1\tbases\t320\ns1\tclusters\t2\ns1\tshare_assigned\t0.950000\n"
        "s1\ttaxa_named\t1\ns1\tari\t0.9123\ns1\tpurity\t1.0\n"
        "s2\tfragments\t5\ns2\tbases\t40\ns2\tclusters\t1\ns2\tshare_assigned\t1.000000\ns2\ttaxa_named\t1\n"
    )


def test_write_report_needs_nothing_beside_it(written):
    page = Page(read(written))
    images = [attributes for tag, attributes in page.attributes if tag == "img"]
    assert len(images) == 8
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in images)
    anchors = {attributes["id"] for _, attributes in page.attributes if "id" in attributes}
    links = [attributes["href"] for tag, attributes in page.attributes if tag == "a"]
    assert links
    assert all(link[0] == "#" and link[1:] in anchors for link in links)
    assert not {tag for tag, _ in page.attributes} & {"script", "link", "iframe", "object"}


def test_write_report_same_inputs_give_the_same_bytes_and_another_date_changes_one_line(written, monkeypatch):
    first, others = read(written), [path.read_bytes() for path in written.outputs[1:]]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    pairs = zip(first.splitlines(), write(written).splitlines(), strict=True)
    assert [line for line, other in pairs if line != other] == ['<p class="lead">written 2023-11-14T22:13:20+00:00</p>']
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert write(written) == first
    assert [path.read_bytes() for path in written.outputs[1:]] == others


def test_write_report_gathers_samples_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    run = make_ordinary(tmp_path)
    add_sample(run, "s2", [0] * 20 + [1] * 5, genomes=GENOMES)
    first = write(run)
    write_report(run.root / "samples.tsv", run.config, run.folders, *run.outputs, processes=2)
    assert read(run) == first
    (run.folders.results / "s2/taxa.tsv").unlink()
    with pytest.raises(InputError, match="cannot be read") as caught:
        write_report(run.root / "samples.tsv", run.config, run.folders, *run.outputs, processes=2)
    assert caught.value.path.endswith("s2/taxa.tsv")


def test_write_report_names_with_markup_and_formulas_are_shown_as_they_are(tmp_path):
    run = make_run(tmp_path)
    taxa = ('<script>alert("1")</script> & Co', "$\\frac{1}$ {{ 7 * 7 }}\x07")
    add_sample(run, "s", [0] * 3 + [1] * 2, taxa=taxa, genomes=("<b>bold</b>", "$x^2$", "none"))
    html = write(run)
    page = Page(html)
    assert "<script" not in html
    assert "<b>bold" not in html
    assert taxa[0] in page.text
    assert "{{ 7 * 7 }}" in page.text


@pytest.mark.parametrize("clusters", [[0], [0] * 40, [-1] * 40, [-1], [0, 1] * 20])
@pytest.mark.parametrize("genomes", [(), GENOMES])
def test_write_report_odd_samples(tmp_path, clusters, genomes):
    run = make_run(tmp_path)
    add_sample(run, "s", clusters, genomes=genomes)
    words = Page(write(run)).get_words()
    assert ("No fragment of this sample is in a cluster." in words) == (max(clusters) < 0)
    assert ("Against the truth" in words) == bool(genomes)


def test_write_report_more_clusters_taxa_and_genomes_than_are_shown(tmp_path):
    run = make_run(tmp_path)
    names = tuple(f"Genus{i} species{i}" for i in range(70))
    add_sample(run, "s", [*range(70), *range(70)], taxa=names, genomes=(*names, "none"))
    words = Page(write(run)).get_words()
    assert "c60 Genus59 species59" in words
    assert "c61 " not in words
    assert "10 more in results/s/taxa.tsv" in words


def test_write_report_marks_clusters_that_probably_hold_two_relatives(tmp_path):
    run = make_run(tmp_path)
    add_sample(run, "s", [0, 1] * 20)
    assert Page(write(run)).get_words().count("probably two relatives") == 1  # what it means
    with h5py.File(tmp_path / "results/s/cluster/clusters.h5", "a") as file:
        file["two_relatives"][1] = 1
    words = Page(write(run)).get_words()
    assert words.count("probably two relatives") == 2
    assert "probably two relatives" in words[words.index("c2 ") :].split("c3")[0]
    with h5py.File(tmp_path / "results/s/cluster/clusters.h5", "a") as file:
        del file["two_relatives"]
        file["two_relatives"] = np.zeros(5, np.uint8)
    with pytest.raises(InputError, match="marks of two relatives that do not fit"):
        write(run)


def test_write_report_map_holds_no_more_than_the_configured_fragments(run):
    run.config["report"] = {"map_fragments": 35}
    assert "35 of 40, drawn at random" in write(run)
    run.config["report"] = {"map_fragments": 0}
    assert "Map of the fragments" not in write(run)


def test_write_report_of_cleaned_and_downloaded_reads_says_so(run):
    path = run.root / "reads/s1/reads.json"
    reads = json.loads(path.read_text())
    counts = {"fragments_in": 50, "reads_in": 50, "bases_in": 4321, "fragments_out": 40, "reads_out": 40}
    counts |= {"bases_out": 320, "fragments_removed": 10, "bases_removed": 4000, "masked_bases": 0}
    reads["cleaning"] = {"counts": counts, "tools": {"mappy": "2.31"}, "remove": "genome.fa", "artefacts": ["nextera"]}
    origin = {
        "accession": "ERR7",
        "url": "https://x.org/raw.fq.gz",
        "bytes": 777,
        "sha256": "ab" * 32,
        "md5": "cd" * 16,
    }
    reads["lanes"][0]["origins"] = [origin]
    path.write_text(json.dumps(reads))
    run.config["cleaning"] = {"remove": str(run.root / "genome.fa")}
    words = Page(write(run)).get_words()
    assert "What cleaning did with mappy 2.31. All else" in words
    assert "Cut from the ends: nextera." in words
    assert "cut from short reads only" in words
    assert "before 50 50 4,321 after 40 40 320 " in words
    assert "fragments dropped because they come from the genomes to remove 10 " in words
    assert "bases of simple repeats turned into N 0 " in words
    assert f"raw.fq.gz reads of sample s1 (run ERR7) 777 {'ab' * 32}" in words
    assert f"genome.fa genomes removed from the reads 8 {hash_file(run.root / 'genome.fa')}" in words
    assert "s1.fastq" not in words
    assert "s1 download not recorded s1 clean not recorded s1 fetch" in words
    graph = json.loads(run.outputs[1].read_text())["@graph"]
    assert [part["contentUrl"] for part in graph if "contentUrl" in part] == ["https://x.org/raw.fq.gz"]
    assert [part["softwareVersion"] for part in graph if part.get("name") == "mappy"] == ["2.31"]


def test_write_report_run_times_come_from_the_benchmarks(run):
    folder = run.root / "logs/cluster"
    folder.mkdir(parents=True)
    (folder / "s1.benchmark.tsv").write_text("s\th:m:s\tmax_rss\tcpu_time\n125.4\t0:02:05\t812.2\tNA\n")
    assert "s1 cluster 2 min 05 s not recorded 812 MB" in Page(write(run)).get_words()


def test_write_report_lists_every_input_with_its_checksum(written):
    words = Page(read(written)).get_words()
    for name in ("samples.tsv", "s1.fastq", "s1.truth.tsv", "references.tsv", "genome.fa"):
        assert hash_file(written.root / name) in words[words.index(f" {name} ") :]


def remove_column(text: str) -> str:
    return text.replace("confidence", "trust")


def shorten_last_row(text: str) -> str:
    return text.rstrip("\n").rsplit("\t", 2)[0] + "\n"


@pytest.mark.parametrize(
    ("file", "change", "message", "rule"),
    [
        ("reads/s1/reads.json", None, "cannot be read", "fetch"),
        ("reads/s1/reads.json", lambda text: text[:40], "is not JSON", "fetch"),
        ("reads/s1/reads.json", lambda text: text.replace('"gc"', '"cg"'), "has no 'gc'", "fetch"),
        (
            "reads/s1/reads.json",
            lambda text: text.replace('"fragments": 40', '"fragments": 41'),
            "reads.json 41",
            "embed",
        ),
        ("shards/s1/manifest.json", None, "cannot be read", "embed"),
        ("shards/s1/shard-00001.parquet", None, "cannot be read as a shard", "embed"),
        ("shards/s1/shard-00000.parquet", lambda text: "x", "cannot be read as a shard", "embed"),
        ("results/s1/cluster/clusters.h5", None, "cannot be read as HDF5", "cluster"),
        ("results/s1/cluster/clusters.h5", lambda text: "x", "cannot be read as HDF5", "cluster"),
        ("results/s1/cluster/assignments.parquet", None, "cannot be read as a table", "cluster"),
        ("results/s1/cluster/assignments.parquet", lambda text: "x", "cannot be read as a table", "cluster"),
        ("results/s1/taxa.tsv", None, "cannot be read", "label"),
        ("results/s1/taxa.tsv", remove_column, "has no column confidence", "label"),
        ("results/s1/taxa.tsv", shorten_last_row, "line 3 has 7 cells instead of 9", "label"),
        ("results/s1/taxa.tsv", lambda text: text.replace("\t30\t", "\t31\t"), "not one of clusters.h5", "label"),
        ("results/s1/taxa.tsv", lambda text: text.replace("\t30\t", "\tmany\t"), "has a wrong number", "label"),
        ("results/s1/taxa.tsv", lambda text: text[: text.index("c2")], "one row for each of the 2 clusters", "label"),
        ("results/s1/strata.tsv", lambda text: text.replace("0.75", "good"), "has 'good' as ari", "evaluate"),
        ("results/s1/evaluation.tsv", lambda text: text.replace("value", "number"), "no column value", "evaluate"),
    ],
)
def test_write_report_missing_or_malformed_input_names_file_and_rule(run, file, change, message, rule):
    path = run.root / file
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_bytes().decode("utf-8", "replace")))
    with pytest.raises(InputError) as caught:
        write(run)
    assert message in caught.value.message
    assert rule in caught.value.remedy
    assert not any(output.exists() for output in run.outputs)
    if rule != "embed":
        assert caught.value.path == str(path)


def test_write_report_results_of_other_runs_are_refused(run):
    add_sample(run, "s2", [0] * 5)
    for file in ("cluster/assignments.parquet", "cluster/clusters.h5"):
        (run.root / "results/s1" / file).write_bytes((run.root / "results/s2" / file).read_bytes())
    with pytest.raises(InputError, match="is not one of clusters"):
        write(run)


def test_write_report_unknown_key_is_refused(run):
    run.config["colour"] = "blue"
    with pytest.raises(ConfigError, match="unknown key 'colour'"):
        write(run)


def test_choose_fragments_is_bounded_sorted_and_constant():
    assert choose_fragments(5, 10).tolist() == [0, 1, 2, 3, 4]
    ids = choose_fragments(1_000_000_000, 1000)
    assert len(np.unique(ids)) == 1000
    assert (np.diff(ids) > 0).all()
    assert (ids == choose_fragments(1_000_000_000, 1000)).all()


def run_script(name: str, *arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, ROOT / "scripts" / name, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_scripts_write_and_show(run):
    folders = run.folders
    done = run_script(
        "write_report.py",
        *("--samples", run.root / "samples.tsv", "--config", write_config(run), "--results", folders.results),
        *("--reads", folders.reads, "--shards", folders.shards, "--logs", folders.logs),
        *("--out", run.outputs[0], "--crate", run.outputs[1], "--summary", run.outputs[2]),
    )
    assert done.returncode == 0, done.stderr
    shown = run_script("show_summary.py", folders.results)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "s1\tfragments\t40"
    assert all(re.fullmatch(r"s1\t\w+\t[0-9.]+", line) for line in lines[:-1])
    assert lines[-1] == f"report: {run.outputs[0]}"


@pytest.mark.parametrize("text", ["- a list", "a: [", None])
def test_write_report_unreadable_configuration_exits_2(run, call_here, text):
    path = write_config(run)
    path.unlink() if text is None else path.write_text(text)
    folder = run.root / "results"
    options = ("--samples", "--results", "--reads", "--shards", "--logs", "--out", "--crate", "--summary")
    done = call_here("write_report.py", "--config", path, *(part for option in options for part in (option, folder)))
    assert done.returncode == 2
    assert f"error: {path}: " in done.stderr


def test_show_summary_missing_results_exits_with_the_reason(call_here, tmp_path):
    shown = call_here("show_summary.py", tmp_path)
    assert shown.returncode == 1
    assert shown.stderr == f"error: {tmp_path}/summary.tsv: does not exist\n  remedy: run the workflow to its end\n"
