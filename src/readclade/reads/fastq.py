"""FASTQ files, opened from the beginning or in the middle, by which a shard can be read without what lies before it.

isal decompresses and, because it sees the end of a truncated gzip file, also validates; rapidgzip seeks inside a gzip
or bzip2 file that was validated before.
"""

import io
import json
import zlib
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import rapidgzip
from isal import igzip

from readclade.errors import InputError
from readclade.reads.bam import BamStream
from readclade.reads.compression import MAGIC_BYTES, MemberStream, find_compression
from readclade.reads.streams import HashedFile, RangeStream, SeekableStream, TrackedStream
from readclade.storage import locations

_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
# What a seek index is called after. Where a file can have none, a gzip copy with an index of its own stands in for it.
_INDEX_SUFFIXES = {"gzip": ".gzi", "bzip2": ".bzi"}
_COPY_SUFFIX = ".gz"


def get_compression(path: str) -> str:
    """Return "gzip", "bzip2", "zstd", "bam" or "", whatever the file's name says; refuse others with a remedy.

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
        head = file.read(1 << 16)
        file.seek(0)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", path=path, remedy="check the path and its permissions"
        ) from None
    compression = find_compression(head[:MAGIC_BYTES])
    if compression == "gzip" and _is_bgzip(head) and zlib.decompressobj(31).decompress(head, 4) == b"BAM\x01":
        compression = "bam"
    if compression == "xz":
        file.close()
        raise InputError(
            "is compressed by xz, which is not read here",
            path=path,
            remedy=f"convert it: xzcat {PurePosixPath(path).name} | gzip > reads.fastq.gz",
        )
    return file, compression


def _is_bgzip(head: bytes) -> bool:
    return head[3:4] == b"\x04" and head[12:14] == b"BC"


def lacks_end(path: str) -> bool:
    """Return whether a bgzip file has no empty block at its end, as one that was cut off between two blocks has none.

    The SAM specification, section 4.1.2, wants it, but bcl2fastq and DRAGEN write none.
    """
    with locations.open_read(path) as file:
        if not _is_bgzip(file.read(18)):
            return False
        file.seek(-min(len(_BGZIP_END), file.seek(0, 2)), 2)
        return file.read() != _BGZIP_END


def _open_whole(file: io.BufferedReader | HashedFile, compression: str, path: str):
    """Return the bytes of FASTQ that a file holds, from its beginning."""
    if compression == "gzip":
        return igzip.open(file, "rb")
    if compression == "bam":
        return BamStream(file, path)
    return MemberStream(file, compression) if compression else file


def open_stream(path: str, etag: str | None = None) -> TrackedStream:
    """Open a FASTQ file, plain or compressed, or unaligned BAM from its beginning, with every check of its compression.

    Args:
        path: local path or s3://bucket/key.
        etag: on S3, the version that it must be; None for any.
    """
    raw, compression = _open(path, etag)
    file = HashedFile(raw)
    return TrackedStream(_open_whole(file, compression, path), path, file, compression)


def holds_pairs(path: str) -> bool:
    """Return whether a file is BAM whose first record is a mate."""
    file, compression = _open(path)
    with file:
        if compression != "bam":
            return False
        with closing(BamStream(file, path)) as stream:
            return stream.is_paired()


def check_compression(path: str) -> None:
    """Read a compressed file to its end; raise InputError where it is damaged."""
    if get_compression(path):
        with closing(open_stream(path)) as stream:
            while stream.read(1 << 20):
                stream.forget_all()


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
    if index is not None and index.endswith(_COPY_SUFFIX):
        file.close()
        return open_range(index, begin, end, index + _INDEX_SUFFIXES["gzip"])
    if not compression:
        locations.stop_reading_ahead(file, end)
        stream = file
    elif index is None:
        stream = _open_whole(file, compression, path)
    elif compression == "bzip2":
        indexed = rapidgzip.IndexedBzip2File(_choose_source(path, file), parallelization=1)
        offsets = json.loads(locations.read_bytes(index))
        indexed.set_block_offsets({int(at): offset for at, offset in offsets.items()})
        stream = indexed
    else:
        indexed = rapidgzip.open(_choose_source(path, file), parallelization=1)
        indexed.import_index(io.BytesIO(locations.read_bytes(index)))
        stream = indexed
    return TrackedStream(RangeStream(stream, begin, end), path, file, compression)


def _choose_source(path: str, file: BinaryIO) -> str | BinaryIO:
    """Return what rapidgzip reads best: it opens a local path once for each of its threads."""
    return file if locations.is_s3(path) else path


def write_seek_index(path: str, stem: str, threads: int = 1, etag: str | None = None) -> str:
    """Write what lets `open_range` read the middle of a compressed file; return its path, which begins with `stem`.

    For gzip that is an index of about 1% of the decompressed size, for bzip2 one of a few bytes a megabyte. A zstd file
    is most often one frame, which nothing can enter in the middle, and BAM holds no FASTQ: there it is a gzip copy, and
    an index. So it is for gzip with zeros between or behind its members, which isal passes over and rapidgzip refuses.

    Args:
        path: a file that `open_stream` has read whole without an error.
    """
    compression = get_compression(path)
    if compression in _INDEX_SUFFIXES:
        index = stem + _INDEX_SUFFIXES[compression]
        with locations.open_read(path, etag) as file:
            try:
                _write_index(path, file, compression, index, threads)
                return index
            except (RuntimeError, ValueError):
                if error := locations.get_read_error(file):
                    raise error from None
    index = stem + _COPY_SUFFIX
    file, _ = _open(path, etag)
    with closing(_open_whole(file, compression, path)) as stream, igzip.open(index, "wb", compresslevel=1) as copy:
        while block := stream.read(1 << 20):
            copy.write(block)
    return write_seek_index(index, index, threads)[: -len(_INDEX_SUFFIXES["gzip"])]


def _write_index(path: str, file: BinaryIO, compression: str, index: str, threads: int) -> None:
    """Write the index of a gzip or bzip2 file by rapidgzip."""
    buffer = bytearray(1 << 22)
    source = _choose_source(path, file)
    if compression == "bzip2":
        with rapidgzip.IndexedBzip2File(source, parallelization=threads) as stream:
            Path(index).write_text(json.dumps(stream.block_offsets()))
        return
    with rapidgzip.open(source, parallelization=threads) as stream:
        while stream.readinto(buffer):
            pass
        stream.export_index(index)
