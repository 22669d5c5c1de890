"""What the report says about one sample: its results, read, checked against each other and summed up."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from readclade.inputs.tables import Sample
from readclade.reads.plan import ReadPlan
from readclade.report import drawing
from readclade.report.run_times import read_run_time
from readclade.results import tables
from readclade.results.assignments import Assignments, read_assignments
from readclade.results.cami import read_binning
from readclade.results.clusters import ClusterModel, read_clusters
from readclade.results.taxa import Cluster, read_taxa
from readclade.shards import store
from readclade.shards.manifest import read_manifest
from readclade.shards.vectors import read_vectors
from readclade.taxonomy.lineage import UNCLASSIFIED

UNASSIGNED = "unassigned"
_READS_KEYS = tuple(field.name for field in fields(ReadPlan) if field.name != "cleaning")
_STRATA_COLUMNS = ("stratum", "from", "to", "fragments", "genomes", "share_assigned", "ari", "purity", "completeness")
_STAGES = ("fetch", "embed", "stage", "cluster", "label", "evaluate")


@dataclass(frozen=True)
class Folders:
    """Where a run keeps what the report reads."""

    results: Path
    reads: Path
    shards: Path
    logs: Path


@dataclass(frozen=True)
class TaxonShare:
    """One taxon of a sample with all its clusters; `share` is that of the sample's bases."""

    name: str
    rank: str
    bases: int
    share: float
    clusters: tuple[str, ...]

    @property
    def is_italic(self) -> bool:
        """Whether the name is one that biologists write in italics."""
        return self.rank in ("genus", "species")


@dataclass
class SampleReport:
    """All that the report says about one sample."""

    name: str
    reads: ReadPlan
    embedder: dict
    model: ClusterModel
    clusters: list[Cluster]
    taxa: list[TaxonShare]
    assignments: Assignments
    map_ids: np.ndarray
    places: np.ndarray
    evaluation: dict[str, str]
    genomes: list[dict[str, str]]
    strata: list[dict[str, str]]
    genome_names: list[str]
    run_times: list[tuple[str, dict | None]]
    images: dict[str, drawing.Image] = field(default_factory=dict)

    @property
    def fragments(self) -> int:
        """The number of fragments."""
        return self.reads.fragments

    @property
    def bases(self) -> int:
        """The number of bases."""
        return self.reads.bases

    @property
    def is_tsne(self) -> bool:
        """Whether the map is one of t-SNE."""
        return len(self.map_ids) >= drawing.FEWEST_FOR_TSNE

    @property
    def unassigned(self) -> int:
        """The number of fragments without a cluster."""
        return self.fragments - int(self.model.sizes.sum())

    @property
    def summary(self) -> list[tuple[str, str]]:
        """The figures that summary.tsv holds, as (metric, value)."""
        own = {
            "fragments": str(self.fragments),
            "bases": str(self.bases),
            "clusters": str(len(self.clusters)),
            "share_assigned": f"{1 - self.unassigned / self.fragments if self.fragments else 0:.6f}",
            "taxa_named": str(sum(taxon.name not in (UNCLASSIFIED, UNASSIGNED) for taxon in self.taxa)),
        }
        return [*own.items(), *((key, value) for key, value in self.evaluation.items() if key not in own)]


def gather_sample(sample: Sample, folders: Folders, most_on_map: int) -> SampleReport:
    """Read the results of one sample and check that they belong together.

    Raises:
        InputError: a file is missing or does not fit the others.
    """
    folder = folders.results / sample.name
    reads = _read_plan(folders.reads / sample.name / "reads.json")
    manifest_path = folders.shards / sample.name / "manifest.json"
    manifest = read_manifest(manifest_path)
    if manifest.fragments != reads.fragments:
        message = f"lists {manifest.fragments:,} fragments, but reads.json {reads.fragments:,}"
        raise tables.fail(message, manifest_path, "embed")
    model = read_clusters(folder / "cluster/clusters.h5", manifest.d)
    clusters = [cluster for cluster in read_taxa(folder / "taxa.tsv", model.sizes) if cluster.size]
    truth = None
    genome_names: list[str] = []
    if sample.truth:
        origins = read_binning(Path(sample.truth), sample.name).bins
        names, codes = np.unique(list(origins.values()), return_inverse=True)
        genome_names = [str(name) for name in names]
        truth = (pa.array(list(origins), pa.string()), codes)
    ids = choose_fragments(manifest.fragments, most_on_map)
    vectors = read_vectors(manifest, store.get_location(manifest, manifest_path), ids)
    path = folder / "cluster/assignments.parquet"
    evaluation, genomes, strata = (folder / f"{name}.tsv" for name in ("evaluation", "genomes", "strata"))
    metrics = []
    if sample.truth and evaluation.exists():
        metrics = tables.read_rows(evaluation, ("metric", "value"), "evaluate")
    return SampleReport(
        name=sample.name,
        reads=reads,
        embedder=manifest.embedder,
        model=model,
        clusters=clusters,
        taxa=_sum_taxa(clusters, reads.bases),
        assignments=read_assignments(path, manifest.fragments, len(model.sizes), ids, truth),
        map_ids=ids,
        places=drawing.lay_out((vectors - model.mean) @ model.calibration),
        evaluation={row["metric"]: row["value"] for row in metrics},
        genomes=tables.read_rows(genomes, ("genome",), "evaluate") if sample.truth and genomes.exists() else [],
        strata=_read_strata(strata) if sample.truth and strata.exists() else [],
        genome_names=genome_names,
        run_times=[
            (stage, read_run_time(folders.logs / stage / f"{sample.name}.benchmark.tsv"))
            for stage in _list_stages(reads, bool(sample.truth))
        ],
    )


def choose_fragments(fragments: int, most: int) -> np.ndarray:
    """Return the sorted ids of at most `most` fragments, always the same ones."""
    if fragments <= most:
        return np.arange(fragments)
    return np.sort(np.random.default_rng(0).choice(fragments, most, replace=False))


def _read_plan(path: Path) -> ReadPlan:
    """Return what `fetch` found, or refuse it as any other result."""
    value = tables.read_json(path, _READS_KEYS, "fetch")
    try:
        return ReadPlan.from_json(value)
    except ValueError as error:
        raise tables.fail(str(error), path, "fetch") from None


def _list_stages(reads: ReadPlan, has_truth: bool) -> list[str]:
    """Return the stages that a sample went through."""
    is_downloaded = any("url" in origin for lane in reads.lanes for origin in lane.origins or ())
    before = ["download"] * is_downloaded + ["clean"] * (reads.cleaning is not None)
    return before + [stage for stage in _STAGES if stage != "evaluate" or has_truth]


def _read_strata(path: Path) -> list[dict[str, str]]:
    """Return the rows of strata.tsv, whose numbers are checked since they are drawn."""
    rows = tables.read_rows(path, _STRATA_COLUMNS, "evaluate")
    for row in rows:
        for column in _STRATA_COLUMNS[1:]:
            if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", row[column]):
                raise tables.fail(f"has '{row[column]}' as {column}, which is no number", path, "evaluate")
    return rows


def _sum_taxa(clusters: list[Cluster], bases: int) -> list[TaxonShare]:
    """Return the taxa by falling share, what has no name or no cluster last."""
    members: dict[tuple[str, str], list[Cluster]] = {}
    for cluster in clusters:
        members.setdefault((cluster.name, cluster.rank), []).append(cluster)
    taxa = []
    for (name, rank), group in members.items():
        total = sum(cluster.bases for cluster in group)
        labels = tuple(cluster.label for cluster in group)
        taxa.append(TaxonShare(name, rank, total, total / bases if bases else 0.0, labels))
    rest = bases - sum(taxon.bases for taxon in taxa)
    if rest > 0:
        taxa.append(TaxonShare(UNASSIGNED, "", rest, rest / bases, ()))
    last = (UNCLASSIFIED, UNASSIGNED)
    return sorted(taxa, key=lambda taxon: (taxon.name in last, taxon.name == UNASSIGNED, -taxon.bases, taxon.name))
