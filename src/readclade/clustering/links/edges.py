"""What overlaps say of reads, between finding them and making chains of them.

Reads have numbers over all ranks: read 2 f is the sequence of fragment f, read 2 f + 1 its mate. So do their ends:
end 2 r is the left end of read r, end 2 r + 1 its right end. A `Layout` of 2 or 4 times the fragments' firsts is one
of reads or ends.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlaps:
    """What is known of this rank's m reads, of n fragments, after all comparisons.

    Attributes:
        best: (2 m,) int64, the partner end of each end, -1 where there is none; not yet mutual.
        overlaps: (2 m,) int64 bases of that overlap, 0 where there is none.
        containers: (m,) int64, 2 * container + whether the read is reversed against it, -1 where there is none. A
            container is longer, or as long with a lower number: no circles.
        offsets: (m,) int64, where the read's left end (as the container runs) lies in its container.
        lengths: (m,) int64 bases that count.
        first, second: (p,) int64 reads of all verified overlaps, first < second, held by the rank of the first, sorted.
        error_rates: (n,) float32 errors a base of each fragment as far as overlaps tell, else the sample's; NaN where
            even that is unknown.
        error_rate: of the sample; NaN where too little overlaps.
    """

    best: np.ndarray
    overlaps: np.ndarray
    containers: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    second: np.ndarray
    error_rates: np.ndarray
    error_rate: float
