"""FASTQ files, opened from the beginning or in the middle, by which a shard can be read without what lies before it.

isal decompresses and, because it sees the end of a truncated gzip file, also validates; rapidgzip seeks inside a gzip
or bzip2 file that was validated before.
"""

import io
import json
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import rapidgzip
from isal import igzip

from readclade.errors import InputError
from readclade.reads.compression import MAGIC_BYTES, MemberStream, find_compression
from readclade.reads.streams import HashedFile, RangeStream, SeekableStream, TrackedStream
from readclade.storage import locations

_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
# What a seek index is called after. zstd has none: a gzip copy, with an index of its own, stands in for it.
INDEX_SUFFIXES = {"gzip": ".gzi", "bzip2": ".bzi", "zstd": ".gz"}


def get_compression(path: str) -> str:
    """Return "gzip", "bzip2", "zstd" or "", whatever the file's name says; refuse others with a remedy.

    Raises:
        InputError: the file is missing or compressed by something else.
    """
    file, answer = _open(path)
    file.close()
    return answer


def _open(path: str, etag: str | None = None) -> tuple[io.BufferedReader, str]:
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


def open_stream(path: str, etag: str | None = None) -> TrackedStream:
    """Open a FASTQ file, plain, gzip, bzip2 or zstd, from its beginning, with every check of its compression.

    Args:
        path: local path or s3://bucket/key.
        etag: on S3, the version that it must be; None for any.
    """
    raw, compression = _open(path, etag)
    file = HashedFile(raw)
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
    stream: SeekableStream
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
        indexed = rapidgzip.IndexedBzip2File(_choose_source(path, file), parallelization=1)
        if index is not None:
            offsets = json.loads(locations.read_bytes(index))
            indexed.set_block_offsets({int(at): offset for at, offset in offsets.items()})
        stream = indexed
    else:
        indexed = rapidgzip.open(_choose_source(path, file), parallelization=1)
        if index is not None:
            indexed.import_index(io.BytesIO(locations.read_bytes(index)))
        stream = indexed
    return TrackedStream(RangeStream(stream, begin, end), path, file, compression)


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
            stream = MemberStream(file, compression)
            while block := stream.read(1 << 20):
                copy.write(block)
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
