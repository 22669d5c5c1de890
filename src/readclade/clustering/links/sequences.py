"""The letters of this rank's fragments as small numbers, in one array: what sketches and models are made of."""

from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa

from readclade.letters import CODES, get_letters


@dataclass(frozen=True)
class Sequences:
    """The reads of n fragments: read 2 i is the sequence of fragment i, read 2 i + 1 its mate, which may be empty.

    Attributes:
        codes: (letters,) uint8: A, C, G, T are 0 to 3, unknown letters 4.
        offsets: (2 n + 1,) int64: codes[offsets[r] : offsets[r + 1]] is read r.
    """

    codes: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) // 2

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, the bases of each fragment, mates included."""
        return self.offsets[2::2] - self.offsets[:-2:2]


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


def encode_sequences(tables: list[pa.Table]) -> Sequences:
    """Return the sequences of several shards, in their order.

    Args:
        tables: each with the columns sequence and mate.
    """
    parts, offsets = [np.zeros(0, np.uint8)], [np.zeros(1, np.int64)]
    for table in tables:
        columns = [table.column(name).combine_chunks() for name in ("sequence", "mate")]
        (letters, begins), (mate_letters, mate_begins) = map(get_letters, columns)
        total = int(begins[-1] - begins[0]) + int(mate_begins[-1] - mate_begins[0])
        codes, ends = np.empty(total, np.uint8), np.zeros(2 * len(table) + 1, np.int64)
        _interleave(letters, begins, mate_letters, mate_begins, CODES, codes, ends)
        parts.append(codes)
        offsets.append(ends[1:] + sum(map(len, parts[:-1])))
    return Sequences(np.concatenate(parts), np.concatenate(offsets))
