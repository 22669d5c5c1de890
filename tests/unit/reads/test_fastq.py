"""FASTQ files: their compression, and ranges of their bytes."""

import io
import lzma
import random
import sys
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
        index = fastq.write_seek_index(path, str(tmp_path / "index"))
    for begin, end in [(0, 60), (0, 1), (59, 60), (7, 31), (30, 30), (60, 60)]:
        for used in {index, None}:
            with closing(fastq.open_range(path, starts[begin], starts[end], used)) as stream:
                part = b"".join(iter(lambda: stream.read(77_777), b""))
            assert part == data[starts[begin] : starts[end]]


@pytest.mark.parametrize("place", ["between", "behind", "bgzf then gzip", "bgzf without its end"])
def test_open_range_of_sound_gzip_that_few_write(tmp_path, compress, take_reads, place):
    """gzip -t takes all of them; zeros pad tapes and disk images, and cat joins files."""
    text = "".join(f"@{name}\n{bases}\n+\n{qualities}\n" for name, bases, qualities in take_reads("long.fastq.gz", 60))
    half = [text[: len(text) // 2].encode(), text[len(text) // 2 :].encode()]
    first, second = (compress(part, "bgzf" if place.startswith("bgzf") else "gzip") for part in half)
    data = {
        "between": first + bytes(100) + second,
        "behind": first + second + bytes(1000),
        "bgzf then gzip": first + compress(half[1], "gzip"),
        "bgzf without its end": first[:-28] + second[:-28],
    }[place]
    path = tmp_path / "reads.gz"
    path.write_bytes(data)
    with closing(fastq.open_stream(str(path))) as stream:
        assert b"".join(iter(lambda: stream.read(100_000), b"")) == text.encode()
    index = fastq.write_seek_index(str(path), str(tmp_path / "index"))
    begin = text.index("\n@", len(text) // 3) + 1
    for used in (index, None):
        with closing(fastq.open_range(str(path), begin, len(text), used)) as stream:
            assert b"".join(iter(lambda: stream.read(77_777), b"")) == text[begin:].encode()
    assert fastq.lacks_end(str(path)) == place.startswith("bgzf")


@pytest.mark.parametrize("bits", [28, 30])
def test_open_stream_zstd_with_a_long_window(tmp_path, compress, bits):
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    text = b"@a\nACGT\n+\nIIII\n" * 10
    options = {zstd.CompressionParameter.window_log: bits, zstd.CompressionParameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)
    path = tmp_path / "reads.zst"
    path.write_bytes(compressor.compress(text) + compressor.flush())  # it does not say how long it is
    with closing(fastq.open_stream(str(path))) as stream:
        if bits == 28:
            assert stream.read(1000) == text
        else:
            with pytest.raises(InputError, match="need a window of more than 512 MB") as caught:
                stream.read(1000)
            assert "zstd -dc --long=31 reads.zst | gzip" in caught.value.remedy


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
