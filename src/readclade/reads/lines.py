"""FASTQ line by line, as the parser wants it: what many tools write and all read, dnaio refuses.

Texts after `+`, blank lines at the end and names in UTF-8 are put right here; each line stays a line, so that the
numbers of lines in errors, and the offsets that are counted below, stay those of the file.
"""

from typing import Protocol
from urllib.parse import quote_from_bytes

import numpy as np

from readclade.errors import InputError

# No sequencer's longest read has a twentieth of it; what a compressed file of zeros holds has more.
_LONGEST_LINE = 1 << 26
_NAME_SAFE = "".join(map(chr, range(32, 127)))


class ByteStream(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes: ...


class LineFilter:
    """The lines of a FASTQ file in the form that dnaio takes."""

    def __init__(self, stream: ByteStream, path: str):
        """Take a stream that begins with a record; `path` is named in errors."""
        self._stream, self._path = stream, path
        self._lines = 0  # read so far
        self._rest = b""  # the last line, until its end comes
        self._blank = b""  # blank lines where a record should begin, until one does
        self._ready = b""
        self._is_done = False

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end.

        Raises:
            InputError: a line has no end.
        """
        while not self._ready and not self._is_done:
            self._ready = self._put_right(self._read_lines(size))
        block, self._ready = self._ready[:size], self._ready[size:]
        return block

    def close(self) -> None:
        """Leave the stream below to its owner."""

    def _read_lines(self, size: int) -> bytes:
        """Return whole lines, at the end of the file the last one."""
        parts = [self._rest]
        length = len(self._rest)
        while block := self._stream.read(max(size, 1 << 16)):
            end = block.rfind(b"\n") + 1
            if end:
                self._rest = block[end:]
                return b"".join([*parts, block[:end]])
            parts.append(block)
            length += len(block)
            if length > _LONGEST_LINE:
                raise self._fail_long(parts)
        self._is_done, self._rest = True, b""
        rest = b"".join(parts)
        if not self._lines and b"\r" in rest.rstrip():
            raise self._fail_long(parts)
        return rest

    def _fail_long(self, parts: list[bytes]) -> InputError:
        if any(b"\r" in part for part in parts):
            return InputError(
                "ends its lines with carriage returns alone, as no FASTQ does",
                path=self._path,
                remedy=r"convert it: tr '\r' '\n'",
            )
        return InputError(
            f"a line has more than {_LONGEST_LINE >> 20} million letters, more than any read",
            path=self._path,
            line=self._lines + 1,
            remedy="look at what the file holds; it is no FASTQ of a sequencer",
        )

    def _put_right(self, lines: bytes) -> bytes:
        """Return lines in the form that dnaio takes."""
        letters = np.frombuffer(lines, np.uint8)
        ends = np.flatnonzero(letters == 10)
        if len(lines) and (not len(ends) or ends[-1] != len(lines) - 1):
            ends = np.append(ends, len(lines))
        begins = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
        first = self._lines % 4
        self._lines += len(ends)
        # Where a record begins, and where its third line does, if no line is blank.
        names, pluses = slice(-first % 4, None, 4), slice((2 - first) % 4, None, 4)
        is_plain = not self._blank and lines.isascii()
        if not is_plain or (letters[begins[names]] != ord("@")).any():
            return self._put_right_slowly(lines, first)
        until = ends[pluses] - (letters[np.maximum(ends[pluses] - 1, 0)] == 13)
        texts = until - begins[pluses] > 1
        if not texts.any():
            return lines
        step = np.zeros(len(lines) + 1, np.int8)
        step[begins[pluses][texts] + 1] = 1
        step[until[texts]] -= 1
        is_plus = letters[begins[pluses][texts]] == ord("+")
        if not is_plus.all():  # dnaio says what is wrong
            return lines
        return letters[np.cumsum(step[:-1], dtype=np.int8) == 0].tobytes()

    def _put_right_slowly(self, lines: bytes, first: int) -> bytes:
        """Do the same line by line, where names are not ASCII or lines may be blank."""
        result = []
        for i, line in enumerate(_split(lines)):
            place = (first + i) % 4
            if self._blank or (place == 0 and not line.strip()):
                if not line.strip():
                    self._blank += line
                    continue
                result.append(self._blank)
                self._blank = b""
            if place == 0 and not line.isascii():
                line = quote_from_bytes(line.rstrip(b"\r\n"), _NAME_SAFE).encode() + b"\n"
            if place == 2 and line.startswith(b"+"):
                line = b"+\r\n" if line.endswith(b"\r\n") else b"+\n"
            result.append(line)
        return b"".join(result)


def _split(lines: bytes) -> list[bytes]:
    """Return lines with their ends; a carriage return alone ends none."""
    *whole, last = lines.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])
