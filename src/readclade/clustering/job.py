"""Phase 2: the MPI job that clusters the fragments of one sample, or of several together.

Shards are dealt out to the ranks; every rank whitens and assigns its own fragments; rank 0 writes, shard by shard.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mpi4py import MPI
from threadpoolctl import threadpool_limits

from readclade.clustering.communicator import check_size, run_on_each, sum_integers
from readclade.clustering.kmeans import Clustering, Points, run_kmeans
from readclade.clustering.outputs import ResultWriter, write_clusters
from readclade.clustering.whitening import LATTICE_STEPS, Whitening, fit_whitening
from readclade.errors import ConfigError, InputError
from readclade.files import remove_leftovers
from readclade.manifest import Manifest, Shard, read_manifest
from readclade.shards import get_embeddings, read_shard


@dataclass(frozen=True)
class Parameters:
    """What decides the clusters: k clusters, `directions` whitened directions, `seedings` starts from `seed`."""

    k: int
    seed: int
    directions: int
    seedings: int


@dataclass(frozen=True)
class Entry:
    """One shard of the job.

    Attributes:
        offset: what is added to a fragment's id in its sample, so that ids differ over all samples of the job.
    """

    manifest: Manifest
    folder: Path
    shard: Shard
    offset: int


@dataclass
class Part:
    """This rank's share of one shard: known (n,) bool marks the fragments whose embedding says something."""

    embeddings: np.ndarray
    weights: np.ndarray
    known: np.ndarray


def list_entries(manifests: list[Path]) -> list[Entry]:
    """Return the shards of all manifests in order.

    Raises:
        InputError: a manifest cannot be used, or was embedded otherwise than the first.
    """
    entries: list[Entry] = []
    offset = 0
    first = None
    for path in manifests:
        manifest = read_manifest(path)
        first = first or manifest
        if manifest.embedder != first.embedder:
            raise InputError(
                f"was embedded otherwise than {manifests[0]}, so that the vectors cannot be compared",
                path=path,
                remedy="cluster the samples one by one, or embed them with one projection",
            )
        entries += [Entry(manifest, Path(path).parent, shard, offset) for shard in manifest.shards]
        offset += manifest.fragments
    if not entries:
        raise InputError("holds no shards", path=manifests[0], remedy="run `embed` again")
    return entries


def _load_part(entry: Entry) -> Part:
    table = read_shard(entry.manifest, entry.shard, entry.folder, ["sequence", "mate", "embedding"])
    embeddings = get_embeddings(table, entry.manifest.d)
    if not np.isfinite(embeddings).all():
        raise InputError(
            "holds embeddings that are no numbers", path=entry.folder / entry.shard.file, remedy="run `embed` again"
        )
    lengths = [pc.binary_length(table.column(name)).to_numpy().astype(np.int64) for name in ("sequence", "mate")]
    return Part(embeddings, lengths[0] + lengths[1], embeddings.any(axis=1))


def cluster_fragments(
    comm: MPI.Comm,
    manifests: list[Path],
    out: Path,
    parameters: Parameters,
    ranks: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Cluster the fragments of the manifests and write the results into `out`. Collective.

    Args:
        ranks: the expected number of ranks, or None for any.

    Raises:
        ReadcladeError: on all ranks alike.
    """
    run_on_each(comm, lambda: check_size(comm, ranks))
    entries = run_on_each(comm, lambda: list_entries(manifests))
    mine = range(comm.rank, len(entries), comm.size)
    # One thread for matrix products: the ranks already use all cores, and block sums keep their order.
    with threadpool_limits(1):
        parts = run_on_each(comm, lambda: {number: _load_part(entries[number]) for number in mine})
        report(f"{len(entries)} shards on {comm.size} ranks")
        whitening = fit_whitening(
            comm,
            {number: (part.embeddings[part.known], part.weights[part.known]) for number, part in parts.items()},
            entries[0].manifest.d,
            parameters.directions,
        )
        points = _make_points(comm, entries, parts, whitening)
        fragments = sum(entry.shard.rows for entry in entries)
        report(f"{points.count:,} of {fragments:,} fragments have an embedding; {points.dim} directions")
        if not points.count:
            raise InputError(
                f"none of the {fragments:,} fragments holds anything that could be embedded",
                path=manifests[0],
                remedy="give reads of known bases (A, C, G, T) that are longer than the embedder's k-mers",
            )
        if parameters.k > fragments:
            raise ConfigError(
                f"k = {parameters.k} is larger than the number of fragments, {fragments}",
                remedy="set clustering: k to a smaller number",
            )
        clustering = run_kmeans(points, parameters.k, parameters.seed, parameters.seedings, report)
        _write(comm, entries, parts, points, whitening, clustering, parameters, out)
    report(f"wrote {out}")


def _make_points(comm: MPI.Comm, entries: list[Entry], parts: dict[int, Part], whitening: Whitening) -> Points:
    coordinates = [np.zeros((0, whitening.directions.shape[1]), np.int32)]
    weights, identifiers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, part in parts.items():
        first = entries[number].offset + entries[number].shard.first_fragment
        coordinates.append(whitening.to_lattice(part.embeddings)[part.known])
        weights.append(part.weights[part.known])
        identifiers.append(first + np.flatnonzero(part.known))
    return Points(comm, np.concatenate(coordinates), np.concatenate(weights), np.concatenate(identifiers))


def _write(comm, entries, parts, points, whitening, clustering: Clustering, parameters, out: Path) -> None:
    """Number the clusters by falling bases and write all results. Collective."""
    k = len(clustering.centroids)
    labels, nearest, second = points.get_distances(clustering.centroids, with_second=True)
    counts = np.stack([np.bincount(labels, minlength=k), np.zeros(k, np.int64)])
    np.add.at(counts[1], labels, points.weights)
    sizes, bases = sum_integers(comm, np.ascontiguousarray(counts, np.int64))
    order = np.lexsort([np.arange(k), -bases])
    rank_of = np.empty(k, np.int32)
    rank_of[order] = np.arange(k)
    with np.errstate(invalid="ignore"):
        distance = np.sqrt(nearest) / LATTICE_STEPS
        margin = np.where(second >= 0, np.sqrt(second) / LATTICE_STEPS - distance, np.nan)

    if comm.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
    writer = ResultWriter(out, entries[0].manifest.sample) if comm.rank == 0 else None
    begin = 0
    try:
        for number, entry in enumerate(entries):
            table = None
            if number in parts:
                part = parts[number]
                rows = slice(begin, begin + int(part.known.sum()))
                begin = rows.stop
                table = _make_table(entry, part, rank_of[labels[rows]], distance[rows], margin[rows])
            table = _send_to_root(comm, table, number % comm.size)
            if writer is not None:
                writer.add(table)
        if writer is not None:
            write_clusters(
                out,
                {
                    "centroids": clustering.centroids[order] / LATTICE_STEPS,
                    "sizes": sizes[order],
                    "bases": bases[order],
                    "objective": np.array([value / LATTICE_STEPS**2 for value in clustering.objectives]),
                },
                whitening,
                {
                    **vars(parameters),
                    "algorithm": "kmeans",
                    "seeding": clustering.seeding,
                    "manifests": json.dumps(sorted({entry.manifest.fingerprint for entry in entries})),
                },
            )
            writer.finish()
    finally:
        if writer is not None:
            writer.close()
    comm.Barrier()


def _make_table(entry: Entry, part: Part, labels, distance, margin) -> pa.Table:
    names = pq.read_table(entry.folder / entry.shard.file, columns=["fragment", "name"])
    fragments = names.column("fragment").to_numpy() + entry.offset
    clusters = np.full(len(fragments), -1, np.int32)
    clusters[part.known] = labels
    distances, margins = np.full((2, len(fragments)), np.nan, np.float32)
    distances[part.known], margins[part.known] = distance, margin
    return pa.table(
        {
            "fragment": fragments,
            "name": names.column("name"),
            "group": fragments,
            "cluster": clusters,
            "distance": distances,
            "margin": margins,
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
