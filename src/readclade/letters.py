"""The letters of reads as arrays of bytes and of small numbers."""

import numpy as np
import pyarrow as pa

from readclade.nucleotides import CODES as CODES
from readclade.nucleotides import NUCLEOTIDES


def get_letters(strings: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated bytes of an Arrow string array and its (n + 1,) int32 offsets, without a copy."""
    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset : strings.offset + len(strings) + 1]
    data = strings.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), offsets


def spell_out(strings: pa.StringArray) -> pa.StringArray:
    """Return reads in A, C, G, T and N alone, by `NUCLEOTIDES`; (n,) strings, of nucleotides."""
    letters, offsets = get_letters(strings)
    spelt = NUCLEOTIDES[letters]
    return pa.StringArray.from_buffers(len(strings), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(spelt))
