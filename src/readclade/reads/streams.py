"""A FASTQ file as a stream of bytes that remembers what a reader of records cannot tell: offsets and the checksum."""

import gzip
import hashlib
import io
import zlib
from collections import deque
from pathlib import PurePosixPath
from typing import Protocol

from isal import isal_zlib

from readclade.errors import InputError
from readclade.reads.compression import MOST_WINDOW_BITS, DamagedError, WindowError
from readclade.storage import locations

_DECOMPRESSION_ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    gzip.BadGzipFile,
    isal_zlib.error,  # type: ignore[assignment]  # isal types its class of errors as one error
    zlib.error,
    DamagedError,
)


class HashedFile(io.RawIOBase):
    """A file that is read once, from its beginning, and hashed meanwhile: on S3, a second pass would cost as much."""

    def __init__(self, file: io.BufferedReader):
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


# What people give in place of FASTQ, by its first bytes: what it is, and what to do.
_GIVE_FASTQ = "give the reads as FASTQ, where every record begins with '@'"
_OTHERS = [
    (b">", "is FASTA, not FASTQ", _GIVE_FASTQ),
    (b"PK\x03\x04", "is a zip archive", "unpack it, and give the FASTQ file that it holds"),
    (b"\x1f\x8b", "is compressed twice by gzip", "unpack it once: gzip -dc FILE > reads.fastq.gz"),
    (b"BZh", "is compressed twice", "unpack it once"),
    (b"\x28\xb5\x2f\xfd", "is compressed twice", "unpack it once"),
    (b"CRAM", "is CRAM, which is not read here", "convert it: samtools fastq"),
    (b"@HD\t", "is SAM, not FASTQ", "convert it: samtools fastq"),
    (b"@SQ\t", "is SAM, not FASTQ", "convert it: samtools fastq"),
    (b"\x89HDF", "holds the raw signal (FAST5)", "call its bases first, and give FASTQ or unaligned BAM"),
    (b"\x8bPOD", "holds the raw signal (POD5)", "call its bases first, and give FASTQ or unaligned BAM"),
    (b"\xff\xfe", "is text in UTF-16", "save it as plain text"),
    (b"<", "is a web page or XML", "download the file behind it; look at the address in a browser"),
]


def _say_what_it_is(head: bytes, path: str) -> InputError:
    """Return the error about a file that does not begin as FASTQ does."""
    if head[257:262] == b"ustar":
        return InputError("is a tar archive", path=path, remedy="unpack it, and give the FASTQ file that it holds")
    for magic, what, remedy in _OTHERS:
        if head.startswith(magic):
            return InputError(what, path=path, line=1, remedy=remedy)
    return InputError(f"is not FASTQ: it begins with {head[:1]!r}", path=path, line=1, remedy=_GIVE_FASTQ)


class TrackedStream:
    """A binary stream that remembers where its recent lines begin.

    dnaio tells records but not their offsets. This stream sits below the parser and counts line ends block by block;
    blocks are forgotten once `forget_before` says that the parser is past them.
    """

    def __init__(self, stream, path: str, file=None, kind: str = ""):
        """Take the stream and the file below it, which is closed with it; `kind` is the compression, for an error."""
        self._kind = kind
        self._stream = stream
        self._file = file
        self._path = path
        self._blocks: deque[tuple[int, int, bytes]] = deque()  # (offset, lines before it, bytes)
        self._offset = 0
        self._lines = 0

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; raise InputError where the file is no FASTQ or its compression is broken."""
        try:
            block = self._stream.read(size)
        except WindowError:
            raise InputError(
                f"its zstd data need a window of more than {1 << MOST_WINDOW_BITS >> 20} MB of memory",
                path=self._path,
                remedy=f"compress it again: zstd -dc --long=31 {PurePosixPath(self._path).name} | gzip > reads.fq.gz",
            ) from None
        except _DECOMPRESSION_ERRORS as error:
            raise InputError(
                f"the {self._kind} data are truncated or damaged after {self._offset:,} decompressed bytes ({error})",
                path=self._path,
                line=self._lines + 1,
                remedy="download or copy the file again, and compare its checksum with the source's",
            ) from None
        if self._offset == 0 and block and (block[:1] != b"@" or block[:4] in (b"@HD\t", b"@SQ\t")):
            raise _say_what_it_is(block, self._path)
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

    def forget_all(self) -> None:
        """Free all blocks; no line is asked for any more."""
        self._blocks.clear()

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


class SeekableStream(Protocol):
    """What all streams of decompressed bytes can do."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> object: ...
    def close(self) -> None: ...


class RangeStream:
    """The bytes [begin, end) of a seekable stream."""

    def __init__(self, stream: SeekableStream, begin: int, end: int):
        stream.seek(begin)
        self._stream, self._left = stream, end - begin

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()
