"""Which error rate counts: what overlaps show comes before what qualities say.

Qualities are often placeholders: one and the same for every base. These are not believed.
"""

import logging

import numpy as np
from mpi4py import MPI

from readclade.clustering.ranks.communicator import sum_integers

_STEPS = 1_000_000
_DISAGREE = 2.0  # times
_log = logging.getLogger(__name__)


def read_qualities(comm: MPI.Comm, error_rates: np.ndarray) -> float:
    """Return the median of all ranks' (n,) error rates by qualities, to 1e-6. Collective.

    Returns:
        NaN where none is known, or all are the same: these are placeholders.
    """
    known = error_rates[~np.isnan(error_rates)].astype(np.float64)
    steps = np.clip(np.rint(known * _STEPS), 0, _STEPS).astype(np.int64)
    counts = sum_integers(comm, np.bincount(steps, minlength=_STEPS + 1))
    if (counts > 0).sum() <= 1:
        return np.nan
    below = np.cumsum(counts)
    return int(np.searchsorted(below, (below[-1] + 1) // 2)) / _STEPS


def choose_error_rate(estimate: float, told: float, usual: float, is_first: bool) -> float:
    """Return the error rate that counts, errors a base, and log what tells it.

    Args:
        estimate: by overlaps, NaN where too few tell.
        told: by qualities, NaN where they are unknown or placeholders.
        usual: of the platform.
        is_first: whether this rank logs.
    """
    by_qualities = "no qualities to go by" if np.isnan(told) else f"{told:.2%} by qualities"
    if np.isnan(estimate):
        rate = usual if np.isnan(told) else told
        line = f"too little overlaps to tell the error rate (below about 3x); {by_qualities}: {rate:.2%} is taken"
    else:
        rate, line = estimate, f"errors a base: {estimate:.2%} by overlaps, {by_qualities}"
    if is_first:
        _log.info(line)
        if max(estimate, told) > _DISAGREE * min(estimate, told):
            _log.warning(
                f"overlaps and qualities disagree: {estimate:.2%} errors a base, and {told:.2%}; overlaps are believed"
            )
    return rate
