"""FASTQ files as a stream of fragments, with the byte offset at which any fragment begins.

dnaio parses, isal decompresses and, because it sees the end of a truncated gzip file, also validates; rapidgzip seeks
inside a gzip or bzip2 file that was validated before. What is left for this module: mates in step, errors that name
file and line, and byte ranges, so that a shard can be read without reading what lies before it.
"""

import gzip
import hashlib
import io
import json
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import dnaio
import rapidgzip
from isal import igzip, isal_zlib

from readclade.errors import InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads.compression import MAGIC_BYTES, DamagedError, MemberStream, find_compression
from readclade.storage import locations

_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_DECOMPRESSION_ERRORS = (EOFError, gzip.BadGzipFile, isal_zlib.error, zlib.error, DamagedError)
# What a seek index is called after. zstd has none: a gzip copy, with an index of its own, stands in for it.
INDEX_SUFFIXES = {"gzip": ".gzi", "bzip2": ".bzi", "zstd": ".gz"}

Mates = tuple[dnaio.SequenceRecord, dnaio.SequenceRecord | None]


def get_compression(path: str) -> str:
    """Return "gzip", "bzip2", "zstd" or "", whatever the file's name says; refuse others with a remedy.

    Raises:
        InputError: the file is missing or compressed by something else.
    """
    file, answer = _open(path)
    file.close()
    return answer


def _open(path: str, etag: str | None = None) -> tuple[BinaryIO, str]:
    """Open a file at its beginning, and tell its compression."""
    try:
        file = locations.open_read(path, etag)
        compression = find_compression(file.read(MAGIC_BYTES))
        file.seek(0)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", path=path, remedy="check the path and its permissions"
        ) from None
    if compression == "xz":
        file.close()
        raise InputError(
            "is compressed by xz, which is not read here",
            path=path,
            remedy=f"convert it: xzcat {PurePosixPath(path).name} | gzip > reads.fastq.gz",
        )
    return file, compression


def _check_bgzip_end(path: str) -> None:
    """Refuse a bgzip file that lost its end at the border of two blocks, where gzip itself sees nothing wrong.

    The SAM specification, section 4.1.2, puts an empty block at the end of every BGZF file for this purpose.
    """
    with locations.open_read(path) as file:
        head = file.read(18)
        if head[3:4] != b"\x04" or head[12:14] != b"BC":
            return
        file.seek(-min(len(_BGZIP_END), file.seek(0, 2)), 2)
        if file.read() != _BGZIP_END:
            raise InputError(
                "is truncated: the empty block that ends every bgzip file is missing",
                path=path,
                remedy="download or copy the file again, and compare its checksum with the source's",
            )


class _HashedFile(io.RawIOBase):
    """A file that is read once, from its beginning, and hashed meanwhile: on S3, a second pass would cost as much."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = self._file.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count

    def get_sha256(self) -> str:
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


class TrackedStream:
    """A binary stream that remembers where its recent lines begin.

    dnaio tells records but not their offsets. This stream sits below the parser and counts line ends block by block;
    blocks are forgotten once `forget_before` says that the parser is past them.
    """

    def __init__(
        self, stream, path: str, file=None, kind: str = "", check_end: Callable[[str], None] = lambda path: None
    ):
        """Take the stream and the file below it, which is closed with it.

        `kind` is the compression, for an error; `check_end` is called with the path when the stream has been read to
        its end.
        """
        self._kind = kind
        self._stream = stream
        self._file = file
        self._path = path
        self._check_end = check_end
        self._blocks: deque[tuple[int, int, bytes]] = deque()  # (offset, lines before it, bytes)
        self._offset = 0
        self._lines = 0

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; raise InputError where the file is no FASTQ or its compression is broken."""
        try:
            block = self._stream.read(size)
        except _DECOMPRESSION_ERRORS as error:
            raise InputError(
                f"the {self._kind} data are truncated or damaged after {self._offset:,} decompressed bytes ({error})",
                path=self._path,
                line=self._lines + 1,
                remedy="download or copy the file again, and compare its checksum with the source's",
            ) from None
        if not block:
            self._check_end(self._path)
        if self._offset == 0 and block and block[:1] != b"@":
            what = "is FASTA, not FASTQ" if block[:1] == b">" else f"is not FASTQ: it begins with {block[:1]!r}"
            raise InputError(
                what, path=self._path, line=1, remedy="give the reads as FASTQ, where every record begins with '@'"
            )
        if block:
            self._blocks.append((self._offset, self._lines, block))
        self._offset += len(block)
        self._lines += block.count(b"\n")
        return block

    def get_line_offset(self, line: int) -> int:
        """Return the offset in bytes at which a line (from 0) begins, and forget the blocks before it."""
        while len(self._blocks) > 1 and self._blocks[1][1] < line:
            self._blocks.popleft()
        if not self._blocks or line == 0:
            return 0
        offset, lines, block = self._blocks[0]
        position = -1
        for _ in range(line - lines):
            position = block.find(b"\n", position + 1)
            if position < 0:  # the last line has no line end
                return self._offset
        return offset + position + 1

    def forget_before(self, line: int) -> None:
        """Free the blocks that end before a line (from 0)."""
        while len(self._blocks) > 1 and self._blocks[1][1] < line:
            self._blocks.popleft()

    def find_non_ascii(self) -> int | None:
        """Return the line (from 0) of the first byte beyond ASCII in the blocks that are not forgotten."""
        for _, lines, block in self._blocks:
            if not block.isascii():
                position = next(i for i, byte in enumerate(block) if byte > 127)
                return lines + block.count(b"\n", 0, position)
        return None

    def get_sha256(self) -> str:
        """Return the checksum of the file as it lies there; only of `open_stream`, read to its end."""
        return self._file.get_sha256()

    def get_read_error(self) -> InputError | None:
        """Return what went wrong with the file below, where the decompression hides it; None if nothing."""
        return locations.get_read_error(self._file)

    def close(self) -> None:
        """Close the stream and the file below."""
        self._stream.close()
        if self._file is not None:
            self._file.close()


class _Range:
    """The bytes [begin, end) of a seekable stream."""

    def __init__(self, stream, begin: int, end: int):
        stream.seek(begin)
        self._stream, self._left = stream, end - begin

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()


def open_stream(path: str, etag: str | None = None) -> TrackedStream:
    """Open a FASTQ file, plain, gzip, bzip2 or zstd, from its beginning, with every check of its compression.

    Args:
        path: local path or s3://bucket/key.
        etag: on S3, the version that it must be; None for any.
    """
    file, compression = _open(path, etag)
    file = _HashedFile(file)
    if compression == "gzip":
        return TrackedStream(igzip.open(file, "rb"), path, file, compression, _check_bgzip_end)
    if compression:
        return TrackedStream(MemberStream(file, compression), path, file, compression)
    return TrackedStream(file, path, file)


def check_compression(path: str) -> None:
    """Read a compressed file to its end; raise InputError where it is damaged."""
    if get_compression(path):
        with closing(open_stream(path)) as stream:
            line = 0
            while block := stream.read(1 << 20):
                line += block.count(b"\n")
                stream.forget_before(line)


def open_range(path: str, begin: int, end: int, index: str | None, etag: str | None = None) -> TrackedStream:
    """Open the decompressed bytes [begin, end) of a FASTQ file.

    Args:
        path: a file that `open_stream` has read whole without an error.
        begin, end: offsets in decompressed bytes, each the beginning of a record or the end of the file.
        index: the seek index of a compressed file (`write_seek_index`); None reads from the beginning.
        etag: on S3, the version that it must be; None for any.
    """
    file, compression = _open(path, etag)
    if compression == "zstd" and index is not None:
        file.close()
        return open_range(index, begin, end, index + INDEX_SUFFIXES["gzip"])
    if not compression:
        locations.stop_reading_ahead(file, end)
        stream = file
    elif compression == "zstd":
        stream = MemberStream(file, compression)
    elif compression == "bzip2":
        stream = rapidgzip.IndexedBzip2File(_choose_source(path, file), parallelization=1)
        if index is not None:
            offsets = json.loads(locations.read_bytes(index))
            stream.set_block_offsets({int(at): offset for at, offset in offsets.items()})
    else:
        stream = rapidgzip.open(_choose_source(path, file), parallelization=1)
        if index is not None:
            stream.import_index(io.BytesIO(locations.read_bytes(index)))
    return TrackedStream(_Range(stream, begin, end), path, file, compression)


def _choose_source(path: str, file: BinaryIO) -> str | BinaryIO:
    """Return what rapidgzip reads best: it opens a local path once for each of its threads."""
    return file if locations.is_s3(path) else path


def write_seek_index(path: str, index: str, threads: int = 1, etag: str | None = None) -> None:
    """Write what lets `open_range` read the middle of a compressed file.

    For gzip that is an index of about 1% of the decompressed size, for bzip2 one of a few bytes a megabyte. A zstd file
    is most often one frame, which nothing can enter in the middle: there it is a gzip copy of the file, and an index.

    Raises:
        InputError: the file has bytes after its gzip data; isal passes over zeros there, rapidgzip refuses them.
    """
    compression = get_compression(path)
    if compression == "zstd":
        with locations.open_read(path, etag) as file, igzip.open(index, "wb", compresslevel=1) as copy:
            shutil.copyfileobj(MemberStream(file, compression), copy, 1 << 20)
        path, index, etag = index, index + INDEX_SUFFIXES["gzip"], None
    buffer = bytearray(1 << 22)
    with locations.open_read(path, etag) as file:
        try:
            if compression == "bzip2":
                with rapidgzip.IndexedBzip2File(_choose_source(path, file), parallelization=threads) as stream:
                    Path(index).write_text(json.dumps(stream.block_offsets()))
                return
            with rapidgzip.open(_choose_source(path, file), parallelization=threads) as stream:
                while stream.readinto(buffer):
                    pass
                stream.export_index(index)
        except (RuntimeError, ValueError) as error:
            tool = "bzcat" if compression == "bzip2" else "zcat"
            raise locations.get_read_error(file) or InputError(
                f"cannot be indexed, so that no shard of it can be read alone: {error}",
                path=path,
                remedy=f"compress it again: {tool} {PurePosixPath(path).name} | gzip > reads.fastq.gz",
            ) from None


def get_lines_per_fragment(lane: Lane) -> int:
    """Return how many lines of one file make one fragment."""
    return 8 if lane.fq2 == INTERLEAVED else 4


def iterate_fragments(streams: list[TrackedStream], lane: Lane) -> Iterator[Mates]:
    """Yield the records of each fragment, mates together and in step.

    Args:
        streams: one stream, or two for a lane whose mates lie in two files.
        lane: names the files in errors, and says whether mates alternate in one file.

    Raises:
        InputError: a broken record, or mates that differ in name or number, with file and line.
    """
    first = _read_records(streams[0], lane.fq1)
    if lane.fq2 is None:
        for record in first:
            yield record, None
        return
    interleaved = lane.fq2 == INTERLEAVED
    second_path = lane.fq1 if interleaved else lane.fq2
    second = first if interleaved else _read_records(streams[1], second_path)
    number = 0
    for record in first:
        mate = next(second, None)
        if mate is None:
            raise _out_of_step(lane.fq1, second_path, number, f"'{record.name}' has no mate")
        if not _are_mates(record, mate):
            raise _out_of_step(lane.fq1, second_path, number, f"'{record.name}' is beside '{mate.name}'")
        yield record, mate
        number += 1
    extra = next(second, None)
    if extra is not None:
        raise _out_of_step(second_path, lane.fq1, number, f"'{extra.name}' has no mate")


def _are_mates(record: dnaio.SequenceRecord, mate: dnaio.SequenceRecord) -> bool:
    """Return whether the names are those of two mates.

    dnaio passes over any last digit from 1 to 3, so that SRR1.1 beside SRR1.2 or r2 beside r1 would pass for mates.
    """
    if not record.is_mate(mate):
        return False
    name, mate_name = record.id, mate.id
    return name == mate_name or (name.endswith("1") and mate_name.endswith("2"))


def _out_of_step(path: str, other: str, number: int, message: str) -> InputError:
    line = 8 * number + 1 if path == other else 4 * number + 1
    return InputError(
        f"the mates are out of step with {PurePosixPath(other).name} at pair {number + 1:,}: {message}",
        path=path,
        line=line,
        remedy="give both files of one run in their original order, or repair them with a tool such as repair.sh",
    )


def _read_records(stream: TrackedStream, path: str) -> Iterator[dnaio.SequenceRecord]:
    try:
        # 1 MiB keeps the share of Python in reading small; dnaio grows the buffer for a longer record.
        yield from dnaio.FastqReader(stream, buffer_size=1 << 20)
    except dnaio.FastqFormatError as error:
        line = stream.find_non_ascii() if error.line is None else error.line
        raise InputError(
            f"is not valid FASTQ: {error.message}",
            path=path,
            line=None if line is None else line + 1,
            remedy="each record has four lines: @name, bases, +, and as many qualities as bases; look at this one",
        ) from None


def get_fragment_name(record: dnaio.SequenceRecord) -> str:
    """Return a FASTQ name up to its first blank, without /1 or /2."""
    name = record.id
    return name[:-2] if name.endswith(("/1", "/2")) else name
