"""Turns: k-mers are met range by range of their hashes, so that a rank holds a bounded number of them."""

import numpy as np

from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout

MEMORY = 4 * 10**9  # bytes of a rank
_HELD, _SORTED = 16, 56  # bytes of a k-mer: while it waits for its turn, and while it travels and is sorted


def plan_turns(layout: Layout, lengths: np.ndarray, density: float, budget: int) -> tuple[list[range], int]:
    """Return in which turns k-mers are met so that a rank takes about `budget` bytes for them. Collective.

    Args:
        lengths: bases of this rank's reads.
        density: share of k-mers that is kept.

    Returns:
        The turns of each pass over the reads, and how many there are together.
    """
    bases = int(sum_integers(layout.comm, np.array([lengths.sum(dtype=np.int64)]))[0])
    half, entries = max(budget // 2, 1), int(bases * density) // layout.comm.size + 1
    passes = -(-entries * _HELD // half)
    each = -(-entries * _SORTED // (half * passes))
    return [range(each * number, each * (number + 1)) for number in range(passes)], passes * each
