"""Names that occur again among the fragments of a sample."""

import tempfile
from os import PathLike

import numba
import numpy as np

_BLOCK_NAMES = 1 << 24  # compared at a time, which takes 500 MB


@numba.njit(cache=True, nogil=True)
def _hash_names(letters, ends, hashes):
    """FNV-1a, 64 bits, with a last mixing of the bits."""
    begin = 0
    for i in range(len(ends)):
        value = np.uint64(14695981039346656037)
        for position in range(begin, ends[i]):
            value = (value ^ np.uint64(letters[position])) * np.uint64(1099511628211)
        value ^= value >> np.uint64(32)
        hashes[i] = value * np.uint64(0x9E3779B97F4A7C15)
        begin = ends[i]


class NameBook:
    """Find names that occur again, in a bounded memory: 8 bytes of each name go to a temporary file.

    Two names of 64 equal bits, one chance in 10^4 for 10^8 names, only get a number that they do not need.
    """

    def __init__(self, folder: str | PathLike[str]):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._count = 0

    def add(self, names: list[str]) -> None:
        """Add the names of fragments, in their order."""
        ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)), dtype=np.int64)
        hashes = np.empty(len(names), np.uint64)
        _hash_names(np.frombuffer("".join(names).encode("ascii"), np.uint8), ends, hashes)
        self._file.write(hashes.tobytes())
        self._count += len(names)

    def find_repeated(self) -> tuple[tuple[int, int], ...]:
        """Return the fragments whose name an earlier one has, as runs (first, how many); forget all names."""
        with self._file:
            self._file.flush()
            if not self._count:
                return ()
            hashes = np.memmap(self._file, np.uint64, "r", shape=(self._count,))
            parts = -(-self._count // _BLOCK_NAMES)
            found = [_find_later(hashes, part, parts) for part in range(parts)]
        fragments = np.sort(np.concatenate(found))
        begins = np.flatnonzero(np.diff(fragments, prepend=-2) != 1)
        counts = np.diff(begins, append=len(fragments))
        return tuple(zip(fragments[begins].tolist(), counts.tolist(), strict=True))


def _find_later(hashes: np.ndarray, part: int, parts: int) -> np.ndarray:
    """Return the places, within one part of the values, of those that occur before."""
    places = np.arange(len(hashes)) if parts == 1 else np.flatnonzero(hashes % np.uint64(parts) == part)
    values = hashes[places]
    order = np.argsort(values, kind="stable")
    values = values[order]
    return places[order[1:][values[1:] == values[:-1]]]
