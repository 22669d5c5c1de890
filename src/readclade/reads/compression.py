"""Compressed streams that are read to their true end: bzip2 and zstd, member by member.

Python's own readers of both take whatever follows a whole member, if it does not begin one, for a harmless tail and
stop there without a word. In a file of many members (pbzip2, pzstd) that passes over all that lies behind a damaged
byte.
"""

import bz2
import io
import sys
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Source: the bzip2 format begins with "BZh"; RFC 8878 for zstd's frames.
_MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "zstd": b"\x28\xb5\x2f\xfd", "xz": b"\xfd7zXZ"}
# A skippable frame may come first (pzstd writes its sizes there): 0x184D2A50 to 0x184D2A5F, little endian.
_SKIPPABLE = b"\x2a\x4d\x18"
# The window is kept in memory; `zstd --long` alone takes one of 2^27 bytes.
MOST_WINDOW_BITS = 29
_DECOMPRESSORS: dict[str, Callable] = {
    "bzip2": bz2.BZ2Decompressor,
    "zstd": partial(zstd.ZstdDecompressor, options={zstd.DecompressionParameter.window_log_max: MOST_WINDOW_BITS}),
}
_BLOCK_BYTES = 1 << 18
MAGIC_BYTES = 6


class DamagedError(Exception):
    """Report compressed data that are truncated, damaged, or followed by something else."""


def find_compression(head: bytes) -> str:
    """Return "gzip", "bzip2", "zstd", "xz", or "" from the first `MAGIC_BYTES` of a file."""
    if head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50:
        return "zstd"
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


class WindowError(DamagedError):
    """Report zstd data that look back further than the memory here lets them."""


class MemberStream:
    """The decompressed bytes of all members of a bzip2 or zstd file, from its beginning."""

    def __init__(self, file: BinaryIO | io.RawIOBase, compression: str):
        """Take an open file; `compression` is "bzip2" or "zstd"."""
        self._file = file
        self._make = _DECOMPRESSORS[compression]
        self._decompressor = self._make()
        self._is_new = True

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end.

        Raises:
            DamagedError: the data are truncated, damaged, or followed by something else.
        """
        while size > 0:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data or self._file.read(_BLOCK_BYTES)
                if not rest:
                    return b""
                self._decompressor = self._make()
            elif self._decompressor.needs_input:
                rest = self._file.read(_BLOCK_BYTES)
                if not rest:
                    if self._is_new:  # an empty file
                        return b""
                    raise DamagedError("they end in the middle")
            else:
                rest = b""
            self._is_new = False
            try:
                block = self._decompressor.decompress(rest, size)
            except (OSError, ValueError, EOFError, zstd.ZstdError) as error:
                if "too much memory" in str(error):
                    raise WindowError from None
                raise DamagedError(str(error)) from None
            if block:
                return block
        return b""

    def seek(self, offset: int) -> None:
        """Go to an offset in decompressed bytes, from the beginning; whatever lies before it is decompressed."""
        while offset > 0 and (block := self.read(min(offset, _BLOCK_BYTES))):
            offset -= len(block)

    def close(self) -> None:
        """Close the file below."""
        self._file.close()
