"""The letters of reads as arrays of bytes and of small numbers."""

import numpy as np
import pyarrow as pa

# A, C, G, T in either case as 0 to 3, every other byte as 4.
CODES = np.full(256, 4, np.uint8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _letter in _letters:
        CODES[ord(_letter)] = _code


def get_letters(strings: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated bytes of an Arrow string array and its (n + 1,) int32 offsets, without a copy."""
    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset : strings.offset + len(strings) + 1]
    data = strings.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), offsets
