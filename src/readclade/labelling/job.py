"""Names for clusters: the votes of their units' nearest reference windows, and the files that hold the names.

docs/labelling.md states the method and its reasons.
"""

import logging
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from readclade.embedders.projection import Projection
from readclade.errors import InputError
from readclade.labelling.neighbours import ReferenceSpace
from readclade.labelling.references import check_embedder, read_index
from readclade.labelling.voters import Units, choose_units, count_fragments, pool_units
from readclade.results.binning import write_binning
from readclade.results.cami import write_profile
from readclade.results.clusters import read_sizes
from readclade.results.taxa import Cluster, write_taxa
from readclade.shards.manifest import read_manifest
from readclade.taxonomy.lineage import UNCLASSIFIED, Taxon, find_runner_up, find_supported, format_lineage, get_lowest

_log = logging.getLogger(__name__)

# A cluster with fewer bases than this is too little evidence for half of its votes.
_EVIDENCE_BP = 5000
# How sharply the confidence falls around the limit of novelty, where it is halved.
_STEEPNESS = 8


@dataclass(frozen=True)
class Label:
    """The name of one cluster.

    Attributes:
        taxon: None where it is unclassified.
        confidence: in [0, 1]; 0 where it is unclassified.
        second_best: the runner-up and its share of the votes, "" without one.
    """

    taxon: Taxon | None = None
    taxid: str = ""
    confidence: float = 0.0
    second_best: str = ""


def name_cluster(space: ReferenceSpace, vectors: np.ndarray, bases: np.ndarray, support: float) -> Label:
    """Return the name of a cluster: the lowest taxon whose confidence reaches the support.

    The confidence is the taxon's share of the votes, reduced where the cluster is small or lies far from the species
    that have these votes.

    Args:
        vectors: (n, d) its units in the sample's space.
        bases: (n,) their bases.
        support: share of the votes that a name needs.
    """
    if not len(vectors):
        return Label()
    weights = bases.astype(np.float64)
    evidence = weights.sum() / (weights.sum() + _EVIDENCE_BP)
    shares = {number: share * evidence for number, share in space.count_votes(vectors, weights).items()}
    votes = {space.species[number].lineage: share for number, share in shares.items()}

    for taxon, share in reversed(find_supported(votes, support)):
        inside = [i for i in shares if taxon.holds(space.species[i].lineage)]
        distances = [space.measure_strangeness(i, taxon, vectors, weights) for i in inside]
        strangeness = np.average(distances, weights=[shares[i] for i in inside])
        confidence = float(min(1.0, share) / (1 + strangeness**_STEEPNESS))
        if confidence >= support:
            runner_up = find_runner_up(votes, taxon)
            second_best = "" if runner_up is None else f"{runner_up[0].name} ({runner_up[1]:.2f})"
            return Label(taxon, space.get_taxid(taxon), confidence, second_best)
    if not shares:
        return Label()
    best = max(shares, key=lambda i: (shares[i], -i))
    return Label(second_best=f"{get_lowest(space.species[best].lineage).name} ({shares[best]:.2f})")


def label_clusters(
    manifest_path: Path,
    assignments: Path,
    clusters: Path,
    index_path: Path,
    out: Path,
    neighbours: int = 5,
    support: float = 0.5,
) -> list[Label]:
    """Name the clusters of one sample and write taxa.tsv, binning.tsv and profile.tsv.

    Args:
        manifest_path: manifest.json of the sample's shards.
        assignments: assignments.parquet of the cluster stage.
        clusters: clusters.h5 of the cluster stage.
        index_path: what `index_references` wrote.
        out: folder to write into.
        neighbours: reference windows that vote for one unit.
        support: share of the votes that a name needs, in (0, 1].

    Raises:
        InputError: a file is missing or damaged, or the files do not belong together.
    """
    manifest = read_manifest(manifest_path)
    index = read_index(index_path)
    check_embedder(index, manifest.embedder, manifest_path)
    sizes, bases = _read_sizes(clusters, assignments)
    units = pool_units(manifest, Path(manifest_path).parent, assignments, choose_units(assignments))
    unit_bp = _get_typical_size(units)
    _log.info(f"{len(units.bases):,} units of about {unit_bp:,.0f} bases speak for {len(sizes):,} clusters")
    space = ReferenceSpace(index, Projection.from_json(manifest.embedder["projection"]), unit_bp, neighbours)
    _log.info(f"{len(space.species):,} species in windows of {space.window_bp:,} bp; radius {space.radius:.2f}")
    begins = np.searchsorted(units.clusters, np.arange(len(sizes) + 1))
    labels = []
    for begin, end in pairwise(begins):
        labels.append(name_cluster(space, units.vectors[begin:end], units.bases[begin:end], support))
    rows = map(_describe, range(len(labels)), labels, sizes.tolist(), bases.tolist())
    write_taxa(out / "taxa.tsv", list(rows))
    write_binning(out / "binning.tsv", manifest.sample, assignments, [label.taxid for label in labels])
    shares: dict[Taxon, float] = {}
    for label, count in zip(labels, bases, strict=True):
        if label.taxon is not None:
            shares[label.taxon] = shares.get(label.taxon, 0.0) + 100 * count / manifest.bases
    write_profile(
        out / "profile.tsv",
        manifest.sample,
        shares,
        {label.taxon: label.taxid for label in labels if label.taxon is not None and label.taxid},
    )
    named = sum(label.taxon is not None for label in labels)
    _log.info(f"{named} of {len(labels)} clusters have a name, {sum(shares.values()):.1f} % of the bases")
    return labels


def _read_sizes(clusters: Path, assignments: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return fragments and bases of each cluster."""
    sizes, bases = read_sizes(clusters)
    counts = count_fragments(assignments)
    counts = np.concatenate([counts, np.zeros(max(0, len(sizes) - len(counts)), np.int64)])
    if not np.array_equal(counts, sizes):
        raise InputError(
            f"the sizes of its {len(sizes)} clusters are not those of {assignments}",
            path=clusters,
            remedy="run `cluster` again: the two files come from different runs",
        )
    return sizes, bases


def _get_typical_size(units: Units) -> float:
    """Return the size of unit in which half of the bases lie in larger ones; 1 without any unit."""
    if not len(units.bases):
        return 1.0
    order = np.sort(units.bases)
    return float(order[np.searchsorted(np.cumsum(order), order.sum() / 2)])


def _describe(number: int, label: Label, size: int, bases: int) -> Cluster:
    """Return the row of a cluster in taxa.tsv."""
    taxon = label.taxon
    described = (UNCLASSIFIED, "", "") if taxon is None else (taxon.name, taxon.rank, format_lineage(taxon.path))
    return Cluster(number, size, bases, label.taxid, *described, label.confidence, label.second_best)
