"""Check the collective functions: the same assertions on COMM_SELF and on COMM_WORLD, whatever its size.

mpiexec -n 3 python -m mpi4py check_collectives.py
"""

import numpy as np
from mpi4py import MPI

from readclade.clustering.genomes.lattice import Points
from readclade.clustering.groups import pooling
from readclade.clustering.ranks import exchange
from readclade.clustering.ranks.communicator import RankError, check_size, gather_rows, run_on_each, sum_integers
from readclade.errors import InputError, ReadcladeError


def catch(function, kind: type[Exception]) -> Exception:
    try:
        function()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_sum_integers(comm: MPI.Comm) -> None:
    values = np.array([1, comm.rank, 2**61 // comm.size, -(2**62) // comm.size], np.int64)
    expected = [comm.size, sum(range(comm.size)), 2**61 // comm.size * comm.size, -(2**62) // comm.size * comm.size]
    total = sum_integers(comm, values)
    assert total.tolist() == expected
    assert values[1] == comm.rank  # left as it was
    assert sum_integers(comm, np.zeros(0, np.int64)).shape == (0,)
    table = sum_integers(comm, np.full((2, 3), comm.rank + 1, np.int64))
    assert table.tolist() == [[comm.size * (comm.size + 1) // 2] * 3] * 2


def check_gather_rows(comm: MPI.Comm) -> None:
    def make_rows(rank: int, dtype: type) -> np.ndarray:
        # 5 rows on the first rank, none on the second, 15 on the third, ...
        count = 0 if rank % 2 else 5 + 5 * rank
        return (100 * rank + np.arange(3 * count)).reshape(count, 3).astype(dtype)

    for dtype in (np.int64, np.float64, np.int32, np.float32, np.uint8):
        rows = gather_rows(comm, make_rows(comm.rank, dtype))
        first = gather_rows(comm, make_rows(comm.rank, dtype), everywhere=False)
        assert np.array_equal(first, rows if comm.rank == 0 else rows[:0])
        assert rows.dtype == dtype
        assert np.array_equal(rows, np.concatenate([make_rows(rank, dtype) for rank in range(comm.size)]))
    assert gather_rows(comm, np.zeros((0, 4))).shape == (0, 4)
    # Columns of a wider array, in another order in memory: what is sent must be the rows that numpy shows.
    strided = np.arange(40).reshape(4, 10).T[::2, 1:3]
    assert np.array_equal(gather_rows(comm, strided), np.concatenate([strided] * comm.size))
    # Only the last rank has any.
    last = np.full((2 if comm.rank == comm.size - 1 else 0, 1), comm.rank, np.int64)
    assert gather_rows(comm, last).tolist() == [[comm.size - 1]] * 2


def check_run_on_each(comm: MPI.Comm) -> None:
    assert run_on_each(comm, lambda: comm.rank * 10) == comm.rank * 10
    assert run_on_each(comm, lambda: None) is None

    for culprit in range(comm.size):

        def load(culprit=culprit):
            if comm.rank == culprit:
                raise InputError("is damaged", path="shard.parquet", remedy="make it anew")
            return 1

        error = catch(lambda load=load: run_on_each(comm, load), RankError)
        assert str(error) == "shard.parquet: is damaged\n  remedy: make it anew"

    def fail():
        raise ReadcladeError(f"rank {comm.rank}")

    assert str(catch(lambda: run_on_each(comm, fail), RankError)) == "rank 0"  # the lowest rank's, on all
    assert run_on_each(comm, lambda: "goes on") == "goes on"


def check_check_size(comm: MPI.Comm) -> None:
    check_size(comm, None)
    check_size(comm, comm.size)
    error = catch(lambda: check_size(comm, comm.size + 1), ReadcladeError)
    assert error.message == f"expected {comm.size + 1} MPI ranks but found {comm.size}"
    assert "srun --mpi=pmi2" in error.remedy


def check_points(comm: MPI.Comm) -> None:
    """Rows that are dealt out in any way come back in the order of identifiers, the lowest keys first."""
    count = 20
    values = np.arange(count).reshape(-1, 1) * np.array([[1, -1]])
    keys = (np.arange(count) * 7 % 5).astype(float)
    # The last rank holds most, the others (if any) one point each; with more than two ranks one holds none.
    owners = np.full(count, comm.size - 1)
    owners[: max(comm.size - 2, 0)] = np.arange(max(comm.size - 2, 0))
    mine = np.flatnonzero(owners == comm.rank)[::-1]
    points = Points(comm, values[mine].astype(np.int32), np.full(len(mine), 3), mine)
    assert points.count == count
    assert points.get_rows(mine % 3 == 0)[:, 0].tolist() == list(range(0, count, 3))
    expected = sorted(range(count), key=lambda number: (keys[number], number))
    for wanted in (1, 6, count, count + 5):
        assert points.get_lowest(keys[mine], wanted)[:, 0].tolist() == expected[:wanted]
    assignment = points.assign(np.array([[0, 0], [15, -15]]))
    assert assignment.totals.tolist() == [3 * 8, 3 * 12]  # 7.5 lies half way
    assert assignment.sums.tolist() == [[3 * 28, -3 * 28], [3 * 162, -3 * 162]]
    assert assignment.objective == 3 * 2 * (sum(x * x for x in range(8)) + sum((x - 15) ** 2 for x in range(8, 20)))


def check_pooling(comm: MPI.Comm) -> None:
    """Groups over uneven shards are those of one rank, in portions of any size and in answers of any number."""
    rng = np.random.default_rng(4)
    sizes = [50, 0, 3, 120, 1, 77]
    count = sum(sizes)
    numbers = rng.integers(0, 60, count) ** 2 // 60
    roots = np.array([np.flatnonzero(numbers == number)[0] for number in numbers])
    known = rng.random(count) < 0.9
    embeddings = np.where(known[:, None], rng.normal(0, 1, (count, 5)), 0).astype(np.float16)
    data = [roots, embeddings, rng.integers(30, 500, count), known, rng.lognormal(1, 1, count).astype(np.float32)]
    alone, layout = (exchange.Layout(each, np.cumsum([0, *sizes])) for each in (MPI.COMM_SELF, comm))
    whole = pooling.pool_groups(alone, *data)
    vectors = whole.vectors.look_up(whole.ids)
    asked = np.random.default_rng(comm.rank).choice(whole.ids, 20 * (comm.rank % 2))
    for sums_at_once, bytes_at_once in ((1 << 22, 1 << 23), (40, 100), (1, 1)):
        pooling._SUMS_AT_ONCE, exchange._BYTES_AT_ONCE = sums_at_once, bytes_at_once
        groups = pooling.pool_groups(layout, *(array[layout.ids] for array in data))
        held = layout.owner(whole.ids) == comm.rank
        for name in ("ids", "fragments", "bases", "multiplicities"):
            assert np.array_equal(getattr(groups, name), getattr(whole, name)[held]), name
        portions = [np.zeros((0, 5)), *groups.vectors.iterate()]
        assert np.array_equal(np.concatenate(portions), vectors[held & (whole.fragments > 0)])
        assert np.array_equal(groups.vectors.look_up(asked), vectors[np.searchsorted(whole.ids, asked)])


CHECKS = (check_sum_integers, check_gather_rows, check_run_on_each, check_check_size, check_points, check_pooling)
for communicator in (MPI.COMM_SELF, MPI.COMM_WORLD):
    for check in CHECKS:
        check(communicator)
print(f"rank {MPI.COMM_WORLD.rank} of {MPI.COMM_WORLD.size} is done", flush=True)
