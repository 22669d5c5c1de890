"""Rows of arrays travel to the rank that owns them, and answers travel back; every function here is collective."""

from functools import cached_property

import numpy as np
from mpi4py import MPI

_BYTES_AT_ONCE = 1 << 23  # of values that a rank asks for


class Layout:
    """Which rank holds which fragment: shard s lives whole on rank s % size, and ids run through all shards in order.

    Attributes:
        comm: the communicator of the job.
        firsts: (S + 1,) int64, the id of each shard's first fragment, and the number of all fragments.
    """

    def __init__(self, comm: MPI.Comm, firsts: np.ndarray):
        self.comm = comm
        self.firsts = np.asarray(firsts, np.int64)
        sizes = np.diff(self.firsts)
        # What leads from an id in a shard to its place among the fragments of its rank.
        self._shifts = -self.firsts[:-1]
        for rank in range(min(comm.size, len(sizes))):
            ours = sizes[rank :: comm.size]
            self._shifts[rank :: comm.size] += np.cumsum(ours) - ours

    @property
    def count(self) -> int:
        """The number of fragments over all ranks."""
        return int(self.firsts[-1])

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) int64, the ids of this rank's fragments, ascending."""
        shards = range(self.comm.rank, len(self.firsts) - 1, self.comm.size)
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(self.firsts[s], self.firsts[s + 1]) for s in shards)])

    def owner(self, ids: np.ndarray) -> np.ndarray:
        """Return (len(ids),) int64, the rank that holds each fragment."""
        if self.comm.size == 1:
            return np.zeros(len(ids), np.int64)
        return self._find_shards(ids) % self.comm.size

    def local(self, ids: np.ndarray) -> np.ndarray:
        """Return (len(ids),) int64, the place of each fragment in the arrays of the rank that holds it."""
        if self.comm.size == 1:
            return ids
        places = self._shifts[self._find_shards(ids)]
        places += ids
        return places

    def _find_shards(self, ids: np.ndarray) -> np.ndarray:
        # Of several shards that begin with the same id all but the last are empty.
        return np.searchsorted(self.firsts, ids, side="right") - 1


def swap(comm: MPI.Comm, rows: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Send sent[r] rows, one rank's after the other's, to each rank r; return the received[r] rows of each. Collective.

    Args:
        rows: (n,) or (n, m) of any type, the same on every rank but for n.
        sent, received: (ranks,) int64.
    """
    if comm.size == 1:
        return rows
    arrived = np.empty((int(received.sum()), *rows.shape[1:]), rows.dtype)
    kind = MPI.BYTE.Create_contiguous(rows.dtype.itemsize * int(np.prod(rows.shape[1:]))).Commit()
    try:
        comm.Alltoallv(
            [np.ascontiguousarray(rows), sent, np.cumsum(sent) - sent, kind],
            [arrived, received, np.cumsum(received) - received, kind],
        )
    finally:
        kind.Free()
    return arrived


def swap_counts(comm: MPI.Comm, counts: np.ndarray) -> np.ndarray:
    """Send counts[r] (int64, any shape, the same on every rank) to each rank r; return what each sent. Collective."""
    arrived = np.empty_like(counts)
    comm.Alltoall(np.ascontiguousarray(counts), arrived)
    return arrived


class Delivery:
    """Rows on their way to the ranks that own them, to be sent column by column, and to be answered. Collective.

    The rows of lower ranks arrive first, those of one rank in the order in which it holds them. One rank gets its own
    arrays back, not copies.
    """

    def __init__(self, comm: MPI.Comm, owners: np.ndarray):
        """Take (n,) integers, the rank that each row goes to."""
        self._comm = comm
        if comm.size > 1:
            # Numpy sorts 16 bits by counting.
            self._order = np.argsort(owners.astype(np.uint16), kind="stable")
            if len(owners) < 2**32:
                self._order = self._order.astype(np.uint32)
        sent = np.bincount(owners, minlength=comm.size).astype(np.int64) if comm.size > 1 else np.array([len(owners)])
        self._sent, self.received = sent, swap_counts(comm, sent)

    def send(self, column: np.ndarray) -> np.ndarray:
        """Return the rows of a column, (n,) or (n, m), that were sent to this rank."""
        if self._comm.size == 1:
            return column
        return swap(self._comm, column[self._order], self._sent, self.received)

    def reply(self, column: np.ndarray) -> np.ndarray:
        """Send a value back for every row that arrived; return those for the rows that this rank had sent."""
        if self._comm.size == 1:
            return column
        answers = swap(self._comm, column, self.received, self._sent)
        replies = np.empty_like(answers)
        replies[self._order] = answers
        return replies


def exchange(comm: MPI.Comm, owners: np.ndarray, columns: list[np.ndarray]) -> list[np.ndarray]:
    """Return of each column the rows whose owner is this rank, those of lower ranks first. Collective."""
    delivery = Delivery(comm, owners)
    return [delivery.send(column) for column in columns]


def look_up(layout: Layout, ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the values of any fragments, each of which is known to the rank that holds the fragment. Collective.

    Args:
        ids: (m,) int64, in any order, also several times the same.
        values: (n,) or (n, w), one row for each of this rank's fragments.

    Returns:
        (m,) or (m, w).
    """
    if layout.comm.size == 1:
        return values[ids]
    found = np.empty((len(ids), *values.shape[1:]), values.dtype)
    step = max(_BYTES_AT_ONCE // max(values.itemsize * int(np.prod(values.shape[1:])), 1), 1)
    for begin in range(0, find_most(layout.comm, len(ids)), step):
        asked, places = np.unique(ids[begin : begin + step], return_inverse=True)
        delivery = Delivery(layout.comm, layout.owner(asked))
        found[begin : begin + step] = delivery.reply(values[layout.local(delivery.send(asked))])[places]
    return found


def find_most(comm: MPI.Comm, number: int) -> int:
    """Return the largest of the ranks' numbers. Collective."""
    return comm.allreduce(number, op=MPI.MAX)
