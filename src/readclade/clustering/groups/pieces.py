"""Pieces cut into stretches of about equal length: what the search for genomes works with.

A piece is a chain of reads, or several that mates join. A fragment lies where its reads lie, where these are in two
pieces, in the one of more reads.
"""

from dataclasses import dataclass

import numpy as np

from readclade.clustering.links.chains import Places
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Delivery, Layout
from readclade.clustering.ranks.rows import sum_rows, unite_rows


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
    held = np.column_stack([lengths > 0, lengths]).astype(np.int64)
    keys = np.column_stack([places.chain, numbers])
    bases = _sum_by_key(reads, owners, keys, held)[:, 1]
    counts_of_pieces = _sum_by_key(reads, owners, keys[:, :1], held)[:, 0]
    chosen = 2 * np.arange(len(layout.ids)) + _choose_sides(counts_of_pieces, lengths)
    of_fragments, of_reads = _name(layout, owners, keys, chosen)
    levels = [of_fragments]
    for ratio in ratios:
        coarse = numbers * np.maximum((counts + ratio // 2) // ratio, 1) // counts
        levels.append(_name(layout, owners, np.column_stack([places.chain, coarse]), chosen)[0])
    depths = bases * counts / np.maximum(places.size, 1)
    return Stretches(levels, of_reads, depths[chosen].astype(np.float32))


def _choose_sides(counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return (n,) int64, 0 or 1: which of a fragment's reads tells where it lies."""
    one, other = counts.reshape(-1, 2).T
    return ((other > one) & (lengths[1::2] > 0) | (lengths[0::2] == 0) & (lengths[1::2] > 0)).astype(np.int64)


def _sum_by_key(reads: Layout, owners: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each row the sum of the (m, w) values of all ranks' rows of the same key. Collective."""
    unique, places = unite_rows(keys)
    sums = np.zeros((len(unique), values.shape[1]), np.int64)
    np.add.at(sums, places, values)
    heads = np.empty(len(unique), np.int64)
    heads[places] = owners
    delivery = Delivery(reads.comm, heads)
    theirs, arrived = delivery.send(unique), delivery.send(sums)
    _, at = unite_rows(theirs)
    return delivery.reply(sum_rows(theirs, arrived)[1][at])[places]


def _name(layout: Layout, owners, keys: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the name of each fragment's key, and of each read's: the lowest fragment of that key, or -1. Collective.

    Args:
        owners: (2 n,) int64, the rank that compares a key.
        keys: (2 n, 2) int64, of the reads.
        chosen: (n,) int64, the read of each fragment that counts.
    """
    ids = np.full(len(keys), layout.count, np.int64)
    ids[chosen] = layout.ids
    unique, places = unite_rows(keys)
    lowest = np.full(len(unique), layout.count, np.int64)
    np.minimum.at(lowest, places, ids)
    heads = np.empty(len(unique), np.int64)
    heads[places] = owners
    delivery = Delivery(layout.comm, heads)
    theirs, arrived = delivery.send(unique), delivery.send(lowest)
    _, at = unite_rows(theirs)
    least = np.full(at.max(initial=-1) + 1, layout.count, np.int64)
    np.minimum.at(least, at, arrived)
    names = delivery.reply(least[at])[places]
    names[names == layout.count] = -1
    return names[chosen], names
