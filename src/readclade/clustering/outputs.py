"""The files of the cluster stage: clusters.h5, assignments.parquet and binning.tsv."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mpi4py import MPI

from readclade.clustering.genomes.homology import TWO_RELATIVES
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.groups.calibration import LATTICE_STEPS, Calibration
from readclade.clustering.inputs import Entry, Part
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, look_up
from readclade.storage.files import remove_leftovers, replace_when_done

_SCHEMA = pa.schema(
    [
        pa.field("fragment", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("group", pa.int64(), nullable=False),
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("distance", pa.float32(), nullable=False),
        pa.field("margin", pa.float32(), nullable=False),
    ]
)


class ResultWriter:
    """Writes assignments.parquet and binning.tsv side by side; both appear under their names at `finish` only."""

    def __init__(self, out: Path, sample: str):
        self._stack = ExitStack()
        parquet = self._stack.enter_context(replace_when_done(out / "assignments.parquet"))
        binning = self._stack.enter_context(replace_when_done(out / "binning.tsv"))
        self._text = self._stack.enter_context(binning.open("w", encoding="utf-8"))
        self._parquet = self._stack.enter_context(pq.ParquetWriter(parquet, _SCHEMA, compression="zstd"))
        self._text.write(f"@Version:0.9.1\n@SampleID:{sample}\n@@SEQUENCEID\tBINID\n")

    def add(self, table: pa.Table) -> None:
        """Append the fragments of one shard, in order."""
        self._parquet.write_table(table.cast(_SCHEMA))
        names, clusters = table.column("name").to_pylist(), table.column("cluster").to_pylist()
        self._text.writelines(
            f"{name}\tc{cluster + 1}\n" for name, cluster in zip(names, clusters, strict=True) if cluster >= 0
        )

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
    part: Part,
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
    order, sizes, bases = _order_clusters(comm, outcome.labels, part.bases, k)
    rank_of = np.full(k + 1, -1, np.int64)  # the last place is that of label -1
    rank_of[order] = np.arange(k)
    labels = rank_of[outcome.labels]
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
            arrays = {
                "centroids": centroids / LATTICE_STEPS,
                "sizes": sizes,
                "bases": bases,
                "homology": np.full(k, np.nan) if outcome.homology is None else outcome.homology[order],
                "objective": outcome.objectives / LATTICE_STEPS**2,
            }
            write_clusters(out, arrays, outcome.calibration, description)
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
    sums = np.zeros((k, points.dim + 1), np.int64)
    used = own >= 0
    weighted = points.points[used].astype(np.int64) * points.weights[used, None]
    np.add.at(sums, own[used], np.column_stack([weighted, points.weights[used]]))
    sums = sum_integers(layout.comm, sums)
    centroids = np.rint(sums[:, :-1] / np.maximum(sums[:, -1:], 1)).astype(np.int64)
    result = np.full((len(layout.ids), 2), np.nan)
    if k:
        result[place] = points.get_margins(centroids, own)
    result = look_up(layout, roots, result)
    result[~inside] = np.nan
    return centroids, result[:, 0] / LATTICE_STEPS, result[:, 1] / LATTICE_STEPS


def write_clusters(out: Path, arrays: dict[str, np.ndarray], calibration: Calibration, attributes: dict) -> None:
    """Write clusters.h5, which opens as netCDF-4 too: every dataset has named dimensions.

    Args:
        arrays: centroids (k, r) in calibrated units, sizes (k,) fragments, bases (k,), homology (k,) share, NaN where
            not measured, objective (iterations,).
        calibration: written beside them, and used for the centroids in the space of the embeddings.
        attributes: parameters, as numbers and strings.
    """
    centroids = calibration.mean + arrays["centroids"] @ calibration.back.T
    datasets = {
        "centroids": (centroids, ("cluster", "dimension")),
        "calibrated_centroids": (arrays["centroids"], ("cluster", "direction")),
        "sizes": (arrays["sizes"], ("cluster",)),
        "bases": (arrays["bases"], ("cluster",)),
        "homology": (arrays["homology"], ("cluster",)),
        "two_relatives": ((arrays["homology"] >= TWO_RELATIVES).astype(np.uint8), ("cluster",)),
        "objective": (arrays["objective"], ("iteration",)),
        "mean": (calibration.mean, ("dimension",)),
        "calibration": (calibration.directions, ("dimension", "direction")),
    }
    with replace_when_done(out / "clusters.h5") as temporary, h5py.File(temporary, "w") as file:
        scales = {}
        for data, dimensions in datasets.values():
            for dimension, length in zip(dimensions, data.shape, strict=True):
                if dimension not in scales:
                    scales[dimension] = file.create_dataset(dimension, data=np.arange(length))
                    scales[dimension].make_scale(dimension)
        for name, (data, dimensions) in datasets.items():
            dataset = file.create_dataset(name, data=data)
            for axis, dimension in enumerate(dimensions):
                dataset.dims[axis].attach_scale(scales[dimension])
        for name, value in attributes.items():
            file.attrs[name] = value


def _make_table(entry: Entry, roots, labels, distance, margin) -> pa.Table:
    names = pq.read_table(entry.folder / entry.shard.file, columns=["fragment", "name"])
    return pa.table(
        {
            "fragment": names.column("fragment").to_numpy() + entry.offset,
            "name": names.column("name"),
            "group": roots,
            "cluster": labels.astype(np.int32),
            "distance": distance.astype(np.float32),
            "margin": margin.astype(np.float32),
        }
    )


def _send_to_root(comm: MPI.Comm, table: pa.Table | None, owner: int) -> pa.Table | None:
    """Return on rank 0 the table that `owner` holds."""
    if owner == 0:
        return table if comm.rank == 0 else None
    if comm.rank == owner:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        data = np.frombuffer(sink.getvalue(), np.uint8)
        comm.Send(np.array([len(data)], np.int64), 0, tag=1)
        comm.Send(data, 0, tag=2)
    elif comm.rank == 0:
        size = np.empty(1, np.int64)
        comm.Recv(size, owner, tag=1)
        data = np.empty(int(size[0]), np.uint8)
        comm.Recv(data, owner, tag=2)
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    return None
