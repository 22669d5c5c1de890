"""Cleaning by the real tools: what was put into reads is taken out again, counted, and nothing else is lost."""

import gzip
import json
import shutil
from itertools import islice
from pathlib import Path

import dnaio
import pytest

from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads import cleaning as cleaning_module
from readclade.reads.cleaning import Cleaning, clean_lanes
from readclade.storage import locations
from readclade.storage.files import hash_file

needs_fastp = pytest.mark.skipif(shutil.which("fastp") is None, reason="fastp is not installed: make system-deps")
needs_minimap2 = pytest.mark.skipif(shutil.which("minimap2") is None, reason="minimap2 is not installed")
ADAPTERS = (
    "AGATCGGAAGAGCACACGTCTGAACTCCAGTCACATCACGATCTCGTATGCCGTCTTCTGCTTG",
    "AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGTAGATCTCGGTGGTCGCCGTATCATTAAAAAA",
)
NEXTERA = "CTGTCTCTTATACACATCTCCGAGCCCACGAGACTAAGGCGAATCTCGTATGCCGTCTTCTGCTTG"


def clean(lanes, folder, platform="illumina", **options):
    table = lanes if not isinstance(lanes, list) else cleaning_module.LaneTable(lanes)
    result = clean_lanes(table, platform, Cleaning(**options), folder / "cleaned", 2)
    return result, result.cleaning["counts"]


def read_records(path):
    with dnaio.open(path) as file:
        return list(file)


def complement(sequence):
    return dnaio.SequenceRecord("x", sequence, "I" * len(sequence)).reverse_complement().sequence


@pytest.fixture
def inserts(take_reads):
    """Return 2000 stretches of genomes of 150 bases, every fourth one cut to 60 to 119 bases."""
    reads = [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 2000)]
    return [read if i % 4 else read[: 60 + i // 4 % 60] for i, read in enumerate(reads)]


def make_mates(inserts, adapters):
    """Return what a sequencer of 2x150 bases reads of inserts: into the adapter where they are shorter."""
    first, second = [], []
    for i, insert in enumerate(inserts):
        for records, bases, adapter in ((first, insert, adapters[0]), (second, complement(insert), adapters[1])):
            read = (bases + adapter + "A" * 150)[:150] if len(insert) < 150 else bases
            records.append((f"r{i}", read, "I" * 150))
    return first, second


@needs_fastp
@pytest.mark.parametrize("layout", ["two files", "interleaved", "plain", "pzstd", "bzip2"])
def test_clean_lanes_cuts_the_adapters_of_pairs(tmp_path, write_fastq, inserts, layout):
    first, second = make_mates(inserts, ADAPTERS)
    form = {"two files": "gzip", "interleaved": "gzip"}.get(layout, layout)
    if layout == "interleaved":
        mixed = [record for pair in zip(first, second, strict=True) for record in pair]
        lane = Lane(write_fastq(tmp_path / "both", mixed, form), INTERLEAVED)
    else:
        lane = Lane(write_fastq(tmp_path / "1", first, form), write_fastq(tmp_path / "2", second, form))
    result, counts = clean([lane], tmp_path, adapters="truseq")
    cleaned = [read_records(path) for path in result.lanes[0].paths]
    assert (
        [record.name for record in cleaned[0]] == [record.name for record in cleaned[1]] == [name for name, *_ in first]
    )
    for insert, record, mate in zip(inserts, *cleaned, strict=True):
        if len(insert) < 150:
            assert record.sequence == insert
            assert mate.sequence == complement(insert)
    short = [insert for insert in inserts if len(insert) < 150]
    assert counts["reads_with_adapter"] >= 2 * len(short)
    assert counts["adapter_bases"] >= 2 * sum(150 - len(insert) for insert in short)
    # An end that looks like the beginning of an adapter by chance goes too: a few bases of a few reads.
    assert counts["adapter_bases"] <= 2 * sum(150 - len(insert) for insert in short) + 0.002 * counts["bases_in"]
    assert counts["bases_in"] == 2 * 150 * 2000
    assert counts["bases_in"] - counts["bases_out"] == counts["bases_cut"] == counts["adapter_bases"]
    assert (counts["fragments_in"], counts["fragments_out"]) == (2000, 2000)
    assert result.cleaning["tools"].keys() == {"fastp"}
    assert [origin["sha256"] for origin in result.origins[0]] == [hash_file(path) for path in lane.paths]


@needs_fastp
@pytest.mark.parametrize(("name", "adapter"), [("truseq", ADAPTERS[0]), ("nextera", NEXTERA)])
def test_clean_lanes_cuts_the_adapters_of_single_reads(tmp_path, write_fastq, inserts, name, adapter):
    lane = Lane(write_fastq(tmp_path / "1", make_mates(inserts, (adapter, adapter))[0], "gzip"), None)
    result, counts = clean([lane], tmp_path, adapters=name)
    records = read_records(result.lanes[0].fq1)
    short = [(insert, record) for insert, record in zip(inserts, records, strict=True) if len(insert) < 150]
    assert sum(record.sequence == insert for insert, record in short) >= 0.99 * len(short)
    assert counts["reads_with_adapter"] >= len(short)
    assert result.lanes[0].fq2 is None


@needs_fastp
def test_clean_lanes_leaves_reads_without_adapters_nearly_alone(tmp_path, write_fastq, take_reads):
    """fastp's own search for unknown adapters cuts 1.5 % of these reads' bases; named adapters do not."""
    files = [write_fastq(tmp_path / str(i), take_reads(f"pairs_{i}.fastq.gz", 5000), "gzip") for i in (1, 2)]
    _, counts = clean([Lane(*files)], tmp_path, adapters="truseq")
    assert counts["fragments_out"] == 5000
    assert counts["bases_cut"] <= 0.002 * counts["bases_in"]


@needs_fastp
def test_clean_lanes_cuts_bad_ends_and_drops_short_pairs(tmp_path, write_fastq, take_reads):
    first, second = take_reads("pairs_1.fastq.gz", 300), take_reads("pairs_2.fastq.gz", 300)
    good = [(name, bases, "I" * len(bases)) for name, bases, _ in first]
    # The last 50 bases of the mates are bad, and from base 20 on of every tenth.
    bad = [
        (name, bases, "I" * keep + "#" * (len(bases) - keep))
        for i, (name, bases, _) in enumerate(second)
        for keep in [20 if i % 10 == 0 else 100]
    ]
    lane = Lane(write_fastq(tmp_path / "1", good), write_fastq(tmp_path / "2", bad))
    result, counts = clean([lane], tmp_path, min_quality=20, min_length=31)
    assert counts["fragments_out"] == 270
    assert counts["reads_too_short"] == 60
    cleaned, mates = (read_records(path) for path in result.lanes[0].paths)
    assert [record.name for record in cleaned] == [name for i, (name, *_) in enumerate(first) if i % 10]
    assert {len(record.sequence) for record in cleaned} == {150}
    assert {len(mate.sequence) for mate in mates} <= set(range(96, 104))
    assert counts["reads_with_adapter"] == 0
    assert counts["bases_cut"] == counts["bases_in"] - counts["bases_out"]


@needs_fastp
def test_clean_lanes_gives_the_same_bytes_again(tmp_path, write_fastq, inserts):
    first, second = make_mates(inserts, ADAPTERS)
    lane = Lane(write_fastq(tmp_path / "1", first, "gzip"), write_fastq(tmp_path / "2", second, "gzip"))
    content = []
    for name in ("a", "b"):
        result, _ = clean([lane], tmp_path / name, adapters="truseq", min_quality=15, mask=True)
        content.append([Path(path).read_bytes() for path in result.lanes[0].paths])
        assert sorted(path.name for path in (tmp_path / name / "cleaned").iterdir()) == [
            "lane1_1.fastq.gz",
            "lane1_2.fastq.gz",
        ]
    assert content[0] == content[1]


@needs_fastp
def test_clean_lanes_reads_on_s3(tmp_path, write_fastq, inserts, bucket):
    mates = make_mates(inserts, ADAPTERS)
    lane = Lane(*(write_fastq(tmp_path / f"{i}.fq.gz", records, "gzip") for i, records in enumerate(mates)))
    there = Lane(f"{bucket}/1.fq.gz", f"{bucket}/2.fq.gz")
    for path, url in zip(lane.paths, there.paths, strict=True):
        locations.upload_file(Path(path), url)
    (here, here_counts), (result, counts) = (
        clean([paths], tmp_path / name, adapters="truseq", mask=True) for name, paths in (("a", lane), ("b", there))
    )
    assert counts == here_counts
    assert [Path(path).read_bytes() for path in result.lanes[0].paths] == [
        Path(path).read_bytes() for path in here.lanes[0].paths
    ]
    assert result.origins == [
        [{"path": url, "sha256": hash_file(path)} for path, url in zip(lane.paths, there.paths, strict=True)]
    ]


# ---- genomes to remove


@pytest.fixture(scope="session")
def lambda_reads(repository):
    """Return the names of the fragments of phage lambda in the demo's samples."""

    def find(sample, suffix):
        path = repository / f"demo/truth/{sample}{suffix}"
        with gzip.open(path, "rt") if suffix.endswith(".gz") else path.open() as file:
            return {line.split("\t")[0] for line in file if "lambda" in line}

    return {"pairs": find("pairs", ".tsv.gz"), "long": find("long", ".tsv")}


@pytest.fixture(scope="session")
def phage(repository):
    return str(repository / "demo/genomes/Enterobacteria_phage_lambda.fa.gz")


@needs_minimap2
@pytest.mark.parametrize("naming", ["as they are", "without mate numbers", "interleaved", "comments"])
def test_clean_lanes_removes_exactly_the_spiked_pairs(tmp_path, write_fastq, take_reads, lambda_reads, phage, naming):
    first, second = take_reads("pairs_1.fastq.gz", 4000), take_reads("pairs_2.fastq.gz", 4000)
    if naming == "without mate numbers":
        first, second = ([(name[:-2], *rest) for name, *rest in mates] for mates in (first, second))
    if naming == "comments":
        first, second = ([(f"{name[:-2]} {name[-1]}:N:0", *rest) for name, *rest in mates] for mates in (first, second))
    lane = Lane(write_fastq(tmp_path / "1", first, "gzip"), write_fastq(tmp_path / "2", second, "gzip"))
    if naming == "interleaved":
        mixed = [record for pair in zip(first, second, strict=True) for record in pair]
        lane = Lane(write_fastq(tmp_path / "both", mixed, "bzip2"), INTERLEAVED)
    result, counts = clean([lane], tmp_path, remove=phage)
    names = [name.split()[0].removesuffix("/1") for name, *_ in first]
    spiked = [name for name in names if name in lambda_reads["pairs"]]
    assert len(spiked) > 100
    assert counts["fragments_removed"] == len(spiked)
    assert counts["bases_removed"] == 300 * len(spiked)
    for path, mates in zip(result.lanes[0].paths, (first, second), strict=True):
        kept = [(record.name, record.sequence, record.qualities) for record in read_records(path)]
        assert kept == [
            tuple(mate) for mate, name in zip(mates, names, strict=True) if name not in lambda_reads["pairs"]
        ]
    assert result.cleaning["remove"] == phage
    assert result.cleaning["tools"].keys() == {"minimap2"}


@needs_minimap2
@pytest.mark.parametrize("platform", ["ont", "pacbio"])
def test_clean_lanes_removes_the_spiked_long_reads(tmp_path, write_fastq, take_reads, lambda_reads, phage, platform):
    reads = take_reads("long.fastq.gz", 2216)
    lane = Lane(write_fastq(tmp_path / "long", reads, "gzip"), None)
    result, counts = clean([lane], tmp_path, platform, remove=phage, adapters="truseq", min_quality=30)
    kept = {record.name for record in read_records(result.lanes[0].fq1)}
    spiked = {name for name, *_ in reads if name in lambda_reads["long"]}
    assert len(spiked) > 40
    assert kept == {name for name, *_ in reads} - spiked
    assert counts["fragments_removed"] == len(spiked)
    assert "fastp" not in result.cleaning["tools"]  # which is made for short reads


@needs_minimap2
def test_clean_lanes_keeps_a_read_that_shares_less_than_half(tmp_path, write_fastq, take_reads, phage):
    with gzip.open(phage, "rt") as file:
        genome = "".join(line.strip() for line in islice(file, 1, None))
    foreign = take_reads("long.fastq.gz", 1)[0][1]
    records = [
        (f"r{share}", genome[5000 : 5000 + share] + foreign[: 3000 - share], "I" * 3000)
        for share in (0, 1300, 1700, 3000)
    ]
    lane = Lane(write_fastq(tmp_path / "long", records), None)
    result, _ = clean([lane], tmp_path, "ont", remove=phage)
    assert [record.name for record in read_records(result.lanes[0].fq1)] == ["r0", "r1300"]


@needs_minimap2
def test_clean_lanes_without_a_read_left(tmp_path, write_fastq, take_reads, lambda_reads, phage):
    reads = [read for read in take_reads("long.fastq.gz", 2216) if read[0] in lambda_reads["long"]]
    other = write_fastq(tmp_path / "other", take_reads("long.fastq.gz", 3))
    lane = Lane(write_fastq(tmp_path / "long", reads), None)
    result, counts = clean([lane, Lane(other, None)], tmp_path, "ont", remove=phage)
    assert len(result.lanes) == len(result.origins) == 1
    assert (counts["fragments_in"], counts["fragments_out"]) == (len(reads) + 3, 3)
    with pytest.raises(InputError, match=f"cleaning left none of {len(reads)} fragments") as caught:
        clean([lane], tmp_path / "again", "ont", remove=phage)
    assert "cleaning.remove" in caught.value.remedy


@needs_minimap2
def test_clean_lanes_genomes_that_are_no_fasta(tmp_path, write_fastq, take_reads):
    lane = Lane(write_fastq(tmp_path / "long", take_reads("long.fastq.gz", 3)), None)
    with pytest.raises(ReadcladeError, match="minimap2 ended with 1"):
        clean([lane], tmp_path, "ont", remove=str(tmp_path / "gone.fa"))


# ---- masking


def test_clean_lanes_masks_simple_repeats(tmp_path, write_fastq, take_reads):
    bases = take_reads("pairs_1.fastq.gz", 1)[0][1]
    repeat = bases[:40] + "AC" * 30 + bases[100:]
    records = [("plain", bases, "I" * 150), ("repeat", repeat, "I" * 150), ("tiny", "AAA", "III"), ("none", "", "")]
    result, counts = clean([Lane(write_fastq(tmp_path / "reads", records), None)], tmp_path, mask=True)
    plain, masked, tiny, none = read_records(result.lanes[0].fq1)
    assert plain.sequence == bases
    assert (tiny.sequence, none.sequence) == ("AAA", "")
    assert set(masked.sequence[42:98]) == {"N"}
    assert masked.sequence[:38] == bases[:38]
    assert masked.sequence[102:] == bases[102:]
    assert masked.qualities == "I" * 150
    assert counts["masked_bases"] == masked.sequence.count("N")
    assert counts["bases_in"] == counts["bases_out"] == 303
    assert result.cleaning["tools"] == {}


# ---- what goes wrong


@needs_fastp
@pytest.mark.parametrize("left", [20_000, -5])
def test_clean_lanes_truncated_file_is_refused(tmp_path, write_fastq, take_reads, left):
    """fastp itself ends with success here, with the reads that it could make out."""
    path = write_fastq(tmp_path / "reads", take_reads("pairs_1.fastq.gz", 2000), "gzip")
    Path(path).write_bytes(Path(path).read_bytes()[:left])
    with pytest.raises(InputError, match="gzip data are truncated") as caught:
        clean([Lane(path, None)], tmp_path, adapters="truseq")
    assert caught.value.path == path


def test_clean_lanes_mates_out_of_step_are_refused(tmp_path, write_fastq, take_reads):
    first, second = take_reads("pairs_1.fastq.gz", 5), take_reads("pairs_2.fastq.gz", 4)
    lane = Lane(write_fastq(tmp_path / "1", first), write_fastq(tmp_path / "2", second))
    with pytest.raises(InputError, match="out of step"):
        clean([lane], tmp_path, mask=True)


@pytest.mark.parametrize(("options", "tool"), [({"adapters": "truseq"}, "fastp"), ({"remove": "x.fa"}, "minimap2")])
def test_clean_lanes_without_the_tool_says_how_to_get_it(tmp_path, monkeypatch, options, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=f"{tool} is not installed") as caught:
        clean([Lane("reads.fq", None)], tmp_path, **options)
    assert f"apt-get install {tool}" in caught.value.remedy
    assert "make system-deps" in caught.value.remedy


def put_on_path(folder, monkeypatch, tool, text):
    """Put a program before all others that behaves as a tool does when something is wrong with it."""
    folder.mkdir()
    program = folder / tool
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {{ echo 1.0; exit; }}\n{text}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("tool", "text", "message"),
    [
        ("fastp", "echo out of memory; exit 3", "fastp ended with 3: out of memory"),
        ("minimap2", "echo no memory >&2; exit 4", "minimap2 ended with 4: no memory"),
        ("minimap2", r"printf 'other\t150\t0\t150\n'", "minimap2 found 'other', which does not follow"),
    ],
)
def test_clean_lanes_tool_that_fails_is_told(tmp_path, monkeypatch, write_fastq, take_reads, tool, text, message):
    put_on_path(tmp_path / "bin", monkeypatch, tool, text)
    lane = Lane(write_fastq(tmp_path / "reads", take_reads("pairs_1.fastq.gz", 5)), None)
    with pytest.raises(ReadcladeError, match=message):
        clean([lane], tmp_path, **({"adapters": "truseq"} if tool == "fastp" else {"remove": "x.fa"}))


@pytest.mark.parametrize(
    ("read", "written", "message"),
    [(4, 4, "fastp read 4 of 5 reads"), (5, 4, "fastp says that it wrote 4 reads .* but 5 are there")],
)
def test_clean_lanes_fastp_that_loses_reads_is_told(
    tmp_path, monkeypatch, write_fastq, take_reads, read, written, message
):
    records = take_reads("pairs_1.fastq.gz", 5)
    summary = {
        "summary": {
            "before_filtering": {"total_reads": read, "total_bases": 150 * read},
            "after_filtering": {"total_reads": written, "total_bases": 150 * written},
        }
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    path = write_fastq(tmp_path / "reads", records)
    script = f"""while [ $# -gt 0 ]; do
    case "$1" in --out1) cp {path} "$2" ;; --json) cp {tmp_path}/summary.json "$2" ;; esac; shift; done"""
    put_on_path(tmp_path / "bin", monkeypatch, "fastp", script)
    with pytest.raises(ReadcladeError, match=message):
        clean([Lane(path, None)], tmp_path, adapters="truseq")
