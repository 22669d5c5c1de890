"""Mates join chains: reads of one fragment in two chains tell which ends face one another, and how far apart."""

from dataclasses import dataclass

import numpy as np

from readclade.clustering.links.chains import Places, walk
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, exchange, look_up
from readclade.clustering.ranks.rows import sum_rows

_LONGEST_INSERT = 20_000  # bases
_LEAST_GAP = -100  # bases between two chains, less two spreads of the inserts
_LEAST_INSERTS = 100


@dataclass(frozen=True)
class Inserts:
    """The lengths of the fragments of a library, in bases.

    Attributes:
        median: of mates that face each other in one chain.
        spread: 84th percentile less the median.
    """

    median: int
    spread: int


def measure_inserts(layout: Layout, places: Places, lengths: np.ndarray) -> Inserts | None:
    """Return the inserts of the sample, None where too few mates face each other. Collective.

    Args:
        layout: of the fragments.
        places: of their reads, mates side by side.
        lengths: (2 n,) int64.
    """
    one, other = slice(0, None, 2), slice(1, None, 2)
    is_facing = (places.chain[one] == places.chain[other]) & (places.is_flipped[one] != places.is_flipped[other])
    is_facing &= (lengths[one] > 0) & (lengths[other] > 0)
    ends = places.position + lengths
    insert = np.where(places.is_flipped[other], ends[other] - places.position[one], ends[one] - places.position[other])[
        is_facing
    ]
    counts = np.bincount(insert[(insert > 0) & (insert < _LONGEST_INSERT)], minlength=_LONGEST_INSERT)
    below = np.cumsum(sum_integers(layout.comm, counts))
    if below[-1] < _LEAST_INSERTS:
        return None
    median, high = np.searchsorted(below, [(below[-1] + 1) // 2, below[-1] * 84 // 100]).tolist()
    return Inserts(median, high - median)


def join_chains(reads: Layout, places: Places, lengths: np.ndarray, inserts: Inserts) -> Places:
    """Return the places of reads in pieces: chains that mates join, with the gaps between them. Collective.

    Two chains are joined where each is the other's best: most fragments, then the smallest gap.

    Args:
        reads: layout of the reads, mates side by side.
        places: of all reads in chains.
        lengths: (2 n,) int64.
    """
    best, gaps = _choose_bridges(reads, *_find_bridges(places, lengths, inserts))
    # A chain is the node of the read that names it.
    outer = walk(reads, best, gaps, np.where(places.chain == reads.ids, places.size, 0))
    found = look_up(reads, places.chain, np.column_stack([outer.chain, outer.position, outer.is_flipped, outer.size]))
    is_flipped = found[:, 2].astype(bool)
    position = found[:, 1] + np.where(is_flipped, places.size - places.position - lengths, places.position)
    return Places(found[:, 0], position, is_flipped ^ places.is_flipped, found[:, 3])


def _find_bridges(places: Places, lengths, inserts: Inserts) -> tuple[np.ndarray, np.ndarray]:
    """Return (p, 2) the ends of two chains that a fragment's reads face, and (p,) the gap between them, in bases."""
    away = np.where(places.is_flipped, places.position + lengths, places.size - places.position)
    ends = 2 * places.chain + ~places.is_flipped
    gap = inserts.median - away[0::2] - away[1::2]
    used = (places.chain[0::2] != places.chain[1::2]) & (gap >= _LEAST_GAP - 2 * inserts.spread)
    used &= (lengths[0::2] > 0) & (lengths[1::2] > 0)
    return np.sort(ends.reshape(-1, 2)[used], axis=1), gap[used]


def _choose_bridges(reads: Layout, ends: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each end of this rank's nodes the end that most bridges lead to, and the mean gap. Collective."""
    comm = reads.comm
    # Once to the owner of either end: both see all bridges between the two.
    both, gap = np.concatenate([ends, ends[:, ::-1]]), np.tile(gap, 2)
    both, gap = exchange(comm, reads.owner(both[:, 0] >> 1), [both, gap])
    pairs, sums = sum_rows(both, np.column_stack([np.ones(len(gap), np.int64), gap]))
    counts, means = sums[:, 0], sums[:, 1] // np.maximum(sums[:, 0], 1)
    order = np.lexsort([pairs[:, 1], means, -counts, pairs[:, 0]])
    own, first = np.unique(pairs[order, 0], return_index=True)
    chosen = order[first]
    best, gaps = np.full(2 * len(reads.ids), -1, np.int64), np.zeros(2 * len(reads.ids), np.int64)
    local = 2 * reads.local(own >> 1) + (own & 1)
    best[local], gaps[local] = pairs[chosen, 1], means[chosen]
    return best, gaps
