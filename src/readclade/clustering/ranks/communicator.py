"""What the ranks of the MPI job do together; every function here is collective."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from mpi4py import MPI

from readclade.errors import ReadcladeError

T = TypeVar("T")


class RankError(ReadcladeError):
    """Report, on every rank alike, what went wrong on one of them."""


def check_size(comm: MPI.Comm, expected: int | None) -> None:
    """Refuse to run where the ranks did not find each other.

    A launcher of another MPI library than ours starts N programs that each believe to be alone, and returns 0.

    Raises:
        ReadcladeError: the communicator does not have the expected number of ranks.
    """
    if expected is not None and comm.size != expected:
        raise ReadcladeError(
            f"expected {expected} MPI ranks but found {comm.size}",
            remedy="start the ranks with the mpiexec of the environment's own mpich, or with srun --mpi=pmi2",
        )


def run_on_each(comm: MPI.Comm, function: Callable[[], T]) -> T:
    """Call a function on each rank; where one rank fails, raise on all, so that none waits for ever.

    Raises:
        RankError: the error of the lowest rank that failed. Other exceptions than ReadcladeError pass through: they
            are bugs, and `python -m mpi4py` aborts all ranks for them.
    """
    failure = None
    try:
        result = function()
    except ReadcladeError as error:
        failure = str(error)
    failures = [text for text in comm.allgather(failure) if text is not None]
    if failures:
        raise RankError(failures[0])
    return result


def sum_integers(comm: MPI.Comm, values: np.ndarray) -> np.ndarray:
    """Return the sum over ranks of an int64 array; exact, hence the same for any number of ranks."""
    total = np.empty_like(values)
    comm.Allreduce(values, total, op=MPI.SUM)
    return total


def send_to_root(comm: MPI.Comm, data: bytes | np.ndarray | None, owner: int) -> memoryview:
    """Return on rank 0 what `owner` gives, nothing elsewhere. Collective over these two, which differ."""
    if comm.rank == owner:
        assert data is not None  # who owns data has them
        array = np.frombuffer(data, np.uint8)
        comm.Send(np.array([len(array)], np.int64), 0, tag=1)
        comm.Send(array, 0, tag=2)
        return memoryview(b"")
    size = np.empty(1, np.int64)
    comm.Recv(size, owner, tag=1)
    array = np.empty(int(size[0]), np.uint8)
    comm.Recv(array, owner, tag=2)
    return array.data


def gather_rows(comm: MPI.Comm, rows: np.ndarray, everywhere: bool = True) -> np.ndarray:
    """Return the rows of all ranks, in the order of ranks, on every rank.

    Args:
        rows: (n, m) array, m and dtype the same on every rank, n >= 0 any.
        everywhere: else rank 0 alone gets them, and the others none.
    """
    counts = np.array(comm.allgather(len(rows)), np.int64)
    width = rows.shape[1]
    gets = everywhere or comm.rank == 0
    total = np.empty((int(counts.sum()) if gets else 0, width), rows.dtype)
    sizes = counts * width
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    received = [total, sizes, offsets, MPI._typedict[rows.dtype.char]]
    if everywhere:
        comm.Allgatherv(np.ascontiguousarray(rows), received)
    else:
        comm.Gatherv(np.ascontiguousarray(rows), received if gets else None)
    return total
