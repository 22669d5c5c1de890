"""What rules take from the configuration and the tables."""

import json
import shlex
from pathlib import Path

import pytest

from readclade.errors import ReadcladeError
from readclade.workflow.options import Options

MIXED = """sample\tfq1\tfq2\tplatform\ttruth
short\tone 1.fq\tone 2.fq\tillumina\t
short\thttps://x.org/two.fq.gz\tinterleaved\tillumina\t
long\tlong.fq\t\tont\ttruth.tsv
run\tERR1\t\tpacbio\t
"""


@pytest.fixture
def ask(tmp_path, monkeypatch, repository):
    """Return a function that reads a run of three samples with a configuration."""
    (tmp_path / "samples.tsv").write_text(MIXED)
    for name in ("one 1.fq", "one 2.fq", "long.fq", "truth.tsv", "genome.fa"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)

    def read(**config) -> Options:
        tables = {"samples": str(tmp_path / "samples.tsv"), "references": str(repository / "demo/references.tsv")}
        return Options.read(tables | config, ask_s3=False)

    return read


def test_options_have_every_default(ask):
    options = ask()
    assert options.config["embedder"]["name"] == "kmer"
    assert list(options.samples) == ["short", "long", "run"]
    assert options.references
    assert options.model == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"colour": "blue"}, "unknown key 'colour'"),
        ({"samples": "none.tsv"}, "none.tsv"),
        ({"references": "none.tsv"}, "none.tsv"),
        ({"cleaning": {"remove": "none.fa"}}, "which is no file"),
        ({"embedder": {"name": "dnabert2", "weights": "."}}, "lacks config.json"),
    ],
)
def test_options_that_cannot_be_used_are_refused(ask, config, message):
    with pytest.raises(ReadcladeError, match=message):
        ask(**config)


# ---- reads


def test_reads_as_they_are(ask, tmp_path):
    options = ask(cleaning={"adapters": "none"})
    assert options.list_cleaning_options("short") == []
    assert options.find_lanes_file("long") is None
    assert options.find_lanes_file("short") == "downloads/short/lanes.json"
    one = [str(tmp_path / "one 1.fq"), str(tmp_path / "one 2.fq")]
    assert options.list_read_files("short") == [*one, "downloads/short/lanes.json"]
    assert options.list_read_files("short", is_raw=True) == options.list_read_files("short")
    assert options.list_read_files("long") == [str(tmp_path / "long.fq")]
    assert options.list_read_files("run") == ["downloads/run/lanes.json"]
    assert shlex.split(options.join_table_lanes("short")) == [
        *("--lane", *one),
        *("--lane", "https://x.org/two.fq.gz", "interleaved"),
    ]
    assert options.join_lanes("short") == "--lanes downloads/short/lanes.json"
    assert shlex.split(options.join_lanes("long")) == ["--lane", str(tmp_path / "long.fq")]
    assert options.list_object_versions("short") == []


def test_reads_that_are_cleaned(ask, tmp_path):
    genome = str(tmp_path / "genome.fa")
    options = ask(cleaning={"adapters": "truseq", "min_quality": 20, "mask_low_complexity": True, "remove": genome})
    rest = ["--mask-low-complexity", "--remove", genome]
    short = options.list_cleaning_options("short")
    assert short[:4] == ["--adapters", "truseq", "--min-quality", "20"]
    assert short[4] == "--min-length"
    assert short[6:] == rest
    # Long reads keep their ends.
    assert options.list_cleaning_options("long") == options.list_cleaning_options("run") == rest
    assert options.list_genomes_to_remove() == [genome]
    assert options.list_read_files("short") == ["cleaned/short/lanes.json"]
    assert options.list_read_files("long", is_raw=True) == [str(tmp_path / "long.fq")]
    assert options.join_lanes("run") == "--lanes cleaned/run/lanes.json"
    assert options.join_lanes("run", is_raw=True) == "--lanes downloads/run/lanes.json"


@pytest.mark.parametrize("config", [{}, {"cleaning": {"adapters": "truseq"}}])
def test_adapters_alone_clean_short_reads_alone(ask, config):
    options = ask(**config)
    assert options.find_lanes_file("short") == "cleaned/short/lanes.json"
    assert options.find_lanes_file("long") is None
    assert options.find_lanes_file("run") == "downloads/run/lanes.json"


def write_list(path: str, size: int) -> None:
    """Write a list of one file, which has four bytes."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    (Path(path).parent / "reads.fq").write_text("four")
    lanes = [{"fq1": "reads.fq", "fq2": None, "origins": []}]
    Path(path).write_text(json.dumps({"lanes": lanes, "files": {"reads.fq": size}}))


def test_lost_lanes_are_listed_down_to_the_first_whole_list(ask, tmp_path):
    options = ask(cleaning={"remove": str(tmp_path / "genome.fa")})
    cleaned, raw = "cleaned/run/lanes.json", "downloads/run/lanes.json"
    assert options.list_lost_lanes("run") == []
    write_list(raw, 5)
    assert options.list_lost_lanes("run") == [raw]
    write_list(cleaned, 5)
    assert options.list_lost_lanes("run") == [cleaned, raw]
    write_list(raw, 4)
    assert options.list_lost_lanes("run") == [cleaned]
    # Raw files may go once the cleaned ones are there.
    write_list(cleaned, 4)
    write_list(raw, 5)
    assert options.list_lost_lanes("run") == []
    # But not where nothing was cut.
    lanes = [{"fq1": str(Path(raw).absolute().parent / "reads.fq"), "fq2": None, "origins": []}]
    Path(cleaned).write_text(json.dumps({"lanes": lanes, "files": {}}))
    assert options.list_lost_lanes("run") == []
    (Path(raw).parent / "reads.fq").unlink()
    assert options.list_lost_lanes("run") == [cleaned, raw]


def test_object_versions_are_those_of_s3(tmp_path, bucket, repository):
    from readclade.storage import locations

    locations.write_bytes(f"{bucket}/in/1.fq", b"@a\nA\n+\nI\n")
    table = tmp_path / "samples.tsv"
    table.write_text(f"sample\tfq1\tfq2\tplatform\ns\t{bucket}/in/1.fq\t\tont\n")
    references = str(repository / "demo/references.tsv")
    options = Options.read({"samples": str(table), "references": references}, ask_s3=True)
    etag = locations.find(f"{bucket}/in/1.fq").etag
    assert options.list_object_versions("s") == [f"{bucket}/in/1.fq {etag}"]
    # As it was when the workflow was parsed.
    locations.write_bytes(f"{bucket}/in/1.fq", b"@b\nC\n+\nI\n")
    assert options.list_object_versions("s") == [f"{bucket}/in/1.fq {etag}"]
    assert options.list_read_files("s") == []


# ---- embedding


@pytest.mark.parametrize(
    ("embedder", "words", "model"),
    [
        ({"name": "kmer", "k": 5}, "--embedder kmer --k 5", []),
        (
            {"name": "lshvec"},
            "--embedder lshvec --model models/lshvec.safetensors",
            ["models/lshvec.safetensors"],
        ),
        (
            {"name": "dnabert-s", "precision": "float32", "window_bp": 600, "strands": "one"},
            "--embedder dnabert-s --weights hub --precision float32 --window-bp 600 --strands one",
            [],
        ),
    ],
)
def test_embedder_options_leave_out_those_of_others(ask, embedder, words, model):
    options = ask(embedder=embedder)
    assert options.join_embedder_options() == words
    assert options.list_model_files() == model
    assert options.has_network == (embedder["name"] == "dnabert-s")


def test_model_files_of_ones_own_are_inputs(ask, tmp_path):
    folder = tmp_path / "my model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("")
    options = ask(embedder={"name": "dnabert2", "weights": str(folder)})
    assert {Path(path).parent for path in options.list_model_files()} == {folder}
    assert len(options.list_model_files()) == 3
    assert str(folder) in shlex.split(options.join_embedder_options())


def test_truths_are_those_of_the_table(ask, tmp_path):
    options = ask()
    assert options.list_samples_with_truth() == ["long"]
    assert options.list_truths() == [str(tmp_path / "truth.tsv")]
