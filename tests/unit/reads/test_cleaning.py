"""Cleaning by the real tools: what was put into reads is taken out again, counted, and nothing else is lost."""

import gzip
import sys
from itertools import islice
from pathlib import Path

import dnaio
import pytest

from readclade.errors import ConfigError, InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads import cleaning as cleaning_module
from readclade.reads.adapters import ADAPTERS as KNOWN
from readclade.reads.cleaning import Cleaning, clean_lanes
from readclade.storage import locations
from readclade.storage.files import hash_file

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
    assert result.cleaning["tools"].keys() == {"cutadapt"}
    assert [origin["sha256"] for origin in result.origins[0]] == [hash_file(path) for path in lane.paths]


@pytest.mark.parametrize(("name", "adapter"), [("truseq", ADAPTERS[0]), ("nextera", NEXTERA)])
def test_clean_lanes_cuts_the_adapters_of_single_reads(tmp_path, write_fastq, inserts, name, adapter):
    lane = Lane(write_fastq(tmp_path / "1", make_mates(inserts, (adapter, adapter))[0], "gzip"), None)
    result, counts = clean([lane], tmp_path, adapters=name)
    records = read_records(result.lanes[0].fq1)
    short = [(insert, record) for insert, record in zip(inserts, records, strict=True) if len(insert) < 150]
    assert sum(record.sequence == insert for insert, record in short) >= 0.99 * len(short)
    assert counts["reads_with_adapter"] >= len(short)
    assert result.lanes[0].fq2 is None


def test_clean_lanes_leaves_reads_without_adapters_nearly_alone(tmp_path, write_fastq, take_reads):
    files = [write_fastq(tmp_path / str(i), take_reads(f"pairs_{i}.fastq.gz", 5000), "gzip") for i in (1, 2)]
    _, counts = clean([Lane(*files)], tmp_path, adapters="truseq")
    assert counts["fragments_out"] == 5000
    assert counts["bases_cut"] <= 0.002 * counts["bases_in"]


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
    assert {len(mate.sequence) for mate in mates} == {100}
    assert "reads_with_adapter" not in counts
    assert counts["bases_cut"] == counts["bases_in"] - counts["bases_out"]


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
    assert result.cleaning["tools"].keys() == {"mappy"}


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
    assert "cutadapt" not in result.cleaning["tools"]  # long reads keep their ends


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


@pytest.mark.parametrize("content", [None, b"", b"no genome\n"])
def test_clean_lanes_genomes_that_are_no_fasta(tmp_path, write_fastq, take_reads, content):
    lane = Lane(write_fastq(tmp_path / "long", take_reads("long.fastq.gz", 3)), None)
    genomes = tmp_path / "genomes.fa"
    if content is not None:
        genomes.write_bytes(content)
    with pytest.raises(InputError, match="holds no genome that minimap2 can read") as caught:
        clean([lane], tmp_path, "ont", remove=str(genomes))
    assert caught.value.path == str(genomes)


NAMINGS = {
    "casava": ("r{0} 1:N:0:AC", "r{0} 2:N:0:AC"),
    "slashes": ("r{0}/1", "r{0}/2"),
    "dots": ("r{0}.1", "r{0}.2"),
    "one name for all": ("r", "r"),
    "@": ("@r{0}", "@r{0}"),
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("layout", ["two files", "interleaved", "single"])
def test_clean_lanes_removes_by_position_whatever_the_names(tmp_path, write_fastq, repository, phage, layout, naming):
    """Every third fragment is phage lambda's; the others are of another genome."""
    genomes = []
    for path in (phage, str(repository / "demo/genomes/Staphylococcus_aureus_N315.fa.gz")):
        with gzip.open(path, "rt") as file:
            genomes.append("".join(line.strip() for line in islice(file, 1, 700)))
    pairs = []
    for i in range(150):
        genome = genomes[0 if i % 3 == 0 else 1]
        begin = 1000 + 200 * i
        insert = genome[begin : begin + 350]
        pairs.append((insert[:150], complement(insert[-150:])))
    mates = [
        [(form.format(i), pair[side], "I" * 150) for i, pair in enumerate(pairs)]
        for side, form in enumerate(NAMINGS[naming])
    ]
    if layout == "two files":
        lane = Lane(*(write_fastq(tmp_path / f"{i}", records) for i, records in enumerate(mates)))
    elif layout == "single":
        lane = Lane(write_fastq(tmp_path / "single", mates[0]), None)
    else:
        mixed = [record for pair in zip(*mates, strict=True) for record in pair]
        lane = Lane(write_fastq(tmp_path / "both", mixed), INTERLEAVED)
    result, counts = clean([lane], tmp_path, remove=phage)
    assert counts["fragments_removed"] == 50
    for path, records in zip(result.lanes[0].paths, mates, strict=False):
        kept = [(record.name, record.sequence) for record in read_records(path)]
        assert kept == [tuple(record[:2]) for i, record in enumerate(records) if i % 3]


# ---- what is found


@pytest.mark.parametrize("names", ["A00419:1:HXX:1:1101:{0}:9", "SRR1.{0}", "VH00123:1:X:1:1:{0}:1", "r{0}"])
@pytest.mark.parametrize("adapters", ["auto", "truseq"])
def test_clean_lanes_cuts_tails_of_g_whatever_the_names(tmp_path, write_fastq, inserts, adapters, names):
    """Half of the reads end in G, as where a two-colour sequencer has nothing left to read."""
    records = [
        (names.format(i), read if i % 2 else (read + "G" * 150)[:150], "F" * (len(read) if i % 2 else 150))
        for i, read in enumerate(read[:100] for read in inserts)
    ]
    result, counts = clean([Lane(write_fastq(tmp_path / "reads", records), None)], tmp_path, adapters=adapters)
    assert counts["reads_with_poly_g"] >= 1000
    kept = [record.sequence for record in read_records(result.lanes[0].fq1)]
    whole = sum(read[:100].startswith(sequence) for read, sequence in zip(inserts, kept, strict=True))
    assert whole == len(inserts)
    assert sum(map(len, kept)) > 0.99 * sum(len(read[:100]) for read in inserts)


@pytest.mark.parametrize("share", [0.01, 0.2])
@pytest.mark.parametrize("name", ["truseq", "nextera", "mgi"])
def test_clean_lanes_finds_the_adapters_and_cuts_them(tmp_path, write_fastq, take_reads, name, share):
    adapters = (KNOWN[name] * 2)[:2]
    reads = [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 2000)]
    inserts = [read[:100] if i < share * 2000 else read for i, read in enumerate(reads)]
    first, second = make_mates(inserts, adapters)
    lane = Lane(write_fastq(tmp_path / "1", first), write_fastq(tmp_path / "2", second))
    result, counts = clean([lane], tmp_path, adapters="auto")
    assert result.cleaning["artefacts"] == [name]
    assert counts["adapter_bases"] >= share * 2000 * 2 * 50
    for insert, record in zip(inserts[: int(share * 2000)], read_records(result.lanes[0].fq1), strict=False):
        assert record.sequence == insert


def test_clean_lanes_writes_nothing_where_nothing_is_found(tmp_path, write_fastq, take_reads):
    files = [write_fastq(tmp_path / str(i), take_reads(f"pairs_{i}.fastq.gz", 3000), "gzip") for i in (1, 2)]
    table = clean_lanes(cleaning_module.LaneTable([Lane(*files)]), "illumina", Cleaning("auto"), tmp_path / "out", 1)
    assert table.lanes == [Lane(*files)]
    assert table.cleaning is None
    assert table.origins == [[{"path": path} for path in files]]
    assert not list((tmp_path / "out").iterdir())


def test_clean_lanes_cuts_only_the_lane_that_needs_it(tmp_path, write_fastq, take_reads, inserts):
    plain = Lane(write_fastq(tmp_path / "plain", take_reads("pairs_2.fastq.gz", 500)), None)
    other = Lane(write_fastq(tmp_path / "other", make_mates(inserts, ADAPTERS)[0]), None)
    result, counts = clean([plain, other], tmp_path, adapters="auto")
    assert result.lanes[0] == plain
    assert result.lanes[1] != other
    assert counts["fragments_in"] == 2000  # of the lane that was cleaned


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


@pytest.mark.parametrize(("options", "package"), [({"adapters": "truseq"}, "cutadapt"), ({"remove": "x.fa"}, "mappy")])
def test_clean_lanes_without_the_tool_says_how_to_get_it(tmp_path, monkeypatch, options, package):
    for module in [name for name in sys.modules if name.split(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"{package}, which .* needs, is not installed") as caught:
        clean([Lane("reads.fq", None)], tmp_path, **options)
    assert "make install" in caught.value.remedy
