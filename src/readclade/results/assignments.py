"""assignments.parquet, the cluster of every fragment: its columns, its one writer and its readers.

All readers take a bounded number of rows at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from readclade.results.tables import fail

SCHEMA = pa.schema(
    [
        pa.field("fragment", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("group", pa.int64(), nullable=False),
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("distance", pa.float32(), nullable=False),
        pa.field("margin", pa.float32(), nullable=False),
    ]
)
_BATCH_ROWS = 1 << 18


@dataclass(frozen=True)
class Assignments:
    """What the report takes from assignments.parquet.

    Attributes:
        clusters: (n,) int32, the clusters of the fragments that were asked for, -1 where there is none.
        is_linked: whether any group holds more than one fragment.
        confusion: (genomes, k + 1) int64 fragments by true genome and cluster, the unassigned last; None without truth.
    """

    clusters: np.ndarray
    is_linked: bool
    confusion: np.ndarray | None


def make_rows(
    fragments: np.ndarray,
    names: pa.ChunkedArray,
    groups: np.ndarray,
    clusters: np.ndarray,
    distances: np.ndarray,
    margins: np.ndarray,
) -> pa.Table:
    """Return n rows of the table, from one value of each column for each fragment."""
    return pa.table(
        {
            "fragment": fragments,
            "name": names,
            "group": groups,
            "cluster": clusters.astype(np.int32),
            "distance": distances.astype(np.float32),
            "margin": margins.astype(np.float32),
        }
    )


@contextmanager
def open_assignments(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Begin the table, and yield what appends rows to it: those of `make_rows`, in the order of fragments."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        yield lambda rows: writer.write_table(rows.cast(SCHEMA))


@contextmanager
def _read(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, KeyError, pa.ArrowException) as error:
        raise fail(f"cannot be read as a table of fragments: {error}", path, "cluster") from None


def iterate_names(path: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield the names (n) and the clusters (n,) int32, -1 for none, of the fragments in their order.

    Raises:
        InputError: the table is missing or malformed.
    """
    with _read(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=["name", "cluster"]):
            yield batch.column("name").to_pylist(), batch.column("cluster").to_numpy()


def iterate_groups(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the clusters, -1 for none, and the groups, both (n,) int64, of the fragments in their order.

    Raises:
        InputError: the table is missing or malformed.
    """
    with _read(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=["cluster", "group"]):
            yield batch.column("cluster").to_numpy().astype(np.int64), batch.column("group").to_numpy()


def read_assignments(
    path: Path, fragments: int, k: int, ids: np.ndarray, truth: tuple[pa.Array, np.ndarray] | None
) -> Assignments:
    """Read assignments.parquet a bounded number of rows at a time.

    Args:
        fragments: how many rows it must have.
        k: number of clusters.
        ids: sorted ids of the fragments whose clusters are wanted.
        truth: names of fragments and, for each, the number of its genome; None where it is not known.

    Raises:
        InputError: it is missing, malformed, or does not fit the shards or the clusters.
    """
    clusters = np.full(len(ids), -1, np.int32)
    is_linked = False
    genomes = 0 if truth is None else int(truth[1].max(initial=-1)) + 1
    confusion = np.zeros(genomes * (k + 1), np.int64)
    columns = ["fragment", "group", "cluster"] + ([] if truth is None else ["name"])
    with _read(path) as file:
        if file.metadata.num_rows != fragments:
            message = f"holds {file.metadata.num_rows:,} fragments, but the shards {fragments:,}"
            raise fail(message, path, "cluster")
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            fragment, group, cluster = (batch.column(name).to_numpy() for name in columns[:3])
            if len(cluster) and not -1 <= cluster.min() <= cluster.max() < k:
                raise fail(f"names a cluster that is not one of the {k} of clusters.h5", path, "cluster")
            is_linked |= bool((group != fragment).any())
            if len(ids):
                place = np.minimum(np.searchsorted(ids, fragment), len(ids) - 1)
                wanted = ids[place] == fragment
                clusters[place[wanted]] = cluster[wanted]
            if truth is not None:
                found = pc.index_in(batch.column("name"), value_set=truth[0])
                known = found.is_valid().to_numpy(zero_copy_only=False)
                genome = truth[1][found.drop_null().to_numpy()]
                column = np.where(cluster[known] < 0, k, cluster[known])
                confusion += np.bincount(genome * (k + 1) + column, minlength=len(confusion))
    return Assignments(clusters, is_linked, None if truth is None else confusion.reshape(genomes, k + 1))
