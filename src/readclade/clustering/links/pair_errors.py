"""The error rate of short reads, from how proposed overlaps differ; qualities are not asked.

The k-mer that brought two reads together is free of errors, so only the other bases speak. What differs more than its
rate allows is a relative or a repeat; the rate is fitted to the others, from below.
"""

from collections.abc import Iterator

import numba
import numpy as np
from scipy.stats import poisson

from readclade.clustering.links.fetching import fetch_reads
from readclade.clustering.links.minimizers import K, get_reads
from readclade.clustering.links.nearest import count_proposed, read_proposal
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout

_LEAST = 60  # bases of an overlap that is asked
_MOST_MISMATCHES = 63
_LONGEST = 1000  # bases; longer ones are left out
_ENOUGH = 500  # overlaps
_WITHIN = 0.999  # of the overlaps of one genome lie within this quantile
_ROUNDS = 30


@numba.njit(cache=True)
def _tabulate(first, second, local, words, begins, places, their_words, their_begins, table):
    for i in range(len(first)):
        overlap = read_proposal(first[i], second[i])[1]
        if _LEAST <= overlap < table.shape[1]:
            wrong = count_proposed(
                first[i], second[i], words, begins[local[i]], their_words, their_begins[places[i]], 1 << 30
            )
            table[min(wrong, _MOST_MISMATCHES), overlap] += 1


def tabulate_mismatches(reads: Layout, sequences: Sequences, proposals: Iterator) -> np.ndarray:
    """Return (64, 1001) int64: overlaps of all ranks by mismatches (63: and more) and bases. Collective.

    Args:
        reads: layout of the reads.
    """
    table = np.zeros((_MOST_MISMATCHES + 1, _LONGEST + 1), np.int64)
    for first, second, _ in proposals:
        theirs = fetch_reads(reads, get_reads(second), sequences)
        others = (theirs.places, theirs.words, theirs.begins)
        _tabulate(first, second, reads.local(get_reads(first)), sequences.words, sequences.begins, *others, table)
    return sum_integers(reads.comm, table)


def fit_error_rate(table: np.ndarray) -> float:
    """Return errors a base of one read, NaN where too few overlaps tell.

    Args:
        table: of `tabulate_mismatches`.
    """
    count = table.sum()
    if count < _ENOUGH:
        return np.nan
    free = np.maximum(np.arange(table.shape[1]) - K, 1)
    wrong = np.arange(len(table))
    # To begin with: of the half of the overlaps that differ least.
    ratios = (wrong[:, None] / free).ravel()
    order = np.argsort(ratios, kind="stable")
    half = ratios[order][np.searchsorted(np.cumsum(table.ravel()[order]), count / 2)]
    none = -np.log(max(table[0].sum() / count, 1e-9)) / np.average(free, weights=table.sum(axis=0))
    rate = max(half, none / 2, 1e-5)
    for _ in range(_ROUNDS):
        is_own = wrong[:, None] <= poisson.ppf(_WITHIN, rate * free) + 1
        own = table * is_own
        last, rate = rate, max((own.sum(axis=1) * wrong).sum() / (own.sum(axis=0) * free).sum(), 1e-6)
        if abs(rate - last) < 1e-3 * last:
            break
    return rate / 2
