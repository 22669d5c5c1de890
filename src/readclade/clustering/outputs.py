"""The files of the cluster stage: clusters.h5, assignments.parquet and binning.tsv."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mpi4py import MPI

from readclade.clustering.genomes.homology import TWO_RELATIVES
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.groups.calibration import LATTICE_STEPS, Calibration
from readclade.clustering.inputs import Entry, LocalFragments
from readclade.clustering.ranks.communicator import send_to_root, sum_integers
from readclade.clustering.ranks.exchange import Layout, look_up
from readclade.results.assignments import make_rows, open_assignments
from readclade.results.binning import open_binning
from readclade.results.clusters import write_clusters
from readclade.storage.files import remove_leftovers, replace_when_done


class ResultWriter:
    """Writes assignments.parquet and binning.tsv side by side; both appear under their names at `finish` only."""

    def __init__(self, out: Path, sample: str):
        self._stack = ExitStack()
        parquet = self._stack.enter_context(replace_when_done(out / "assignments.parquet"))
        binning = self._stack.enter_context(replace_when_done(out / "binning.tsv"))
        self._add_rows = self._stack.enter_context(open_assignments(parquet))
        self._add_names = self._stack.enter_context(open_binning(binning, sample))

    def add(self, rows: pa.Table) -> None:
        """Append the fragments of one shard, in order."""
        self._add_rows(rows)
        self._add_names(rows.column("name").to_pylist(), rows.column("cluster").to_pylist())

    def finish(self) -> None:
        """Close both files and give them their names."""
        self._stack.close()

    def close(self) -> None:
        """Remove what is not finished; after `finish` this does nothing."""
        self._stack.pop_all().__exit__(RuntimeError, RuntimeError("not finished"), None)


@dataclass(frozen=True)
class Outcome:
    """What clustering found.

    Attributes:
        labels: (n,) int64, cluster of each of this rank's fragments, from 0 on over all ranks, or -1.
        roots: (n,) int64, group of each of this rank's fragments.
        points: the calibrated vectors of the groups, by the id of the group.
        calibration: that gave them.
        objectives: (iterations,) float64, of k-means, in lattice units, before each iteration and at the end; empty for
            lsh.
        agreement: of the seedings of k-means, NaN where there is none.
        homology: (clusters,) float64, share of each cluster with a homologous partner in it (`homology`), or None
            where it was not measured.
    """

    labels: np.ndarray
    roots: np.ndarray
    points: Points
    calibration: Calibration
    objectives: np.ndarray = field(default_factory=lambda: np.zeros(0))
    agreement: float = np.nan
    homology: np.ndarray | None = None


def write_outcome(
    layout: Layout,
    entries: list[Entry],
    local: LocalFragments,
    outcome: Outcome,
    description: dict,
    out: Path,
) -> None:
    """Number the clusters by falling bases and write all results. Collective.

    Args:
        description: parameters, as numbers and strings.
    """
    comm, roots = layout.comm, outcome.roots
    k = comm.allreduce(int(outcome.labels.max(initial=-1)), op=MPI.MAX) + 1
    order, sizes, bases = _order_clusters(comm, outcome.labels, local.bases, k)
    numbers = np.full(k + 1, -1, np.int64)  # the last place is that of label -1
    numbers[order] = np.arange(k)
    labels = numbers[outcome.labels]
    centroids, distance, margin = _measure_groups(layout, labels, roots, outcome.points, k)

    if comm.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
    writer = ResultWriter(out, entries[0].manifest.sample) if comm.rank == 0 else None
    begin = 0
    try:
        for number, entry in enumerate(entries):
            table = None
            if number % comm.size == comm.rank:
                rows = slice(begin, begin + entry.shard.rows)
                begin = rows.stop
                table = _make_table(entry, roots[rows], labels[rows], distance[rows], margin[rows])
            table = _send_to_root(comm, table, number % comm.size)
            if writer is not None:
                writer.add(table)
        if writer is not None:
            arrays = _describe_clusters(
                outcome.calibration,
                centroids / LATTICE_STEPS,
                np.full(k, np.nan) if outcome.homology is None else outcome.homology[order],
                sizes=sizes,
                bases=bases,
                objective=outcome.objectives / LATTICE_STEPS**2,
            )
            write_clusters(out / "clusters.h5", arrays, description)
            writer.finish()
    finally:
        if writer is not None:
            writer.close()
    comm.Barrier()


def _order_clusters(comm, labels, bases, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the clusters by falling bases, and in that order their fragments and bases. Collective."""
    counts = np.zeros((2, k), np.int64)
    inside = labels >= 0
    np.add.at(counts[0], labels[inside], 1)
    np.add.at(counts[1], labels[inside], bases[inside])
    sizes, bases = sum_integers(comm, counts)
    order = np.lexsort([np.arange(k), -bases])
    return order, sizes[order], bases[order]


def _measure_groups(layout: Layout, labels, roots, points: Points, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centroids (k, r), and for each fragment how far its group lies from its own and from the next one.

    Collective.
    """
    # A group's known fragments share its label. What is unknown is linked to nothing, so the group's smallest fragment,
    # which the group is named after, is known where any is.
    inside = labels >= 0
    place = layout.local(points.identifiers)
    own = labels[place]
    sums, totals = points.sum_by_label(own, k)
    centroids = np.rint(sums / np.maximum(totals, 1)).astype(np.int64)
    result = np.full((len(layout.ids), 2), np.nan)
    if k:
        result[place] = points.get_margins(centroids, own)
    result = look_up(layout, roots, result)
    result[~inside] = np.nan
    result /= LATTICE_STEPS
    return centroids, result[:, 0], result[:, 1]


def _describe_clusters(
    calibration: Calibration, centroids: np.ndarray, homology: np.ndarray, **others: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the arrays of clusters.h5, from centroids (k, r) in calibrated units among others."""
    return {
        "centroids": calibration.mean + centroids @ calibration.back.T,
        "calibrated_centroids": centroids,
        "homology": homology,
        "two_relatives": (homology >= TWO_RELATIVES).astype(np.uint8),
        "mean": calibration.mean,
        "calibration": calibration.directions,
        **others,
    }


def _make_table(entry: Entry, roots, labels, distance, margin) -> pa.Table:
    names = pq.read_table(entry.folder / entry.shard.file, columns=["fragment", "name"])
    fragments = names.column("fragment").to_numpy() + entry.offset
    return make_rows(fragments, names.column("name"), roots, labels, distance, margin)


def _send_to_root(comm: MPI.Comm, table: pa.Table | None, owner: int) -> pa.Table | None:
    """Return on rank 0 the table that `owner` holds."""
    if owner == 0:
        return table if comm.rank == 0 else None
    if comm.rank == owner:
        assert table is not None  # who owns a table has it
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        send_to_root(comm, np.frombuffer(sink.getvalue(), np.uint8), owner)
    elif comm.rank == 0:
        return pa.ipc.open_stream(pa.py_buffer(send_to_root(comm, None, owner))).read_all()
    return None
