"""Samples without results: why, and a report of the others that names them."""

import pytest

from readclade.errors import ReadcladeError
from readclade.inputs.tables import read_samples
from readclade.report.failures import find_failures
from readclade.report.page import write_report
from readclade.results.tables import read_rows
from tests.unit.report.run_folder import add_sample, make_run

GONE = {
    "fetch": "reads/bad/reads.json",
    "embed": "shards/bad/manifest.json",
    "cluster": "results/bad/cluster/clusters.h5",
    "label": "results/bad/taxa.tsv",
}


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path)
    for name in ("good", "bad"):
        add_sample(run, name, [0] * 10 + [1] * 5)
    return run


def write_log(run, stage, text):
    path = run.root / f"logs/{stage}/bad.log"
    path.parent.mkdir(parents=True)
    path.write_text(text)


@pytest.mark.parametrize("stage", GONE)
def test_find_failures_names_the_stage_and_its_last_error(run, stage):
    samples = list(read_samples(run.root / "samples.tsv").values())
    assert find_failures(samples, run.folders) == {}
    (run.root / GONE[stage]).unlink()
    assert find_failures(samples, run.folders) == {"bad": f"{stage}: did not run to its end"}
    write_log(run, stage, "error: old\nfetch [0.1 s] x\nerror: x.fq: holds no reads\n  remedy: drop this row\nmore\n")
    reason = f"{stage}: x.fq: holds no reads; remedy: drop this row"
    assert find_failures(samples, run.folders) == {"bad": reason}


@pytest.mark.parametrize(("stage", "path"), [("clean", GONE["fetch"]), ("stage", GONE["cluster"])])
def test_find_failures_looks_at_what_comes_before(run, stage, path):
    (run.root / path).unlink()
    write_log(run, stage, "error: broken\n")
    samples = list(read_samples(run.root / "samples.tsv").values())
    assert find_failures(samples, run.folders) == {"bad": f"{stage}: broken"}


def test_write_report_of_what_is_there_names_the_rest(run):
    (run.root / GONE["fetch"]).unlink()
    write_log(run, "fetch", "error: x<y>.fq: holds no reads\n")
    failures = write_report(run.root / "samples.tsv", run.config, run.folders, *run.outputs, is_partial=True)
    assert failures == {"bad": "fetch: x<y>.fq: holds no reads"}
    page = run.outputs[0].read_text()
    assert "Sample good" in page
    assert "x&lt;y&gt;.fq: holds no reads" in page
    rows = read_rows(run.outputs[2], ("sample", "metric", "value"), "report")
    assert {row["sample"] for row in rows} == {"good", "bad"}
    assert [row["value"] for row in rows if row["metric"] == "failed"] == ["fetch: x<y>.fq: holds no reads"]


def test_write_report_of_nothing_says_why(run):
    for name in ("good", "bad"):
        (run.root / f"reads/{name}/reads.json").unlink()
    with pytest.raises(ReadcladeError, match="no sample has results") as caught:
        write_report(run.root / "samples.tsv", run.config, run.folders, *run.outputs, is_partial=True)
    assert "good: fetch: did not run" in caught.value.message
