"""Join chains by mates: which ends of chains face one another, and the pieces that follow."""

import numba
import numpy as np


@numba.njit(cache=True)
def measure_chains(chain, position, lengths, n):
    """Return the (n,) lengths of the chains, in bases."""
    out = np.zeros(n, np.int64)
    for r in range(len(chain)):
        if chain[r] >= 0:
            out[chain[r]] = max(out[chain[r]], position[r] + lengths[r])
    return out


def place_contained(roots, chain, position, flipped):
    """Return chain, position and orientation of every read, contained ones where their container lies."""
    at = roots >> 1
    return chain[at], position[at], flipped[at] ^ (roots & 1).astype(np.int8)


def measure_inserts(chain, position, flipped, lengths):
    """Return the 16, 50 and 84 % quantiles of the inserts of mates that face each other in one chain."""
    a, b = np.arange(0, len(chain), 2), np.arange(1, len(chain), 2)
    is_facing = (chain[a] == chain[b]) & (flipped[a] != flipped[b])
    a, b = a[is_facing], b[is_facing]
    left, right = np.where(flipped[a] == 0, a, b), np.where(flipped[a] == 0, b, a)
    inserts = position[right] + lengths[right] - position[left]
    return np.percentile(inserts[inserts > 0], [16, 50, 84])


def find_bridges(chain, position, flipped, lengths, size, insert, least_gap):
    """Return the bridges between chain ends, the number of fragments of each, and its mean gap.

    Args:
        size: (chains,) lengths in bases.
        insert: the median insert.
        least_gap: smallest gap that a fragment may leave between two chains; overlapping ends are below 0.

    Returns:
        ends (bridges, 2): 2 c is the left end of chain c, 2 c + 1 its right; counts and gaps (bridges,).
    """
    a, b = np.arange(0, len(chain), 2), np.arange(1, len(chain), 2)
    is_between = chain[a] != chain[b]

    def leave(r):
        is_flipped = flipped[r] != 0
        away = np.where(is_flipped, position[r] + lengths[r], size[chain[r]] - position[r])
        return 2 * chain[r] + ~is_flipped, away

    (end_a, away_a), (end_b, away_b) = leave(a[is_between]), leave(b[is_between])
    gap = insert - away_a - away_b
    is_near = gap >= least_gap
    end_a, end_b, gap = end_a[is_near], end_b[is_near], gap[is_near]
    keys = np.minimum(end_a, end_b) * (2 * len(size)) + np.maximum(end_a, end_b)
    keys, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    ends = np.column_stack([keys // (2 * len(size)), keys % (2 * len(size))])
    return ends, counts, np.bincount(inverse, gap) / np.maximum(counts, 1)


def choose_bridges(ends, counts, gaps):
    """Return which bridges are the best of both their ends: most mates, then the smallest gap, then the lowest ends."""
    end, bridge = np.concatenate([ends[:, 0], ends[:, 1]]), np.tile(np.arange(len(ends)), 2)
    order = np.lexsort([bridge, gaps[bridge], -counts[bridge], end])
    is_first = np.ones(len(order), bool)
    is_first[1:] = end[order][1:] != end[order][:-1]
    return np.bincount(bridge[order][is_first], minlength=len(ends)) == 2


@numba.njit(cache=True)
def _find(parents, x):
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@numba.njit(cache=True)
def join(ends, n):
    """Return the piece of each of n chains: the lowest chain that bridges lead to."""
    parents = np.arange(n)
    for i in range(len(ends)):
        a, b = _find(parents, ends[i, 0] >> 1), _find(parents, ends[i, 1] >> 1)
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b
    out = np.empty(n, np.int64)
    for x in range(n):
        out[x] = _find(parents, x)
    return out
