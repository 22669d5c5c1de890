"""A small run as the stages before the report leave it, made without running them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from readclade.embedders.projection import fit_projection
from readclade.evaluation.subsets import HEADER
from readclade.inputs.tables import read_samples
from readclade.reads.batch import Batch
from readclade.reads.summary import summarise_reads
from readclade.report.samples import Folders
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import write_shard

LINEAGE = "d__Bacteria;p__Bacillota;c__Bacilli;o__;f__;g__Bacillus;s__{}"
TAXA_HEADER = "cluster\tsize\tbases\ttaxid\tname\trank\tlineage\tconfidence\tsecond_best"
D = 3


@dataclass
class RunFolder:
    """Where a run lies, with the names of its samples in `config`'s table."""

    root: Path
    config: dict
    rows: list[str] = field(default_factory=list)

    @property
    def folders(self) -> Folders:
        """The folders that the report reads."""
        return Folders(*(self.root / name for name in ("results", "reads", "shards", "logs")))

    @property
    def outputs(self) -> tuple[Path, Path, Path]:
        """The report, the crate and the summary."""
        results = self.root / "results"
        return results / "report.html", results / "ro-crate-metadata.json", results / "summary.tsv"


def make_run(root: Path, **config) -> RunFolder:
    """Make the tables of a run without samples."""
    (root / "genome.fa").write_text(">g\nACGT\n")
    header = "accession\tfasta\ttaxid\tlineage\n"
    (root / "references.tsv").write_text(f"{header}G1\tgenome.fa\t1423\t{LINEAGE.format('Bacillus subtilis')}\n")
    tables = {"samples": str(root / "samples.tsv"), "references": str(root / "references.tsv")}
    return RunFolder(root, {**tables, "clustering": {"k": 2}, **config})


def add_sample(
    run: RunFolder,
    name: str,
    clusters: list[int],
    taxa: tuple[str, ...] = ("Bacillus subtilis", "unclassified"),
    genomes: tuple[str, ...] = (),
) -> None:
    """Add a sample with one fragment of 8 bases for each entry of `clusters`, in two shards where it can.

    Args:
        taxa: name of each cluster.
        genomes: true genome of each cluster, the last one for what is in none; () without a truth.
    """
    count = len(clusters)
    names = [f"r{i}" for i in range(count)]
    fastq = run.root / f"{name}.fastq"
    fastq.write_text("".join(f"@{read}\nACGTACGG\n+\nIIIIIIII\n" for read in names))
    truth = ""
    if genomes:
        truth = f"{name}.truth.tsv"
        rows = "".join(f"{read}\t{genomes[cluster]}\t8\n" for read, cluster in zip(names, clusters, strict=True))
        (run.root / truth).write_text(f"@Version:0.9.1\n@SampleID:{name}\n@@SEQUENCEID\tBINID\t_LENGTH\n{rows}")
    run.rows.append(f"{name}\t{fastq.name}\tont\t{truth}\n")
    (run.root / "samples.tsv").write_text("sample\tfq1\tplatform\ttruth\n" + "".join(run.rows))
    sample = read_samples(run.root / "samples.tsv")[name]
    summarise_reads(name, "ont", list(sample.lanes), run.root / "reads" / name, 8 * max(1, count // 2))
    _write_shards(run.root / "shards" / name, name, names, np.array(clusters))
    _write_clusters(run.root / "results" / name, name, names, np.array(clusters), taxa)
    if genomes:
        (run.root / "results" / name / "evaluation.tsv").write_text("metric\tvalue\nari\t0.9123\npurity\t1.0\n")
        (run.root / "results" / name / "genomes.tsv").write_text(f"genome\tfragments\n{genomes[0]}\t{count}\n")
        (run.root / "results" / name / "strata.tsv").write_text(f"{HEADER}\nlength\t5\t10\t{count}\t1\t1\t0.75\t1\t1\n")


def _write_shards(folder: Path, name: str, names: list[str], clusters: np.ndarray) -> None:
    folder.mkdir(parents=True)
    vectors = np.random.default_rng(1).normal(size=(len(names), D)).astype(np.float16) + 8 * clusters[:, None]
    shards = []
    step = max(1, len(names) // 2)
    for first in range(0, len(names), step):
        part = slice(first, first + step)
        rows = len(names[part])
        batch = Batch(
            first,
            pa.array(names[part]),
            pa.array(["ACGTACGG"] * rows),
            None,
            np.full(rows, 1e-4, np.float32),
            8 * rows,
        )
        embeddings = vectors[part].astype(np.float32)
        path = folder / f"shard-{len(shards):05d}.parquet"
        shards.append(write_shard(path, [(batch, embeddings)], D))
    projection = fit_projection(np.eye(D, dtype=np.float32), D, False).to_json()
    embedder = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": projection}
    Manifest(name, "ont", embedder, D, "0" * 64, tuple(shards)).write(folder / "manifest.json")


def _write_clusters(folder: Path, name: str, names: list[str], clusters: np.ndarray, taxa: tuple[str, ...]) -> None:
    (folder / "cluster").mkdir(parents=True)
    fragments = np.arange(len(names))
    table = {
        "fragment": fragments,
        "name": names,
        "group": fragments,
        "cluster": pa.array(clusters, pa.int32()),
        "distance": pa.array(np.zeros(len(names)), pa.float32()),
        "margin": pa.array(np.zeros(len(names)), pa.float32()),
    }
    pq.write_table(pa.table(table), folder / "cluster/assignments.parquet")
    sizes = np.bincount(clusters[clusters >= 0], minlength=len(taxa))
    with h5py.File(folder / "cluster/clusters.h5", "w") as file:
        file["centroids"] = np.zeros((len(taxa), D))
        file["sizes"], file["bases"] = sizes, 8 * sizes
        file["two_relatives"] = np.zeros(len(taxa), np.uint8)
        file["objective"] = np.array([3.0, 2.0, 1.5])
        file["mean"], file["calibration"] = np.zeros(D), np.eye(D)[:, :2]
        file.attrs.update(k=len(taxa), seed=0)
    rows = []
    for number, (size, taxon) in enumerate(zip(sizes, taxa, strict=True)):
        named = taxon != "unclassified"
        cells = [f"c{number + 1}", size, 8 * size, 1423 if named else "", taxon, "species" if named else ""]
        rows.append("\t".join(map(str, [*cells, LINEAGE.format(taxon) if named else "", "0.9" if named else "0", ""])))
    (folder / "taxa.tsv").write_text("\n".join([TAXA_HEADER, *rows]) + "\n")
    (folder / "profile.tsv").write_text(f"@SampleID:{name}\n")
    (folder / "binning.tsv").write_text(f"@Version:0.9.1\n@SampleID:{name}\n")


def write_config(run: RunFolder) -> Path:
    """Write the configuration as the script takes it."""
    path = run.root / "config.json"
    path.write_text(json.dumps(run.config))
    return path
