"""What `fetch` says of good reads, and how it refuses bad ones."""

import lzma
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads.plan import ReadPlan, load_reads
from readclade.reads.summary import summarise_reads
from readclade.storage.files import hash_file

GOOD = b"@a\nACGT\n+\nIIII\n"
COMPRESSIONS = ["plain", "gzip", "members", "bgzf"]


def summarise(folder: Path, lane: Lane, platform: str = "illumina", shard_bases: int = 1 << 30) -> ReadPlan:
    return summarise_reads("sample", platform, [lane], folder / "out", shard_bases)


def assert_refused(folder: Path, lane: Lane, path: str, line: int | None, message: str, remedy: str, **options):
    with pytest.raises(InputError) as caught:
        summarise(folder, lane, **options)
    error = caught.value
    assert (error.path, error.line) == (path, line)
    assert message in error.message
    assert remedy in error.remedy
    place = path if line is None else f"{path}:{line}"
    assert str(error).startswith(f"{place}: ")
    assert not (folder / "out/reads.json").exists()


# ---- records that are no FASTQ


@pytest.mark.parametrize("compression", ["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "line", "message", "remedy"),
    [
        pytest.param(b"", None, "holds no reads", "check that the download finished", id="empty"),
        pytest.param(b">a\nACGT\n", 1, "is FASTA, not FASTQ", "give the reads as FASTQ", id="fasta"),
        pytest.param(b"ACGT\nACGT\n", 1, "it begins with b'A'", "begins with '@'", id="no-fastq"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, 1, "it begins with b'\\xef'", "begins with '@'", id="byte-order-mark"),
        pytest.param(GOOD + b"@b\nACGT\n+\nIII\n", 8, "qualities differ", "as many qualities", id="short-quality"),
        pytest.param(GOOD + b"@b\nACGT\n+\nIIIII\n", 8, "qualities differ", "as many qualities", id="long-quality"),
        pytest.param(GOOD + b"@b\nACGT\nACGT\n+\nIIII\n", 7, "start with '+'", "four lines", id="two-sequence-lines"),
        pytest.param(GOOD + b"b\nACGT\n+\nIIII\n", 5, "start with '@'", "four lines", id="no-at"),
        pytest.param(GOOD + b"@b\n", 6, "Premature end", "four lines", id="only-name"),
        pytest.param(GOOD + b"@b\nACGT\n", 7, "Premature end", "four lines", id="no-plus"),
        pytest.param(GOOD + b"@b\nACGT\n+\n", 8, "Premature end", "four lines", id="no-qualities"),
        pytest.param(GOOD + b"@b\nACGT\n+\nII", 8, "qualities differ", "four lines", id="half-qualities"),
        pytest.param(GOOD + b"@b\nAC\xc3\xa9T\n+\nIIIII\n", 6, "Non-ASCII", "look at this one", id="not-ascii"),
        pytest.param(GOOD + b"@b\nAC-.\n+\nIIII\n", 6, "read 2 holds '-', which", "as the sequencer", id="gaps"),
        pytest.param(GOOD + b"@b\nACGT\n+\nII I\n", 8, "read 2 has a quality outside", "Phred+33", id="blank-quality"),
        pytest.param(GOOD + b"@b\nACGT\n+\nII\x7fI\n", 8, "read 2 has a quality outside", "Phred+33", id="del-quality"),
        pytest.param(GOOD + b"@\nACGT\n+\nIIII\n", 5, "read 2 has no name", "give every read a name", id="no-name"),
        pytest.param(
            GOOD + b"@ b\nACGT\n+\nIIII\n", 5, "read 2 has no name", "give every read a name", id="blank-name"
        ),
    ],
)
def test_summarise_reads_bad_record_is_refused_with_its_line(
    tmp_path, compress, data, line, message, remedy, compression
):
    path = tmp_path / "reads.fastq"
    path.write_bytes(compress(data, compression))
    assert_refused(tmp_path, Lane(str(path), None), str(path), line, message, remedy)


@pytest.mark.parametrize("position", [0, 1, 6000, 70_000])
def test_summarise_reads_bad_letter_far_into_the_file_has_its_line(tmp_path, write_fastq, take_reads, position):
    """70,000 reads of 150 bases fill more than one batch and more than one of the parser's buffers."""
    name, sequence, qualities = take_reads("pairs_1.fastq.gz", 1)[0]
    records = [(name, sequence, qualities)] * 70_001
    records[position] = (name, "J" + sequence[1:], qualities)
    path = write_fastq(tmp_path / "reads.fastq", records)
    message = f"read {position + 1:,} holds 'J'"
    assert_refused(tmp_path, Lane(path, None), path, 4 * position + 2, message, "as the sequencer wrote them")


def test_summarise_reads_missing_file_is_named(tmp_path):
    path = str(tmp_path / "gone.fastq")
    assert_refused(tmp_path, Lane(path, None), path, None, "No such file or directory", "check the path")


def test_summarise_reads_other_compression_is_refused(tmp_path):
    path = tmp_path / "reads.fastq.xz"
    path.write_bytes(lzma.compress(b"@a\nA\n+\nI\n"))
    assert_refused(tmp_path, Lane(str(path), None), str(path), None, "compressed by xz", "xzcat reads.fastq.xz")


# ---- damaged compression


@pytest.mark.parametrize("left", [7, 11, 200, 5000, -9, -1])
@pytest.mark.parametrize("compression", ["gzip", "members", "bgzf", "bzip2", "pbzip2", "zstd", "pzstd"])
def test_summarise_reads_truncated_file_is_refused(tmp_path, write_fastq, take_reads, compression, left):
    path = tmp_path / "reads.fastq"
    write_fastq(path, take_reads("long.fastq.gz", 12), compression)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError) as caught:
        summarise(tmp_path, Lane(str(path), None), "ont")
    assert caught.value.path == str(path)
    assert caught.value.line >= 1
    assert " data are truncated or damaged after" in caught.value.message
    assert "download or copy the file again" in caught.value.remedy
    assert not (tmp_path / "out/reads.json").exists()


@pytest.mark.parametrize("compression", ["gzip", "pbzip2", "zstd"])
@pytest.mark.parametrize("share", [0.1, 0.37, 0.5, 0.8, 0.99])
def test_summarise_reads_flipped_byte_is_told_as_damage(tmp_path, write_fastq, take_reads, share, compression):
    """In a file of several blocks the parser stumbles first over the garbage; the message must still name the cause."""
    path = tmp_path / "reads.fastq.gz"
    write_fastq(path, take_reads("pairs_1.fastq.gz", 8000), compression)
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{compression.lstrip('p')} data are truncated or damaged") as caught:
        summarise(tmp_path, Lane(str(path), None))
    assert caught.value.path == str(path)
    assert "compare its checksum with the source's" in caught.value.remedy


def test_summarise_reads_damaged_second_file_is_named(tmp_path, write_fastq, take_reads):
    fq1 = write_fastq(tmp_path / "1.fq.gz", take_reads("pairs_1.fastq.gz", 400), "gzip")
    fq2 = write_fastq(tmp_path / "2.fq.gz", take_reads("pairs_2.fastq.gz", 400), "gzip")
    data = bytearray(Path(fq2).read_bytes())
    data[len(data) // 2] ^= 0x55
    Path(fq2).write_bytes(data)
    with pytest.raises(InputError, match="gzip data are truncated or damaged") as caught:
        summarise(tmp_path, Lane(fq1, fq2))
    assert caught.value.path == fq2


# ---- mates


@pytest.mark.parametrize("compression", ["plain", "gzip"])
@pytest.mark.parametrize(("count1", "count2"), [(10, 9), (9, 10), (10, 0), (0, 10)])
def test_summarise_reads_mates_of_unequal_number_are_refused(
    tmp_path, write_fastq, take_reads, compression, count1, count2
):
    fq1 = write_fastq(tmp_path / "1.fq", take_reads("pairs_1.fastq.gz", count1), compression)
    fq2 = write_fastq(tmp_path / "2.fq", take_reads("pairs_2.fastq.gz", count2), compression)
    longer, fewer = (fq1, count2) if count1 > count2 else (fq2, count1)
    message = f"at pair {fewer + 1}: 'pairs.{fewer + 1:06d}/{1 if longer == fq1 else 2}' has no mate"
    assert_refused(tmp_path, Lane(fq1, fq2), longer, 4 * fewer + 1, message, "original order")


def test_summarise_reads_mates_out_of_step_by_name_are_refused(tmp_path, write_fastq, take_reads):
    fq1 = write_fastq(tmp_path / "1.fq", take_reads("pairs_1.fastq.gz", 50))
    mates = take_reads("pairs_2.fastq.gz", 51)
    del mates[20]
    fq2 = write_fastq(tmp_path / "2.fq", mates)
    message = "out of step with 2.fq at pair 21: 'pairs.000021/1' is beside 'pairs.000022/2'"
    assert_refused(tmp_path, Lane(fq1, fq2), fq1, 81, message, "repair.sh")


def test_summarise_reads_odd_number_of_interleaved_reads_is_refused(tmp_path, write_fastq, take_reads):
    pairs = zip(take_reads("pairs_1.fastq.gz", 5), take_reads("pairs_2.fastq.gz", 5), strict=True)
    mixed = [record for pair in pairs for record in pair]
    path = write_fastq(tmp_path / "both.fq", mixed[:-1])
    message = "at pair 5: 'pairs.000005/1' has no mate"
    assert_refused(tmp_path, Lane(path, "interleaved"), path, 33, message, "original order")


@pytest.mark.parametrize("layout", ["two files", "interleaved"])
def test_summarise_reads_bad_letter_in_a_mate_has_its_own_place(tmp_path, write_fastq, take_reads, layout):
    records, mates = take_reads("pairs_1.fastq.gz", 5), take_reads("pairs_2.fastq.gz", 5)
    name, sequence, qualities = mates[3]
    mates[3] = (name, sequence[:-1] + "*", qualities)
    if layout == "interleaved":
        mixed = [record for pair in zip(records, mates, strict=True) for record in pair]
        path = write_fastq(tmp_path / "both.fq", mixed)
        lane, line, number = Lane(path, "interleaved"), 4 * 7 + 2, 8
    else:
        path = write_fastq(tmp_path / "2.fq", mates)
        lane, line, number = Lane(write_fastq(tmp_path / "1.fq", records), path), 4 * 3 + 2, 4
    assert_refused(tmp_path, lane, path, line, f"read {number} holds '*'", "as the sequencer wrote them")


# ---- Phred+64


def test_summarise_reads_phred_64_is_refused_for_illumina(tmp_path, write_fastq):
    path = write_fastq(tmp_path / "old.fq", [("a", "ACGT", "hhhB")])
    message = "run from 'B' to 'h', the Phred+64 form"
    assert_refused(tmp_path, Lane(path, None), path, None, message, "seqtk seq -VQ64")


def test_summarise_reads_phred_64_is_found_in_a_later_lane(tmp_path, write_fastq, take_reads):
    new = write_fastq(tmp_path / "new.fq", take_reads("pairs_1.fastq.gz", 5))
    old = write_fastq(tmp_path / "old.fq", [("a", "ACGT", "hhhB")])
    with pytest.raises(InputError, match=r"Phred\+64") as caught:
        summarise_reads("sample", "illumina", [Lane(new, None), Lane(old, None)], tmp_path / "out", 1000)
    assert caught.value.path == old


def test_summarise_reads_high_qualities_of_long_reads_are_accepted(tmp_path, write_fastq):
    path = write_fastq(tmp_path / "hifi.fq", [("a", "ACGT", "~~~~")])
    assert summarise(tmp_path, Lane(path, None), "pacbio").qualities.counts[93] == 4


# ---- what is accepted


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_summarise_reads_compression_does_not_change_the_summary(tmp_path, write_fastq, take_reads, compression):
    records = take_reads("long.fastq.gz", 40)
    plain = summarise(tmp_path, Lane(write_fastq(tmp_path / "a", records), None), "ont", 30_000)
    lane = Lane(write_fastq(tmp_path / "b", records, compression), None)
    other = summarise(tmp_path, lane, "ont", 30_000)
    if compression != "plain":
        assert (tmp_path / "out" / other.lanes[0].indexes[0]).stat().st_size > 0
    assert len(plain.shards) > 3
    assert replace(other, lanes=()) == replace(plain, lanes=())


def test_summarise_reads_crlf_counts_the_same(tmp_path):
    path = tmp_path / "reads.fastq"
    path.write_bytes((GOOD * 3).replace(b"\n", b"\r\n"))
    result = summarise(tmp_path, Lane(str(path), None))
    assert (result.reads, result.bases, result.gc.mean) == (3, 12, 0.5)
    assert result.qualities.counts[-1] == 12


def test_summarise_reads_lower_case_counts_as_upper(tmp_path, write_fastq):
    path = write_fastq(tmp_path / "reads", [("a", "acgtnACGTN", "I" * 10)])
    result = summarise(tmp_path, Lane(path, None))
    assert (result.gc.mean, result.unknown_bases) == (0.5, 2)


def test_summarise_reads_without_last_line_end(tmp_path):
    path = tmp_path / "reads"
    path.write_bytes((GOOD * 2)[:-1])
    result = summarise(tmp_path, Lane(str(path), None), shard_bases=1)
    assert [shard.end for shard in result.shards] == [(15,), (29,)]


@pytest.mark.parametrize("sequences", [["", "ACGT"], ["ACGT", ""], ["NNNN", "ACGT"]])
def test_summarise_reads_empty_and_unknown_reads_are_counted(tmp_path, write_fastq, sequences):
    records = [(f"r{i}", sequence, "I" * len(sequence)) for i, sequence in enumerate(sequences)]
    result = summarise(tmp_path, Lane(write_fastq(tmp_path / "reads", records), None))
    assert result.reads == len(sequences)
    assert result.bases == sum(map(len, sequences))
    assert sum(shard.fragments for shard in result.shards) == len(sequences)
    assert result.gc.mean == 0.5


# ---- the numbers


def get_n50(lengths: list[int]) -> int:
    total = 0
    for length in sorted(lengths, reverse=True):
        total += length
        if 2 * total >= sum(lengths):
            return length
    raise AssertionError


def assert_summary(result: ReadPlan, reads: list[tuple[str, str, str]]):
    lengths = [len(sequence) for _, sequence, _ in reads]
    letters = Counter("".join(sequence for _, sequence, _ in reads))
    qualities = Counter(ord(letter) - 33 for _, _, quality in reads for letter in quality)
    assert result.reads == len(reads)
    assert result.bases == sum(lengths)
    assert result.lengths.min == min(lengths)
    assert result.lengths.max == max(lengths)
    assert result.lengths.mean == pytest.approx(sum(lengths) / len(lengths))
    assert result.lengths.n50 == get_n50(lengths)
    assert sum(result.lengths.counts) == len(reads)
    edges = result.lengths.edges
    for begin, end, count in zip(edges, edges[1:], result.lengths.counts, strict=False):
        assert count == sum(begin <= length < end or length == end == edges[-1] for length in lengths)
    gc = letters["G"] + letters["C"]
    assert result.gc.mean == pytest.approx(gc / (gc + letters["A"] + letters["T"]))
    shares = Counter()
    for _, sequence, _ in reads:
        known = len(sequence) - sequence.count("N")
        if known:
            shares[min(100 * (sequence.count("G") + sequence.count("C")) // known, 99)] += 1
    assert list(result.gc.counts) == [shares[share] for share in range(100)]
    assert result.unknown_bases == letters["N"]
    assert list(result.qualities.counts) == [qualities[quality] for quality in range(max(qualities) + 1)]
    error = sum(count * 10 ** (-quality / 10) for quality, count in qualities.items()) / sum(lengths)
    assert result.qualities.mean_error == pytest.approx(error)


def test_summarise_reads_numbers_equal_a_naive_count_of_long_reads(tmp_path, write_fastq, take_reads):
    reads = take_reads("long.fastq.gz", 101)
    reads[3] = ("n", "NNNNGC" + "A" * 7, "!" * 13)
    result = summarise(tmp_path, Lane(write_fastq(tmp_path / "reads", reads, "gzip"), None), "ont", 50_000)
    assert result.fragments == len(reads)
    assert_summary(result, reads)


def test_summarise_reads_numbers_equal_a_naive_count_of_lanes_of_pairs(tmp_path, write_fastq, take_reads):
    records, mates = take_reads("pairs_1.fastq.gz", 300), take_reads("pairs_2.fastq.gz", 300)
    mixed = [record for pair in zip(records[200:], mates[200:], strict=True) for record in pair]
    lanes = [
        Lane(write_fastq(tmp_path / "1", records[:200], "gzip"), write_fastq(tmp_path / "2", mates[:200])),
        Lane(write_fastq(tmp_path / "both", mixed), "interleaved"),
    ]
    result = summarise_reads("sample", "illumina", lanes, tmp_path / "out", 9000)
    assert load_reads(tmp_path / "out/reads.json") == result
    assert (result.sample, result.platform, result.fragments) == ("sample", "illumina", 300)
    assert_summary(result, records + mates)
    assert [lane.fragments for lane in result.lanes] == [200, 100]
    assert [lane.reads for lane in result.lanes] == [400, 200]
    assert [lane.sha256 for lane in result.lanes] == [
        (hash_file(lanes[0].fq1), hash_file(lanes[0].fq2)),
        (hash_file(lanes[1].fq1),),
    ]
    assert [(lane.fq1, lane.fq2) for lane in result.lanes] == [(lane.fq1, lane.fq2) for lane in lanes]
    # One index, for the one gzip file.
    assert [lane.indexes for lane in result.lanes] == [("index/lane1_1.gzi", None), (None,)]
    assert [path.name for path in (tmp_path / "out/index").iterdir()] == ["lane1_1.gzi"]


def test_summarise_reads_shards_end_with_bases_and_with_lanes(tmp_path, write_fastq):
    def make(*lengths):
        return [("r", "A" * length, "I" * length) for length in lengths]

    lanes = [
        Lane(write_fastq(tmp_path / "1", make(4, 6, 3, 3, 3, 3)), None),
        Lane(write_fastq(tmp_path / "2", make(30, 0, 9)), None),
    ]
    result = summarise_reads("sample", "ont", lanes, tmp_path / "out", 10)
    assert [(shard.lane, shard.first_fragment, shard.fragments, shard.bases) for shard in result.shards] == [
        (0, 0, 2, 10),
        (0, 2, 4, 12),
        (1, 6, 1, 30),
        (1, 7, 2, 9),
    ]
    for number, path in enumerate(("1", "2")):
        ranges = [(shard.begin[0], shard.end[0]) for shard in result.shards if shard.lane == number]
        assert ranges[0][0] == 0
        assert ranges[0][1] == ranges[1][0]
        assert ranges[1][1] == (tmp_path / path).stat().st_size


def test_summarise_reads_is_deterministic(tmp_path, write_fastq, take_reads):
    lane = Lane(write_fastq(tmp_path / "reads", take_reads("long.fastq.gz", 30), "gzip"), None)
    content = []
    for name in ("a", "b"):
        summarise_reads("sample", "ont", [lane], tmp_path / name, 20_000)
        content.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")})
    assert content[0] == content[1]
    assert len(content[0]) == 2
