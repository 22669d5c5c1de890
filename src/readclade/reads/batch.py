"""Fragments as columns: what is read, embedded and written together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Batch:
    """n fragments of a sample, in their order.

    Attributes:
        first_fragment: id of the first one.
        names: FASTQ names up to the first blank, without /1 and /2.
        sequences: upper-case reads of A, C, G, T, N.
        mates: their mates, or None for single reads.
        error_rates: (n,) float32, mean error probability of the bases; NaN without bases.
        bases: letters of all reads.
    """

    first_fragment: int
    names: pa.StringArray
    sequences: pa.StringArray
    mates: pa.StringArray | None
    error_rates: np.ndarray
    bases: int
