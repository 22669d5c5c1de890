"""FASTQ streams: compression, line offsets, byte ranges, mates in step."""

import io
import lzma
import random
from contextlib import closing

import dnaio
import pytest

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads import fastq

COMPRESSIONS = {
    "plain": "",
    "gzip": "gzip",
    "members": "gzip",
    "bgzf": "gzip",
    "bzip2": "bzip2",
    "pbzip2": "bzip2",
    "zstd": "zstd",
    "pzstd": "zstd",
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_get_compression_looks_at_the_content(tmp_path, write_fastq, compression):
    path = write_fastq(tmp_path / "reads.whatever", [("a", "ACGT", "IIII")], compression)
    assert fastq.get_compression(path) == COMPRESSIONS[compression]


def test_get_compression_empty_file_is_plain(tmp_path):
    (tmp_path / "empty.gz").touch()
    assert fastq.get_compression(str(tmp_path / "empty.gz")) == ""


def test_get_compression_xz_is_refused_with_the_tool(tmp_path):
    path = tmp_path / "reads.fastq.gz"
    path.write_bytes(lzma.compress(b"@a\nA\n+\nI\n"))
    with pytest.raises(InputError, match="is compressed by xz") as caught:
        fastq.get_compression(str(path))
    assert caught.value.path == str(path)
    assert caught.value.remedy == "convert it: xzcat reads.fastq.gz | gzip > reads.fastq.gz"


@pytest.mark.parametrize("compression", ["pbzip2", "pzstd"])
def test_open_stream_sees_a_damaged_beginning_of_a_later_member(tmp_path, compress, compression):
    """Python's own readers take what follows for a harmless tail, and end there without a word."""
    record = b"@a\nACGT\n+\nIIII\n"
    path = tmp_path / "reads"
    data = bytearray(compress(record * 20_000, compression))
    magic = b"BZh" if compression == "pbzip2" else b"\x28\xb5\x2f\xfd"
    data[data.index(magic, data.index(magic) + 4)] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="data are truncated or damaged after"):
        fastq.check_compression(str(path))


@pytest.mark.parametrize("compression", ["bzip2", "zstd"])
def test_open_stream_refuses_what_follows_the_data(tmp_path, compress, compression):
    path = tmp_path / "reads"
    path.write_bytes(compress(b"@a\nACGT\n+\nIIII\n", compression) + bytes(100))
    with pytest.raises(InputError, match="data are truncated or damaged after"):
        fastq.check_compression(str(path))


@pytest.mark.parametrize(("name", "reason"), [("gone.fastq", "No such file"), ("", "Is a directory")])
def test_get_compression_unreadable_file_is_named(tmp_path, name, reason):
    path = str(tmp_path / name)
    with pytest.raises(InputError, match=reason) as caught:
        fastq.get_compression(path)
    assert caught.value.path == path
    assert "check the path" in caught.value.remedy


@pytest.mark.parametrize("seed", range(20))
def test_get_line_offset_equals_a_plain_count(seed):
    rng = random.Random(seed)
    lines = [b"@" + b"x" * rng.choice([0, 1, 7, 80, 3000]) + b"\n" for _ in range(rng.randint(1, 300))]
    if seed % 3 == 0:
        lines[-1] = lines[-1][:-1]  # no line end at the end of the file
    data = b"".join(lines)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    stream = fastq.TrackedStream(io.BytesIO(data), "reads")
    size = rng.choice([1 + len(data) // 1000, 997, 10_000, 1 << 20])
    line = received = 0
    while block := stream.read(size):
        received += len(block)
        complete = sum(offset <= received for offset in offsets) - 1
        # The parser is behind the stream: ask, in rising order, for some of the lines that have been read whole.
        while line <= complete and rng.random() < 0.7:
            assert stream.get_line_offset(line) == offsets[line]
            stream.forget_before(line)
            line += rng.randint(0, 5)
    assert received == len(data)
    assert stream.get_line_offset(len(lines)) == len(data)


def test_tracked_stream_forgets_what_lies_behind():
    stream = fastq.TrackedStream(io.BytesIO(b"@x\nA\n+\nI\n" * 10_000), "reads")
    for record in range(0, 10_000, 10):
        stream.read(90)  # ten records
        stream.forget_before(4 * record)
        assert len(stream._blocks) <= 3


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_open_range_reads_exactly_the_range(tmp_path, write_fastq, take_reads, compression):
    records = take_reads("long.fastq.gz", 60)
    path = write_fastq(tmp_path / "reads", records, compression)
    with closing(fastq.open_stream(path)) as stream:
        data = b"".join(iter(lambda: stream.read(100_000), b""))
    starts = [0]
    for name, sequence, qualities in records:
        starts.append(starts[-1] + len(name) + len(sequence) + len(qualities) + 6)
    assert starts[-1] == len(data)
    index = None
    if compression != "plain":
        index = str(tmp_path / "index")
        fastq.write_seek_index(path, index)
    for begin, end in [(0, 60), (0, 1), (59, 60), (7, 31), (30, 30), (60, 60)]:
        for used in {index, None}:
            with closing(fastq.open_range(path, starts[begin], starts[end], used)) as stream:
                part = b"".join(iter(lambda: stream.read(77_777), b""))
            assert part == data[starts[begin] : starts[end]]


def test_write_seek_index_bytes_after_the_gzip_data_are_refused(tmp_path, write_fastq):
    path = tmp_path / "reads.gz"
    write_fastq(path, [("a", "ACGT", "IIII")], "gzip")
    path.write_bytes(path.read_bytes() + bytes(100))
    with pytest.raises(InputError, match="cannot be indexed") as caught:
        fastq.write_seek_index(str(path), str(tmp_path / "index"))
    assert caught.value.path == str(path)
    assert "zcat reads.gz | gzip" in caught.value.remedy


def test_check_compression_finds_a_wrong_checksum(tmp_path, write_fastq, take_reads):
    path = tmp_path / "reads.gz"
    write_fastq(path, take_reads("pairs_1.fastq.gz", 100), "gzip")
    fastq.check_compression(str(path))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # within the CRC
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"truncated or damaged .*CRC"):
        fastq.check_compression(str(path))


def test_check_compression_passes_over_plain_files(tmp_path, write_fastq):
    fastq.check_compression(write_fastq(tmp_path / "reads", []))


def read_names(lane: Lane) -> list[tuple[str, str | None]]:
    paths = [lane.fq1] if lane.fq2 in (None, "interleaved") else [lane.fq1, lane.fq2]
    streams = [fastq.open_stream(path) for path in paths]
    return [
        (record.name, None if mate is None else mate.name) for record, mate in fastq.iterate_fragments(streams, lane)
    ]


def write_lane(write_fastq, folder, layout: str, names: list[str], mate_names: list[str]) -> Lane:
    def make(names):
        return [(name, "ACGT", "IIII") for name in names]

    if layout == "interleaved":
        mixed = [name for pair in zip(names, mate_names, strict=True) for name in pair]
        return Lane(write_fastq(folder / "both.fq", make(mixed)), "interleaved")
    return Lane(write_fastq(folder / "one.fq", make(names)), write_fastq(folder / "two.fq", make(mate_names)))


@pytest.mark.parametrize("layout", ["two files", "interleaved"])
@pytest.mark.parametrize(
    ("names", "mate_names"),
    [
        (["a/1", "b/1"], ["a/2", "b/2"]),
        (["a", "b"], ["a", "b"]),
        (["a 1:N:0:ACGT", "b 1:N:0:ACGT"], ["a 2:N:0:ACGT", "b 2:N:0:ACGT"]),
        (["S.1.1 1 length=4", "S.2.1 2 length=4"], ["S.1.2 1 length=4", "S.2.2 2 length=4"]),
        (["S.1 1", "S.2 2", "S.3 3"], ["S.1 1", "S.2 2", "S.3 3"]),
        (["a\t1"], ["a\t2"]),
    ],
)
def test_iterate_fragments_accepts_every_convention_for_mates(tmp_path, write_fastq, layout, names, mate_names):
    lane = write_lane(write_fastq, tmp_path, layout, names, mate_names)
    assert read_names(lane) == list(zip(names, mate_names, strict=True))


@pytest.mark.parametrize("layout", ["two files", "interleaved"])
@pytest.mark.parametrize(
    ("names", "mate_names", "pair"),
    [
        (["a/1", "b/1", "c/1"], ["a/2", "c/2", "b/2"], 2),
        (["a", "b"], ["b", "a"], 1),
        (["a/2"], ["a/1"], 1),
        # dnaio alone takes these for mates, because only their last digit differs.
        (["S.1", "S.2"], ["S.2", "S.1"], 2),
        (["r1", "r2", "r3"], ["r2", "r3", "r1"], 2),
    ],
)
def test_iterate_fragments_mates_out_of_step_by_name(tmp_path, write_fastq, layout, names, mate_names, pair):
    lane = write_lane(write_fastq, tmp_path, layout, names, mate_names)
    with pytest.raises(InputError, match=f"out of step with .* at pair {pair}: '.*' is beside '.*'") as caught:
        read_names(lane)
    assert caught.value.path == lane.fq1
    assert caught.value.line == 1 + (pair - 1) * (8 if layout == "interleaved" else 4)
    assert "original order" in caught.value.remedy


def test_iterate_fragments_single_reads_have_no_mates(tmp_path, write_fastq):
    lane = Lane(write_fastq(tmp_path / "reads", [("a/1", "ACGT", "IIII"), ("a/2", "ACGT", "IIII")]), None)
    assert read_names(lane) == [("a/1", None), ("a/2", None)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("a/1", "a"),
        ("a/2", "a"),
        ("a/3", "a/3"),
        ("a/1 comment/2", "a"),
        ("a comment/1", "a"),
        ("a\tcomment", "a"),
        ("a/1/2", "a/1"),
        ("SRR1.1.1", "SRR1.1.1"),
        ("/1", ""),
    ],
)
def test_get_fragment_name_cuts_blank_and_mate_number(name, expected):
    assert fastq.get_fragment_name(dnaio.SequenceRecord(name, "A", "I")) == expected


def test_open_stream_refuses_bgzip_cut_between_two_blocks(tmp_path, compress):
    whole = compress(b"@a\nACGT\n+\nIIII\n" * 20_000, "bgzf")
    path = tmp_path / "reads.fastq.gz"
    path.write_bytes(whole)
    fastq.check_compression(str(path))
    path.write_bytes(whole[:-28])
    with pytest.raises(InputError, match="empty block that ends every bgzip file is missing") as caught:
        fastq.check_compression(str(path))
    assert caught.value.path == str(path)
    assert "copy the file again" in str(caught.value)
