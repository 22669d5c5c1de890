"""Error rates of long reads: of the sample and of each read from overlaps, or else from qualities.

An overlap's divergence is the errors of both reads, or more where two genomes only resemble one another. Rates are
halves of divergences in whole millionths, until they are told: errors of both reads that coincide are then counted
twice, as they were made.
"""

from dataclasses import dataclass

import numba
import numpy as np
from mpi4py import MPI
from scipy.special import ndtri

from readclade.clustering.links.verified import STEPS, Verified
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, exchange, look_up

_LEAST_BASES = 1000  # of an overlap that tells of errors
_MOST_DIVERGENCE = 2 * STEPS // 5
_LEAST_OVERLAPS = 3  # of a read that tells of the sample: about 3x
_LEAST_READS = 50  # that must do so
_SHARE = 1 / 6  # of a read's overlaps: those that differ least decide
_DEEP = 6  # overlaps of a read whose rate shows the spread of rates
_ROUNDS = 4
_MOST_SPREADS = 2
_COINCIDENCE = 0.95  # of errors at one place, fitted at 5 and 10 %


@dataclass(frozen=True)
class Rates:
    """Halves of divergences, in millionths.

    Attributes:
        reads: (m,) int64, of this rank's reads.
        is_told: (m,) bool, whether overlaps tell of the read; else its rate is the sample's.
        sample: of a typical read of all ranks.
        is_known: whether enough overlaps for that to be of the sample; else it is what was assumed.
    """

    reads: np.ndarray
    is_told: np.ndarray
    sample: int
    is_known: bool


def to_error_rate(half):
    """Return errors a base, where half a divergence (an array or a number of millionths) is given."""
    rate = half / STEPS
    return rate * (1 + 2 * _COINCIDENCE * rate)


def to_half(error_rate: float) -> int:
    """Return half the divergence of two reads of this error rate, in millionths."""
    return round(STEPS * (np.sqrt(1 + 8 * _COINCIDENCE * error_rate) - 1) / (4 * _COINCIDENCE))


def find_quantile(comm: MPI.Comm, values: np.ndarray, share: float) -> int:
    """Return the value up to which this share of all ranks' (n,) int64 values lies, of at least one. Collective.

    Values are taken to lie between 0 and 1,000,000.
    """
    below = np.cumsum(sum_integers(comm, np.bincount(np.clip(values, 0, STEPS), minlength=STEPS + 1)))
    return int(np.searchsorted(below, max(int(np.ceil(share * below[-1])), 1)))


@dataclass(frozen=True)
class _Testimony:
    """What overlaps say of this rank's reads, by read: partner, divergence and its standard error."""

    begins: np.ndarray
    others: np.ndarray
    divergences: np.ndarray
    deviations: np.ndarray


def _gather(layout: Layout, verified: Verified) -> _Testimony:
    """Return what both ranks of each overlap hold of it. Collective."""
    use = (verified.lengths >= _LEAST_BASES) & (verified.divergences < _MOST_DIVERGENCE)
    a, b = verified.a[use], verified.b[use]
    numbers = [verified.divergences[use], verified.deviations[use]]
    sent = exchange(layout.comm, layout.owner(b), [b, a, *numbers])
    read, other, divergence, deviation = (np.concatenate(pair) for pair in zip([a, b, *numbers], sent, strict=True))
    read = layout.local(read)
    order = np.lexsort([other, read])
    begins = np.searchsorted(read[order], np.arange(len(layout.ids) + 1))
    return _Testimony(begins, other[order], divergence[order], deviation[order])


@numba.njit(cache=True)
def _take(begins, own, deviations, ranks, scores, found):
    """Write of each read that overlaps the rank-th of its own shares, and what chance took off it."""
    for r in range(len(ranks)):
        if begins[r + 1] > begins[r]:
            order = np.argsort(own[begins[r] : begins[r + 1]], kind="mergesort")
            at = begins[r] + order[ranks[r]]
            found[r] = own[at] + np.int64(np.rint(scores[r] * deviations[at]))


def estimate_rates(layout: Layout, verified: Verified, assumed: int) -> Rates:
    """Return the rates of this rank's reads, and the sample's. Collective.

    A read's rate is read off the sixth of its overlaps that differ least, less the partners' rates. Where few overlap,
    the sample's weighs in. Relatives only push upwards: so a rate is above the sample's by at most twice the spread
    below it.

    Args:
        layout: of reads.
        assumed: the sample's rate, in case too little overlaps.
    """
    comm = layout.comm
    said = _gather(layout, verified)
    counts = np.diff(said.begins)
    has, tells, is_deep = counts > 0, counts >= _LEAST_OVERLAPS, counts >= _DEEP
    speaking, deep = sum_integers(comm, np.array([tells.sum(), is_deep.sum()], np.int64))
    rank = np.maximum(_SHARE * (counts + 1), 1)
    ranks, weights = np.floor(rank).astype(np.int64) - 1, counts / (counts + 2)
    scores = -ndtri(np.clip(rank / (counts + 1), 1e-3, 0.5))
    own, found = said.divergences // 2, np.zeros(len(counts), np.int64)
    rates, sample = np.full(len(counts), assumed), assumed
    for turn in range(_ROUNDS + 1):
        _take(said.begins, own, said.deviations, ranks, scores if turn else scores / 2, found)
        if speaking >= _LEAST_READS:
            sample = find_quantile(comm, found[tells], 0.5)
        weighed = np.rint(weights * found + (1 - weights) * sample).astype(np.int64)
        rates = np.where(has, weighed, sample)
        spread = sample // 5
        if deep > 2 * _LEAST_READS:
            spread = max(sample - find_quantile(comm, rates[is_deep], 0.16), 0)
        rates = np.clip(rates, 0, sample + _MOST_SPREADS * spread)
        if turn < _ROUNDS:
            own = said.divergences - look_up(layout, said.others, rates)
    return Rates(rates, has, sample, bool(speaking >= _LEAST_READS))
