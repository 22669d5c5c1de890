"""Estimate the error rate of short reads from the overlaps of neighbours in a sample of the buckets; no qualities."""

import numba
import numpy as np
from scipy.stats import poisson

from readclade.clustering.links.packing import U, count_mismatches


@numba.njit(cache=True)
def _sample_mismatches(places, ends, words, begins, lengths, least, step, table):
    begin = 0
    for bucket in range(len(ends)):
        end = ends[bucket]
        if bucket % step == 0:
            for i in range(begin, min(end - 1, begin + 8)):
                a = np.int64((places[i] >> U(1)) & U((1 << 40) - 1))
                b = np.int64((places[i + 1] >> U(1)) & U((1 << 40) - 1))
                if a >> 1 == b >> 1:
                    continue
                oa, ob = np.int64(places[i] & U(1)), np.int64(places[i + 1] & U(1))
                s = np.int64(places[i + 1] >> U(41)) - np.int64(places[i] >> U(41))
                length = min(lengths[a] - s, lengths[b])
                if length < least or length >= table.shape[1]:
                    continue
                m = count_mismatches(words, begins[a], lengths[a], oa, s, begins[b], lengths[b], ob, 0, length, 1 << 30)
                table[min(m, table.shape[0] - 1), length] += 1
        begin = end


def estimate_pair_errors(places, ends, words, begins, lengths, k, least=60, step=16):
    """Return errors per base, and how many overlaps say so.

    The k-mer that brought two reads together is free of errors, so only the other bases speak. Pairs with more
    mismatches than their rate allows are relatives; the rate is fitted to the others, from below.

    Args:
        places, ends: of `pairs.make_buckets`.
        least: shortest overlap that counts, in bases.
        step: one bucket in so many is looked at.
    """
    table = np.zeros((64, int(lengths.max()) + 1), np.int64)
    _sample_mismatches(places, ends, words, begins, lengths, least, step, table)
    count = table.sum()
    if not count:
        return 0.0, 0
    free = np.maximum(np.arange(table.shape[1]) - k, 1)
    m = np.arange(len(table))
    # To begin with: half of the overlaps, those with the fewest mismatches a base.
    ratio = (m[:, None] / free[None, :]).ravel()
    order = np.argsort(ratio, kind="stable")
    half = ratio[order][np.searchsorted(np.cumsum(table.ravel()[order]), count / 2)]
    none = -np.log(max(table[0].sum() / count, 1e-9)) / np.average(free, weights=table.sum(0))
    rate = max(half, none / 2, 1e-5)
    for _ in range(30):
        is_own = m[:, None] <= poisson.ppf(0.999, rate * free)[None, :] + 1
        new = (table * is_own * m[:, None]).sum() / (table * is_own * free[None, :]).sum()
        if abs(new - rate) < 1e-3 * rate:
            break
        rate = max(new, 1e-6)
    return rate / 2, int((table * is_own).sum())
