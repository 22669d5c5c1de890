"""Reads from the network, and cleaned ones, through the workflow: against a server that replays ENA's answers."""

import gzip
import json
import os
import shutil

import pytest

from tests.replay_server import serve

pytestmark = pytest.mark.workflow


@pytest.fixture
def site(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the server's certificate")
    (tmp_path / "certificate").mkdir()
    with serve(tmp_path / "certificate") as site:
        yield site


def run(fresh, site, *targets, samples, **options):
    """Run the workflow with the server in ENA's place."""
    settings = {"READCLADE_ENA_URL": f"{site.url}/ena/portal/api", "REQUESTS_CA_BUNDLE": site.authority}
    (fresh.inputs / "remote.tsv").write_text("sample\tfq1\tfq2\tplatform\n" + samples)
    return fresh.run(*targets, samples="remote.tsv", environment=settings, **options)


def read_summary(fresh, sample):
    return json.loads((fresh.directory / "reads" / sample / "reads.json").read_text())


def test_remote_lanes_are_downloaded_once_and_counted(fresh, site):
    first, second = ((fresh.inputs / f"pairs {mate}.fastq.gz").read_bytes() for mate in (1, 2))
    long = gzip.decompress((fresh.inputs / "long.fastq.gz").read_bytes())
    site.files["/long reads/long.fastq.gz"] = gzip.compress(long)
    site.files["/other.fastq.gz"] = gzip.compress(long[: long.index(b"\n@", 100_000) + 1])
    site.add_run("ERR1", "PAIRED", "ILLUMINA", {"ERR1_1.fastq.gz": first, "ERR1_2.fastq.gz": second})
    for path in site.files:
        site.faults[path] = ["cut"]
    rows = f"run\tERR1\t\tillumina\nlong\t{site.url}/long%20reads/long.fastq.gz\t\tont\n"
    site.files["/long%20reads/long.fastq.gz"] = site.files.pop("/long reads/long.fastq.gz")
    targets = ("reads/run/reads.json", "reads/long/reads.json")
    done = run(fresh, site, *targets, samples=rows)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_summary(fresh, "run")["fragments"] == 3000
    assert read_summary(fresh, "long")["fragments"] == 250
    origins = read_summary(fresh, "run")["lanes"][0]["origins"]
    assert [origin["accession"] for origin in origins] == ["ERR1", "ERR1"]

    site.requests.clear()
    done = run(fresh, site, *targets, samples=rows)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert not site.requests

    # A changed address brings that lane only; a lost file comes again.
    next((fresh.directory / "downloads/run").glob("*_ERR1_2.fastq.gz")).unlink()
    rows = rows.replace("/long%20reads/long.fastq.gz", "/other.fastq.gz")
    done = run(fresh, site, *targets, samples=rows)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [path.rpartition("/")[2] for path, _ in site.requests]
    assert sorted(set(asked)) == ["ERR1_2.fastq.gz", "filereport", "other.fastq.gz"]
    assert read_summary(fresh, "long")["fragments"] < 250


def test_wrong_platform_of_a_run_stops_with_its_remedy(fresh, site):
    site.add_run("ERR1", "SINGLE", "ILLUMINA", {"ERR1.fastq.gz": b"@a\nA\n+\nI\n"})
    done = run(fresh, site, "reads/s/reads.json", samples="s\tERR1\t\tont\n")
    assert done.returncode != 0
    assert "sequenced on ILLUMINA" in done.stdout + done.stderr
    assert "remedy: write illumina there" in done.stdout + done.stderr
    assert not (fresh.directory / "downloads/s/lanes.json").exists()


def test_cleaning_goes_before_all_else_and_is_told(fresh):
    genome = f"{os.fspath(fresh.root)}/demo/genomes/Enterobacteria_phage_lambda.fa.gz"
    config = {"cleaning": {"adapters": "truseq", "mask_low_complexity": True, "remove": genome}}
    assert fresh.plan()["clean"] == 1  # which looks for adapters in short reads
    assert "clean" not in fresh.plan(config={"cleaning": {"adapters": "none"}})
    assert fresh.plan(config=config)["clean"] == 2
    done = fresh.run("reads/pairs/reads.json", "reads/long/reads.json", config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    for sample in ("pairs", "long"):
        summary = read_summary(fresh, sample)
        counts = summary["cleaning"]["counts"]
        assert counts["fragments_removed"] > 0
        assert counts["fragments_out"] == summary["fragments"] == counts["fragments_in"] - counts["fragments_removed"]
        assert counts["bases_out"] == summary["bases"]
        assert counts["masked_bases"] == summary["unknown_bases"]
    assert read_summary(fresh, "long")["cleaning"]["tools"].keys() == {"mappy"}
    assert fresh.plan("reads/pairs/reads.json", config=config) == {}
    done = fresh.run("-n", config={"cleaning": {"remove": "gone.fa"}})
    assert "config: cleaning.remove is 'gone.fa', which is no file" in done.stdout + done.stderr
