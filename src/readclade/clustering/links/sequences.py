"""The letters of this rank's fragments, two bits each; what needs letters gets them block by block."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa

from readclade.clustering.links.packing import pack_reads
from readclade.letters import CODES, get_letters

_SPARE = 2  # words at the end, so that a window of a read may reach beyond it
_BLOCK_BASES = 1 << 25


@dataclass(frozen=True)
class Block:
    """The letters of the fragments begin .. end - 1 of a rank.

    Attributes:
        codes: (letters,) uint8: A, C, G, T are 0 to 3, unknown letters 4.
        offsets: (2 (end - begin) + 1,) int64: codes[offsets[r] : offsets[r + 1]] is read 2 * begin + r.
    """

    begin: int
    end: int
    codes: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Sequences:
    """The reads of n fragments: read 2 i is the sequence of fragment i, read 2 i + 1 its mate, which may be empty.

    Attributes:
        words: uint64, each read from a word of its own, base j in bits 2 j and 2 j + 1; two to spare at the end.
        begins: (2 n + 1,) int64, the word where each read begins.
        read_lengths: (2 n,) int32, the bases of each read.
        unknown: (u, 2) int64, begin and end of each run of unknown letters, ascending, in bases from the first word
            on. They are A in the words.
    """

    words: np.ndarray
    begins: np.ndarray
    read_lengths: np.ndarray
    unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.read_lengths) // 2

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, the bases of each fragment, mates included."""
        return self.read_lengths.reshape(-1, 2).sum(axis=1, dtype=np.int64)

    def decode(self, fragments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and offsets, as those of a `Block`, of any (m,) int64 fragments."""
        reads = np.stack([2 * fragments, 2 * fragments + 1], axis=1).reshape(-1)
        offsets = np.zeros(len(reads) + 1, np.int64)
        np.cumsum(self.read_lengths[reads], out=offsets[1:])
        codes = np.empty(int(offsets[-1]), np.uint8)
        _decode(self.words, self.begins[reads], self.unknown, offsets, codes)
        return codes, offsets

    def blocks(self, fragments: int = 65536) -> Iterator[Block]:
        """Yield the letters of all fragments in order: of so many at a time, or fewer if they are long."""
        return self.blocks_of(np.arange(len(self)), fragments)

    def blocks_of(self, chosen: np.ndarray, fragments: int = 65536) -> Iterator[Block]:
        """Yield the letters of (m,) int64 fragments as `blocks` does; a block's bounds count them as they are given."""
        begin = 0
        while begin < len(chosen):
            part = chosen[begin : begin + fragments]
            bases = np.cumsum(self.read_lengths[2 * part].astype(np.int64) + self.read_lengths[2 * part + 1])
            part = part[: max(int(np.searchsorted(bases, _BLOCK_BASES, side="right")), 1)]
            yield Block(begin, begin + len(part), *self.decode(part))
            begin += len(part)


@numba.njit(cache=True)
def _decode(words, begins, unknown, offsets, codes):
    """Write the letters of the reads that begin at these words."""
    runs = unknown[:, 0]
    for r in range(len(begins)):
        size = offsets[r + 1] - offsets[r]
        for j in range(size):
            word = words[begins[r] + (j >> 5)]
            codes[offsets[r] + j] = (word >> np.uint64(2 * (j & 31))) & np.uint64(3)
        first = 32 * begins[r]
        run = np.searchsorted(runs, first)
        while run < len(unknown) and unknown[run, 0] < first + size:
            for place in range(unknown[run, 0], unknown[run, 1]):
                codes[offsets[r] + place - first] = 4
            run += 1


@numba.njit(cache=True)
def _interleave(letters, offsets, mate_letters, mate_offsets, table, codes, code_offsets):
    """Write sequence and mate of each fragment behind each other, as codes."""
    end = 0
    for i in range(len(offsets) - 1):
        for position in range(offsets[i], offsets[i + 1]):
            codes[end] = table[letters[position]]
            end += 1
        code_offsets[2 * i + 1] = end
        for position in range(mate_offsets[i], mate_offsets[i + 1]):
            codes[end] = table[mate_letters[position]]
            end += 1
        code_offsets[2 * i + 2] = end


def _encode_table(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    columns = [table.column(name).combine_chunks() for name in ("sequence", "mate")]
    (letters, begins), (mate_letters, mate_begins) = map(get_letters, columns)
    total = int(begins[-1] - begins[0]) + int(mate_begins[-1] - mate_begins[0])
    codes, offsets = np.empty(total, np.uint8), np.zeros(2 * len(table) + 1, np.int64)
    _interleave(letters, begins, mate_letters, mate_begins, CODES, codes, offsets)
    return codes, offsets


def _list_unknown(codes: np.ndarray, offsets: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Return (u, 2) int64, the runs of unknown letters of reads that begin at these words; each is within a read."""
    positions = np.flatnonzero(codes > 3)
    reads = np.searchsorted(offsets, positions, side="right") - 1
    places = 32 * begins[reads] + positions - offsets[reads]
    first = np.flatnonzero((np.diff(places, prepend=-2) != 1) | (np.diff(reads, prepend=-1) != 0))
    last = np.flatnonzero((np.diff(places, append=-2) != 1) | (np.diff(reads, append=-1) != 0))
    return np.stack([places[first], places[last] + 1], axis=1)


def _append(array: np.ndarray, rows: np.ndarray) -> None:
    """Lengthen an array where it lies: large ones are not copied, and never there twice."""
    begin = len(array)
    array.resize((begin + len(rows), *array.shape[1:]), refcheck=False)
    array[begin:] = rows


def encode_sequences(tables: Iterable[pa.Table]) -> Sequences:
    """Return the sequences of several shards, in their order; no more than one of them is held with its letters.

    Args:
        tables: each with the columns sequence and mate.
    """
    words, begins = np.zeros(0, np.uint64), np.zeros(1, np.int64)
    read_lengths, unknown = np.zeros(0, np.int32), np.zeros((0, 2), np.int64)
    for codes, offsets in map(_encode_table, tables):
        packed, starts, sizes = pack_reads(codes, offsets)
        _append(unknown, _list_unknown(codes, offsets, starts) + 32 * len(words))
        _append(begins, starts[1:] + len(words))
        _append(words, packed[:-_SPARE])
        _append(read_lengths, sizes)
    _append(words, np.zeros(_SPARE, np.uint64))
    return Sequences(words, begins, read_lengths, unknown)
