"""Numbers that look random and depend on nothing but an identifier and a seed: draws that any rank repeats."""

import numpy as np


def scramble(values: np.ndarray, seed: int = 1) -> np.ndarray:
    """Return (n,) uint64, the splitmix64 sequence of a seed at the positions `values` (Steele et al. 2014).

    Args:
        values: (n,) int64.
        seed: >= 0, taken modulo 2^64.
    """
    # Products and sums are meant to wrap around.
    x = values.astype(np.uint64) + np.uint64(int(seed) * 0x9E3779B97F4A7C15 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
