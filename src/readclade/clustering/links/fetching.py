"""Packed reads of other ranks, each fetched once from the rank that holds it."""

from dataclasses import dataclass

import numpy as np

from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.exchange import Delivery, Layout, swap


@dataclass(frozen=True)
class FetchedReads:
    """Packed reads, as those of `Sequences`, and where those that were asked for are among them.

    Attributes:
        words: uint64, each read from a word of its own, two to spare at the end.
        begins: int64, the word where each read begins.
        read_lengths: int32 bases.
        places: (m,) int64, the index of each read that was asked for in `begins` and `read_lengths`.
    """

    words: np.ndarray
    begins: np.ndarray
    read_lengths: np.ndarray
    places: np.ndarray


def fetch_reads(layout: Layout, reads: np.ndarray, sequences: Sequences) -> FetchedReads:
    """Return any reads of all ranks; one rank gets its own arrays, not copies. Collective.

    Args:
        layout: of reads.
        reads: (m,) int64, in any order, also several times the same.
        sequences: of this rank's fragments.
    """
    comm = layout.comm
    if comm.size == 1:
        return FetchedReads(sequences.words, sequences.begins, sequences.read_lengths, reads)
    asked, places = np.unique(reads, return_inverse=True)
    owners = layout.owner(asked).astype(np.uint16)
    order = np.argsort(owners, kind="stable")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    owners = owners[order]
    delivery = Delivery(comm, owners)
    wanted = layout.local(delivery.send(asked[order]))
    lengths = delivery.reply(sequences.read_lengths[wanted])
    begins, ends = _sum_words(lengths), _sum_words(sequences.read_lengths[wanted])
    # Of each rank, how many words go there and come from there.
    sent = np.diff(ends[np.cumsum([0, *delivery.received])])
    received = np.diff(begins[np.searchsorted(owners, np.arange(comm.size + 1))])
    moved = np.repeat(sequences.begins[wanted] - ends[:-1], np.diff(ends)) + np.arange(ends[-1])
    words = swap(comm, sequences.words[moved], sent, received)
    words.resize(len(words) + 2, refcheck=False)
    return FetchedReads(words, begins, lengths, numbers[places])


def _sum_words(lengths: np.ndarray) -> np.ndarray:
    """Return (n + 1,) int64, where each of n reads begins, and the last ends, in words."""
    sums = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum((lengths + 31) // 32, out=sums[1:])
    return sums
