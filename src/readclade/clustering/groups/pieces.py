"""Pieces cut into stretches of about equal length: what the search for genomes works with.

A piece is a chain of reads, or several that mates join. A fragment lies where its reads lie, where these are in two
pieces, in the one of more reads.
"""

from dataclasses import dataclass

import numpy as np

from readclade.clustering.links.chains import Places
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Delivery, Layout
from readclade.clustering.ranks.rows import unite_rows


@dataclass(frozen=True)
class Stretches:
    """Stretches of several lengths, each made of those of the length before, of this rank's n fragments.

    Attributes:
        levels: of each length the (n,) int64 stretch of every fragment: the lowest fragment in it.
        of_reads: (2 n,) int64, the shortest stretch in which each read lies; -1 where no fragment has it.
        depths: (n,) float32, bases in a fragment's shortest stretch over its length.
    """

    levels: list[np.ndarray]
    of_reads: np.ndarray
    depths: np.ndarray


def measure_pieces(layout: Layout, places: Places) -> int:
    """Return the bases of all pieces together. Collective."""
    is_head = places.chain == 2 * np.repeat(layout.ids, 2) + np.tile([0, 1], len(layout.ids))
    return int(sum_integers(layout.comm, np.array([places.size[is_head].sum()]))[0])


def cut_pieces(
    layout: Layout, places: Places, lengths: np.ndarray, shortest: int, ratios: tuple[int, ...]
) -> Stretches:
    """Cut pieces into equal stretches of about `shortest` bases, and these into longer ones. Collective.

    Args:
        places: of the reads in pieces, mates side by side.
        lengths: (2 n,) int64, bases of them.
        ratios: of each further level, how many of the shortest stretches one has.
    """
    reads = Layout(layout.comm, 2 * layout.firsts)
    counts = np.maximum((places.size + shortest // 2) // shortest, 1)
    middle = np.clip(places.position + lengths // 2, 0, np.maximum(places.size - 1, 0))
    numbers = middle * counts // np.maximum(places.size, 1)
    owners = reads.owner(places.chain)
    keys = np.column_stack([places.chain, numbers])
    bases = _join_by_key(reads, owners, keys, lengths, np.add)
    sizes = _join_by_key(reads, owners, keys[:, :1], (lengths > 0).astype(np.int64), np.add)
    chosen = 2 * np.arange(len(layout.ids)) + _choose_sides(sizes, lengths)
    ids = np.full(len(keys), layout.count)
    ids[chosen] = layout.ids
    of_reads = _name(reads, owners, keys, ids)
    levels = [of_reads[chosen]]
    for ratio in ratios:
        coarse = numbers * np.maximum((counts + ratio // 2) // ratio, 1) // counts
        levels.append(_name(reads, owners, np.column_stack([places.chain, coarse]), ids)[chosen])
    depths = bases * counts / np.maximum(places.size, 1)
    return Stretches(levels, of_reads, depths[chosen].astype(np.float32))


def _choose_sides(counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return (n,) int64, 0 or 1: which of a fragment's reads tells where it lies."""
    one, other = counts.reshape(-1, 2).T
    return ((lengths[1::2] > 0) & ((other > one) | (lengths[0::2] == 0))).astype(np.int64)


def _join_by_key(reads: Layout, owners: np.ndarray, keys: np.ndarray, values: np.ndarray, join: np.ufunc) -> np.ndarray:
    """Return for each row the values of all ranks' rows of the same key, added or the least of them. Collective.

    Args:
        owners: (m,) int64, the rank that compares a key.
        keys: (m, w) int64.
        values: (m,) int64.
        join: np.add or np.minimum.
    """
    unique, places = unite_rows(keys)
    heads = np.empty(len(unique), np.int64)
    heads[places] = owners
    delivery = Delivery(reads.comm, heads)
    theirs, arrived = delivery.send(unique), delivery.send(_join(places, values, len(unique), join))
    others, at = unite_rows(theirs)
    return delivery.reply(_join(at, arrived, len(others), join)[at])[places]


def _join(places: np.ndarray, values: np.ndarray, count: int, join: np.ufunc) -> np.ndarray:
    joined = np.full(count, 0 if join is np.add else np.iinfo(np.int64).max)
    join.at(joined, places, values)
    return joined


def _name(reads: Layout, owners, keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return (2 n,) int64, the name of each read's key: the lowest fragment that lies there, -1 without. Collective.

    Args:
        ids: (2 n,) int64, the fragment that a read stands for, or one beyond all where it stands for none.
    """
    names = _join_by_key(reads, owners, keys, ids, np.minimum)
    return np.where(2 * names < reads.count, names, -1)
