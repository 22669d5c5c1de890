"""FASTQ files: their compression, and ranges of their bytes."""

import io
import lzma
import random
from contextlib import closing

import pytest

from readclade.errors import InputError
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
