"""The scripts as a person calls them: help, exit codes, and the chain from reads to staged shards."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from readclade.shards.manifest import read_manifest

SCRIPTS = sorted(path.name for path in (Path(__file__).parents[2] / "scripts").glob("*.py"))


@pytest.fixture(scope="module")
def call(repository):
    """Return a function that runs a script from the repository root."""

    def call(name: str, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, f"scripts/{name}", *map(str, arguments)],
            cwd=repository,
            env=os.environ | {"PYTHONPATH": "src", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_an_example_that_names_real_options(call_here, name):
    done = call_here(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nExample, " in done.stdout
    example = re.search(rf"PYTHONPATH=\S*src .*scripts/{re.escape(name)}((?:\\\n|.)*)", done.stdout)
    options = [word for word in shlex.split(example[1]) if word.startswith("--")]
    usage = done.stdout[: done.stdout.index("Example")] + done.stdout[done.stdout.index("options:") :]
    for option in options:
        assert option in usage


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("fetch_reads.py", ["--lane", "a", "b", "c", "--out", "o"], "a --lane takes one or two files"),
        ("fetch_reads.py", ["--lane", "a", "--out", "o", "--shard-bases", "0"], "--shard-bases must be at least 1"),
        ("embed_fragments.py", ["--reads", "a", "--out", "o", "--d", "0"], "--d and --actors must be at least 1"),
        ("embed_fragments.py", ["--reads", "a", "--out", "o", "--actors", "0"], "--d and --actors must be at least 1"),
        ("embed_fragments.py", ["--reads", "a", "--out", "o", "--k", "6"], "invalid choice: 6"),
        ("embed_fragments.py", ["--reads", "a", "--out", "o", "--embedder", "lshvec"], "lshvec needs a model"),
        ("train_lshvec.py", ["--reads", "a", "--out", "o", "--k", "32"], "k is 32"),
        ("stage_shards.py", ["--manifest", "a", "--out", "o", "--stream", "1"], "unrecognized arguments: --stream"),
        ("stage_shards.py", ["--manifest", "a", "--out", "o", "--streams", "0"], "--streams must be at least 1"),
    ],
)
def test_wrong_value_exits_2_and_names_the_option(call_here, name, arguments, message):
    sample = ["--sample", "a", "--platform", "illumina"] if name == "fetch_reads.py" else []
    done = call_here(name, *sample, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_bad_input_exits_1_without_a_traceback(call, tmp_path):
    path = tmp_path / "reads.fa"
    path.write_text(">a\nACGT\n")
    out = tmp_path / "out"
    for name, arguments, expected in [
        (
            "fetch_reads.py",
            ["--sample", "a", "--platform", "ont", "--lane", path, "--out", out],
            f"error: {path}:1: is FASTA, not FASTQ\n  remedy: give the reads as FASTQ",
        ),
        (
            "embed_fragments.py",
            ["--reads", tmp_path / "reads.json", "--out", out],
            f"error: {tmp_path / 'reads.json'}: cannot be read: ",
        ),
        (
            "stage_shards.py",
            ["--manifest", tmp_path / "manifest.json", "--out", out],
            f"error: {tmp_path / 'manifest.json'}: cannot be read: No such file or directory\n  remedy: run `embed`",
        ),
    ]:
        done = call(name, *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith(expected)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_fetch_embed_stage_from_lanes_to_staged_shards(call, tmp_path, write_fastq, take_reads):
    """Two lanes of pairs, one of them interleaved; embed starts a Ray of its own."""
    records, mates = take_reads("pairs_1.fastq.gz", 200), take_reads("pairs_2.fastq.gz", 200)
    fq1 = write_fastq(tmp_path / "1.fq.gz", records[:120], "gzip")
    fq2 = write_fastq(tmp_path / "2.fq.gz", mates[:120], "gzip")
    mixed = [record for pair in zip(records[120:], mates[120:], strict=True) for record in pair]
    both = write_fastq(tmp_path / "both.fq", mixed)
    chain = [
        (
            "fetch_reads.py",
            *("--sample", "pairs", "--platform", "illumina", "--lane", fq1, fq2, "--lane", both, "interleaved"),
            *("--out", tmp_path / "reads", "--shard-bases", 30_000),
        ),
        ("embed_fragments.py", "--reads", tmp_path / "reads/reads.json", "--out", tmp_path / "shards", "--d", 16),
        ("stage_shards.py", "--manifest", tmp_path / "shards/manifest.json", "--out", tmp_path / "staged"),
    ]
    for command in chain:
        done = call(*command)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
    manifest = read_manifest(tmp_path / "staged/manifest.json")
    assert (manifest.sample, manifest.fragments, manifest.d, len(manifest.shards)) == ("pairs", 200, 16, 3)
    assert all(shard.is_intact(tmp_path / "staged") for shard in manifest.shards)


def test_output_that_cannot_be_written_exits_1_without_a_traceback(call, tmp_path, write_fastq):
    reads = write_fastq(tmp_path / "reads.fastq", [("a", "ACGT", "IIII")])
    (tmp_path / "file").write_text("no folder")
    done = call("fetch_reads.py", "--sample=s", "--platform=ont", "--lane", reads, "--out", tmp_path / "file/out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/file/out")
    assert "Not a directory" in done.stderr
    assert "remedy" in done.stderr
    assert "Traceback" not in done.stderr
