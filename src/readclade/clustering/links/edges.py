"""What all comparisons of reads come to: what continues each read's ends best, containers, and who overlaps whom.

Read 2 f is the sequence of fragment f, read 2 f + 1 its mate, which a long read has not. End 2 r is the left end of
read r, end 2 r + 1 its right end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from readclade.clustering.links.alignments import Alignments


@dataclass(frozen=True)
class Overlaps:
    """What is known of this rank's m reads.

    Attributes:
        best: (2 m,) int64, the partner end of each end, -1 where none is; not always mutual.
        overlaps: (2 m,) int64, bases of that overlap, 0 where none is.
        containers: (m,) int64, 2 * container + whether the read is reversed against it, -1 where it has none. A
            container is longer, or as long with a lower number.
        offsets: (m,) int64, where the read's leftmost base lies in its container.
        lengths: (m,) int64 bases that count.
        iterate_links: hands out two arrays of reads that overlap, (p,) int64 each, the first read of this rank; every
            overlap at least once, on one rank or on two. Collective: every rank gets as many chunks.
        iterate_resembling: does so with reads that resemble one another but differ by more than their errors allow; of
            short reads some of each.
        align: returns the overlaps of a part of this rank's reads as positions. Collective.
        error_rates: (n,) float32, errors a base of each fragment, NaN where unknown.
        error_rate: of the sample, NaN where too little overlaps to tell.
    """

    best: np.ndarray
    overlaps: np.ndarray
    containers: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    iterate_links: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
    iterate_resembling: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
    align: Callable[[slice], Alignments]
    error_rates: np.ndarray
    error_rate: float
