"""Clusters are found on the larger groups, then every other fragment is placed.

Rank 0 finds the clusters (`discovery`) on at most 8,192 groups; all ranks place what is left, each its own fragments.
"""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from readclade.clustering.genomes.composition import SCORE_STEPS, add_scores, count_steps, count_words, make_models
from readclade.clustering.genomes.cores import Cores, make_link_matrix
from readclade.clustering.genomes.discovery import find_clusters, set_remnants_apart
from readclade.clustering.genomes.homology import find_homologs, measure_homology, sample_words
from readclade.clustering.genomes.markers import find_markers
from readclade.clustering.groups.calibration import Calibration
from readclade.clustering.groups.linkage import Linkage
from readclade.clustering.groups.pooling import Groups, sum_by_group
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.communicator import gather_rows, run_on_each, sum_integers
from readclade.clustering.ranks.exchange import Layout, look_up
from readclade.clustering.ranks.progress import tell
from readclade.clustering.ranks.rows import sum_rows
from readclade.hashing import scramble

_MOST_CORES = 8192
_LEAST_FRAGMENTS = 8  # of a core, for short reads
_LEAST_BASES = (10_000, 5_000, 2_500)  # of a core, for long reads: the first at which cores hold enough of all bases
_COVERED = 2 / 3  # share of the bases that is enough
_LEAST_CORES = 64  # with fewer of the smaller sizes, two parts of one genome would look like two genomes
_LEAST_LEAD = 1.0  # nats by which the best cluster must lead, or a fragment stays unassigned


@dataclass(frozen=True)
class Discovery:
    """What rank 0 found.

    Attributes:
        ids: (G,) int64, the groups that clusters were found from, ascending.
        labels: (G,) int64, cluster of each; from K on, remnants, which are no cluster (`find_remnants`).
        models: (K or more, 4096) float64, composition model of each cluster, then of each remnant.
        objectives: (iterations,) float64, of the k-means that was begun with, in lattice units.
        agreement: of its seedings (`Clustering`).
        homology: (K,) float64, share of each cluster with a homologous partner in it (`homology`).
    """

    ids: np.ndarray
    labels: np.ndarray
    models: np.ndarray
    objectives: np.ndarray
    agreement: float
    homology: np.ndarray

    @property
    def clusters(self) -> int:
        """K."""
        return len(self.homology)


def _are_large(groups: Groups, is_short: bool, least_bases: int) -> np.ndarray:
    large = groups.fragments >= _LEAST_FRAGMENTS if is_short else groups.bases >= least_bases
    return large & (groups.fragments > 0)


def count_cores(comm: MPI.Comm, groups: Groups, is_short: bool) -> int:
    """Return on every rank how many groups are large, by the first of the sizes. Collective."""
    return comm.allreduce(int(_are_large(groups, is_short, _LEAST_BASES[0]).sum()))


def choose_cores(comm: MPI.Comm, groups: Groups, is_short: bool) -> np.ndarray:
    """Return on every rank the ids of the groups that clusters are found from, ascending. Collective.

    Where little is linked, long reads take part that are alone, or in a small group.
    """
    chosen, total = None, 0
    for least in _LEAST_BASES:
        large = _are_large(groups, is_short, least)
        sums = [large.sum(), groups.bases[large].sum(), groups.bases.sum()]
        count, held, bases = sum_integers(comm, np.array(sums, np.int64)).tolist()
        if chosen is None or count >= _LEAST_CORES:
            chosen, total = large, count
        if is_short or held >= _COVERED * bases:
            break
    ids = groups.ids[chosen]
    if total > _MOST_CORES:
        ids = ids[scramble(ids) < np.uint64(_MOST_CORES / total * 2**64)]
    return np.sort(gather_rows(comm, ids.reshape(-1, 1))[:, 0])


def find_places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the place of each wanted id among the ascending ids, or -1."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    places = np.searchsorted(ids, wanted)
    np.minimum(places, len(ids) - 1, out=places)
    places[ids[places] != wanted] = -1
    return places


def discover(
    layout: Layout,
    linkage: Linkage,
    roots: np.ndarray,
    groups: Groups,
    calibration: Calibration,
    sequences: Sequences,
    is_short: bool,
    k: int | None,
    seed: int,
    seedings: int,
) -> Discovery | None:
    """Find the clusters and their models; None where there are too few groups for k clusters. Collective.

    Raises:
        RankError: the groups are too much alike for k clusters.
    """
    comm = layout.comm
    ids = choose_cores(comm, groups, is_short)
    if k is not None and len(ids) < 2 * k:
        return None
    cores = _gather_cores(layout, linkage, roots, groups, sequences, ids)
    proteins = sample_words(comm, sequences, find_places(ids, roots))
    tell(f"{len(ids):,} groups to find clusters from")

    def find() -> Discovery | None:
        if cores is None:
            return None
        labels, clustering = find_clusters(cores, calibration, layout.count, k, seed, seedings)
        clusters = count = int(labels.max(initial=0)) + 1
        if k is None and count > 1:
            labels, clusters = set_remnants_apart(cores, labels)
            if clusters < count:
                tell(f"{count - clusters} of them too short and poor in genes for a genome: they stay unassigned")
        counts = [cores.words[labels == label].sum(axis=0, dtype=np.float64) for label in range(count)]
        return Discovery(
            ids,
            labels,
            make_models(np.stack(counts)),
            np.array(clustering.objectives if clustering else [], np.float64),
            clustering.agreement if clustering else np.nan,
            measure_homology(find_homologs(proteins, len(ids)), labels, cores.weights, count)[:clusters],
        )

    return comm.bcast(run_on_each(comm, find))


def _gather_cores(layout, linkage: Linkage, roots, groups: Groups, sequences, ids: np.ndarray) -> Cores | None:
    """Return on rank 0 what is known of the groups of these ids. Collective."""
    comm = layout.comm
    own = find_places(ids, roots)
    words = count_words(sequences, own, len(ids))
    total = np.empty_like(words) if comm.rank == 0 else None
    comm.Reduce(words, total, op=MPI.SUM)
    markers = find_markers(comm, sequences, own, len(ids))

    first = own[layout.local(linkage.first)]
    second = find_places(ids, look_up(layout, linkage.second, roots))
    crossing = (first >= 0) & (second >= 0) & (first != second)
    ends = np.sort(np.column_stack([first, second])[crossing], axis=1)
    rows = gather_rows(comm, np.column_stack([ends, linkage.count[crossing]]), everywhere=False)

    place = find_places(ids, groups.ids)
    mine = place >= 0
    stretch = np.rint(groups.bases[mine] / groups.multiplicities[mine]).astype(np.int64)
    counts = np.column_stack([place[mine], np.maximum(stretch, 1), groups.fragments[mine]])
    counts = gather_rows(comm, counts, everywhere=False)
    vectors = gather_rows(comm, groups.vectors.look_up(groups.ids[mine]), everywhere=False)
    if total is None:  # this is not rank 0
        return None
    order = counts[:, 0].argsort()
    pairs, numbers = sum_rows(rows[:, :2], rows[:, 2:])
    matrix = make_link_matrix(len(ids), pairs[:, 0], pairs[:, 1], numbers[:, 0])
    return Cores(
        vectors[order], counts[order, 1], counts[order, 2], total.astype(np.float32), matrix, markers, linkage.is_short
    )


def place_fragments(
    layout: Layout, roots: np.ndarray, sequences: Sequences, known: np.ndarray, found: Discovery
) -> np.ndarray:
    """Return (n,) int64, the cluster of each of this rank's fragments, -1 where none is clear. Collective.

    Groups that clusters were found from keep theirs; every other group goes as a whole to the cluster under which its
    fragments are most likely. What is in a remnant, or most likely from one, has no cluster.

    Args:
        roots: (n,) int64, group of each fragment.
        known: (n,) bool; other fragments stay unassigned.
    """
    place = find_places(found.ids, roots)
    labels = np.where(place >= 0, found.labels[place] if len(found.labels) else 0, -1)
    if len(found.models) == 1:
        return np.where(known, 0, -1)
    rest = np.flatnonzero(known & (place < 0))
    steps = count_steps(found.models)

    def add(rows: np.ndarray, places: np.ndarray, sums: np.ndarray) -> None:
        add_scores(sequences, rows, places, steps, sums)

    held = np.full(len(layout.ids), -1, np.int64)
    for ids, sums in sum_by_group(layout, roots, rest, len(found.models), add):
        ranked = np.sort(sums, axis=1)
        clear = ranked[:, -1] - ranked[:, -2] >= _LEAST_LEAD * SCORE_STEPS
        held[layout.local(ids[clear])] = sums[clear].argmax(axis=1)
    labels[rest] = look_up(layout, roots[rest], held)
    return np.where(known & (labels < found.clusters), labels, -1)
