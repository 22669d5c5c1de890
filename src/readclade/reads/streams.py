"""A FASTQ file as a stream of bytes that remembers what a reader of records cannot tell: offsets and the checksum."""

import gzip
import hashlib
import io
import zlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from isal import isal_zlib

from readclade.errors import InputError
from readclade.reads.compression import DamagedError
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
