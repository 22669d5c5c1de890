"""Phase 2: the MPI job that clusters the fragments of one sample, or of several together.

Shards are dealt out to the ranks. Their fragments are linked into groups (`linking`), groups are pooled (`pooling`) and
calibrated (`calibration`), and clustered: into a number of clusters that is found or given (`finding`, `kmeans`), or
each group is a cluster (`lsh`). Rank 0 writes, shard by shard.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from threadpoolctl import threadpool_limits

from readclade.clustering.genomes.finding import Discovery, count_cores, discover, find_places, place_fragments
from readclade.clustering.genomes.homology import TWO_RELATIVES
from readclade.clustering.genomes.kmeans import run_kmeans
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.groups.calibration import Calibration, fit_calibration
from readclade.clustering.groups.halves import Embed, choose_half_embedder, have_halves, measure_halves
from readclade.clustering.groups.linkage import Linkage, load_linkage
from readclade.clustering.groups.linking import is_short, link_fragments
from readclade.clustering.groups.pooling import Groups, are_apart, choose_rows, gather_by_id, pool_groups
from readclade.clustering.inputs import Entry, LocalFragments, list_entries, load_embeddings, load_fragments
from readclade.clustering.links.edges import Overlaps
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.outputs import Outcome, write_outcome
from readclade.clustering.paf import OVERLAPS, write_overlaps
from readclade.clustering.ranks.checkpoints import Checkpoints
from readclade.clustering.ranks.communicator import check_size, gather_rows, run_on_each, sum_integers
from readclade.clustering.ranks.exchange import Layout, look_up
from readclade.clustering.ranks.progress import FOUND, LINKED, READ, Progress, tell
from readclade.code_files import find_sources
from readclade.errors import ConfigError, InputError

ALGORITHMS = ("kmeans", "lsh")
_ENOUGH_CORES = 200  # groups of a level


@dataclass(frozen=True)
class Parameters:
    """What decides the clusters.

    Attributes:
        algorithm: kmeans, or lsh: every group of linked fragments is a cluster.
        k: number of clusters, or None: it is found.
        seed: of k-means.
        directions: calibrated directions that k-means works in.
        seedings: starts of k-means; the best of them and of their consensus is taken.
    """

    algorithm: str
    k: int | None
    seed: int
    directions: int
    seedings: int


def cluster_fragments(
    comm: MPI.Comm,
    manifests: list[Path],
    out: Path,
    parameters: Parameters,
    ranks: int | None = None,
    memory: float = 4,
    has_overlaps: bool = False,
) -> None:
    """Cluster the fragments of the manifests and write the results into `out`. Collective.

    Args:
        ranks: the expected number of ranks, or None for any.
        memory: GB that a rank is to stay within; no result depends on it.
        has_overlaps: whether the overlaps are written, too.

    Raises:
        ReadcladeError: on all ranks alike.
    """
    run_on_each(comm, lambda: check_size(comm, ranks))
    entries = run_on_each(comm, lambda: list_entries(manifests))
    layout = Layout(comm, np.cumsum([0, *(entry.shard.rows for entry in entries)]))
    if parameters.k is not None and parameters.k > layout.count:
        raise ConfigError(
            f"k = {parameters.k} is larger than the number of fragments, {layout.count}",
            remedy="set clustering: k to a smaller number",
        )
    # One thread for matrix products: the ranks already use all cores, and block sums keep their order.
    with Progress() as progress, threadpool_limits(1):
        progress.begin(READ)
        local = run_on_each(comm, lambda: load_fragments(entries[comm.rank :: comm.size]))
        known = sum_integers(comm, np.array([local.known.sum()], np.int64))[0]
        having = f"{known:,} of {layout.count:,} fragments have an embedding"
        tell(f"{len(entries)} shards on {comm.size} ranks; {having}", 1)
        if not known:
            raise InputError(
                f"none of the {layout.count:,} fragments holds anything that could be embedded",
                path=manifests[0],
                remedy="give reads of known bases (A, C, G, T) that are longer than the embedder's k-mers",
            )
        checkpoints = Checkpoints(comm, Path(out), _get_fingerprint(entries))
        progress.begin(LINKED)
        linkage = _link(layout, entries, local, checkpoints, progress, int(memory * 10**9), has_overlaps)
        progress.begin(FOUND)
        outcome = _cluster(layout, entries, linkage, local, parameters, checkpoints, progress)
        description = {
            **{name: value for name, value in asdict(parameters).items() if name != "k"},
            "k": "auto" if parameters.k is None else parameters.k,
            "manifests": json.dumps(sorted({entry.manifest.fingerprint for entry in entries})),
        }
        progress.begin(1)
        if np.isfinite(outcome.agreement):
            description["seeding_agreement"] = round(outcome.agreement, 6)
        write_outcome(layout, entries, local, outcome, description, Path(out))
        if comm.rank == 0:
            (Path(out) / OVERLAPS).unlink(missing_ok=True)  # of an earlier run
            if has_overlaps:
                os.replace(checkpoints.folder / OVERLAPS, Path(out) / OVERLAPS)
        checkpoints.remove()
        tell(f"wrote {out}", 1)


def _get_fingerprint(entries: list[Entry]) -> str:
    code = [path.read_text(encoding="utf-8") for path in find_sources(Path(__file__))]
    return _hash_json([[entry.shard.sha256 for entry in entries], code])


def _hash_json(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _link(
    layout: Layout, entries, local: LocalFragments, checkpoints: Checkpoints, progress, memory: int, has_overlaps: bool
) -> Linkage:
    """Link the fragments, or take what an earlier run linked. Collective."""
    platform = entries[0].manifest.platform

    def keep(overlaps: Overlaps) -> None:
        # Here it waits until the results are whole.
        write_overlaps(layout, entries, local.sequences, overlaps.align, checkpoints.folder / OVERLAPS)

    def link() -> Linkage:
        shown = keep if has_overlaps else None
        return link_fragments(layout, local.sequences, platform, local.error_rates, memory, shown)

    files = [OVERLAPS] if has_overlaps else []
    linkage, is_resumed = load_linkage(layout, checkpoints, len(entries), is_short(platform), link, files)
    if is_resumed:
        progress.skip()
        tell("links taken from the checkpoint of an earlier run")
    return linkage


def _cluster(
    layout: Layout, entries: list[Entry], linkage: Linkage, local: LocalFragments, parameters, checkpoints, progress
) -> Outcome:
    """Return the clusters of this rank's fragments. Collective."""
    comm, known = layout.comm, local.known
    roots, groups, calibration = _pool(layout, entries, linkage, local, parameters)
    useful = groups.fragments > 0
    if parameters.algorithm == "lsh":
        points = Points(comm, _place_on_lattice(groups, calibration), groups.bases[useful], groups.ids[useful])
        return Outcome(_number_groups(layout, groups, roots, known), roots, points, calibration)
    # Links depend on the data alone, clusters on the parameters too.
    name = f"clusters-{_hash_json(asdict(parameters))[:16]}"
    saved = comm.bcast(run_on_each(comm, lambda: None if comm.rank else checkpoints.load(name)))
    found: Discovery | None
    if saved:
        progress.skip()
        tell("clusters taken from the checkpoint of an earlier run")
        found = Discovery(**saved)
    else:
        options = (linkage.is_short, parameters.k, parameters.seed, parameters.seedings)
        found = discover(layout, linkage, roots, groups, calibration, local.sequences, *options)
        if found and comm.rank == 0:
            checkpoints.save(name, **vars(found))
    points = Points(comm, _place_on_lattice(groups, calibration), groups.bases[useful], groups.ids[useful])
    del groups  # and with them the embeddings: no more is needed of them, and placing needs room
    if found is None:
        tell("too few groups are large enough for composition models: k-means alone decides")
        clustering = run_kmeans(points, parameters.k, parameters.seed, parameters.seedings)
        held = np.full(len(layout.ids), -1, np.int64)
        held[layout.local(points.identifiers)] = points.get_distances(clustering.centroids)[0]
        labels = np.where(known, look_up(layout, roots, held), -1)
        objectives = np.array(clustering.objectives, np.float64)
        return Outcome(labels, roots, points, calibration, objectives, clustering.agreement)
    labels = place_fragments(layout, roots, local.sequences, known, found)
    tell(f"{found.clusters} clusters; {comm.allreduce(int((labels >= 0).sum())):,} fragments placed", 1)
    doubtful = int((found.homology >= TWO_RELATIVES).sum())
    if doubtful:
        tell(f"{doubtful} of them probably hold two relatives")
    return Outcome(labels, roots, points, calibration, found.objectives, float(found.agreement), found.homology)


def _pool(
    layout: Layout, entries: list[Entry], linkage: Linkage, local: LocalFragments, parameters
) -> tuple[np.ndarray, Groups, Calibration]:
    """Return each fragment's group, the groups, and what calibrates their vectors. Collective."""
    comm, manifest = layout.comm, entries[0].manifest
    embeddings = run_on_each(comm, lambda: load_embeddings(entries[comm.rank :: comm.size], manifest.d))
    data = (embeddings, local.bases, local.known, linkage.depths)
    if parameters.algorithm == "lsh":
        roots = linkage.levels[-1]
        groups = pool_groups(layout, roots, *data)
    else:
        roots, groups = _choose_groups(layout, linkage, data)
    embed = choose_half_embedder(manifest)
    deviations = _draw_deviations(layout, linkage, roots, groups, data, local.sequences, embed)
    drawn = _draw_groups(comm, groups)
    calibration = None
    if comm.rank == 0:
        calibration = fit_calibration(
            drawn[:, 1:], np.maximum(drawn[:, 0], 1), deviations[:, 1:], deviations[:, 0], parameters.directions
        )
    calibration = comm.bcast(calibration)
    kind = "whitened: too little is linked to measure noise" if calibration.is_whitening else "calibrated"
    total = comm.allreduce(int((groups.fragments > 0).sum()))
    tell(f"{total:,} groups, {calibration.directions.shape[1]} directions, {kind}", 0.1)
    return roots, groups, calibration


def _choose_groups(layout: Layout, linkage: Linkage, data) -> tuple[np.ndarray, Groups]:
    """Return each fragment's group and the groups: the outermost level that has enough large ones. Collective.

    A small sample has few of the largest groups, too few to tell clusters by. Short reads always use the largest:
    smaller ones scatter so much by chance that a genome falls into two.
    """
    for roots in reversed(linkage.levels[-1:] if linkage.is_short else linkage.levels):
        groups = pool_groups(layout, roots, *data)
        if count_cores(layout.comm, groups, linkage.is_short) >= _ENOUGH_CORES:
            break
    return roots, groups


def _draw_groups(comm: MPI.Comm, groups: Groups) -> np.ndarray:
    """Return on every rank (m, 1 + d) a sample of the groups: bases and vector. Collective."""
    rows = np.flatnonzero(groups.fragments > 0)
    rows = rows[choose_rows(comm, groups.ids[rows])]
    ids = groups.ids[rows]
    return gather_by_id(comm, ids, np.column_stack([groups.bases[rows], groups.vectors.look_up(ids)]))


def _place_on_lattice(groups: Groups, calibration: Calibration) -> np.ndarray:
    """Return (u, r) int32, the lattice points of the groups of which something is known. Collective."""
    points = np.empty((int((groups.fragments > 0).sum()), calibration.directions.shape[1]), np.int32)
    end = 0
    for vectors in groups.vectors.iterate():
        points[end : end + len(vectors)] = calibration.to_lattice(vectors)
        end += len(vectors)
    return points


def _draw_deviations(
    layout: Layout, linkage: Linkage, roots, groups: Groups, data, sequences: Sequences, embed: Embed | None
) -> np.ndarray:
    """Return on every rank (m, 1 + d) a sample of the parts of groups: bases, and deviation from the group's mean.

    The parts are the innermost groups for short reads, and the reads themselves for long ones. The parts of a long
    read that is alone are its halves, where they can be embedded. Collective.
    """
    inner = linkage.levels[0] if linkage.is_short else layout.ids
    parts = pool_groups(layout, inner, *data)
    outer = roots[layout.local(parts.ids)]
    apart = are_apart(layout, parts, groups, outer)
    candidates = apart
    if embed and not linkage.is_short:
        candidates = apart | ((parts.fragments > 0) & have_halves(sequences, layout.local(parts.ids)))
    rows = np.flatnonzero(candidates)
    rows = rows[choose_rows(layout.comm, parts.ids[rows])]
    # Of a part that is its whole group this is nothing; its halves stand for it.
    deviations = parts.vectors.look_up(parts.ids[rows]) - groups.vectors.look_up(outer[rows])
    if embed and not linkage.is_short:
        alone = ~apart[rows]
        reads = layout.local(parts.ids[rows[alone]])
        deviations[alone] = measure_halves(sequences, reads, deviations.shape[1], embed)
    useful = ~np.isnan(deviations[:, 0])
    rows = rows[useful]
    return gather_by_id(layout.comm, parts.ids[rows], np.column_stack([parts.bases[rows], deviations[useful]]))


def _number_groups(layout: Layout, groups: Groups, roots: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the number of each fragment's group among those of at least two fragments; -1 for the others."""
    ids = groups.ids[groups.fragments >= 2]
    ids = np.sort(gather_rows(layout.comm, ids.reshape(-1, 1))[:, 0])
    return np.where(known, find_places(ids, roots), -1)
