"""Measure how often clusters get the right name, with every reference and with each species taken away.

Example, from the repository root, after `make demo`:
    PYTHONPATH=src .venv/bin/python benchmarks/measure_labelling.py --references demo/references.tsv \\
        --shards demo/run/shards/pairs --truth demo/truth/pairs.tsv.gz --results demo/run/results/pairs

Prints, for the true clusters and for those of the cluster stage, how many are named rightly (their organism's species),
higher (a taxon above it that holds it), unclassified, or wrongly. A cluster's organism is the one with most fragments;
clusters in which it has less than half are counted apart, as mixed.
"""

import csv
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from readclade.cli import make_parser, run
from readclade.inputs.tables import read_references
from readclade.labelling.job import label_clusters
from readclade.labelling.references import index_references
from readclade.results.cami import read_binning
from readclade.shards.manifest import read_manifest
from readclade.shards.parquet import read_shard


def make_true_clusters(shards: Path, truth: Path, out: Path) -> None:
    """Write assignments.parquet and clusters.h5 with one cluster for each genome of the truth."""
    manifest = read_manifest(shards / "manifest.json")
    bins = read_binning(truth, manifest.sample).bins
    genomes = sorted(set(bins.values()))
    names, lengths = [], []
    for shard in manifest.shards:
        table = read_shard(manifest, shard, shards, ["name", "sequence", "mate"])
        names += table["name"].to_pylist()
        lengths += [
            len(a) + len(b) for a, b in zip(table["sequence"].to_pylist(), table["mate"].to_pylist(), strict=True)
        ]
    clusters = np.array([genomes.index(bins[name]) for name in names], np.int32)
    fragments = np.arange(len(names))
    columns = {"fragment": fragments, "name": names, "group": fragments, "cluster": clusters}
    pq.write_table(pa.table(columns), out / "assignments.parquet")
    with h5py.File(out / "clusters.h5", "w") as file:
        file["sizes"] = np.bincount(clusters, minlength=len(genomes))
        file["bases"] = np.bincount(clusters, lengths, minlength=len(genomes)).astype(np.int64)


def get_organisms(assignments: Path, truth: Path, sample: str) -> list[tuple[str, float]]:
    """Return the taxid with most fragments of each cluster, and its share."""
    taxids = read_binning(truth, sample).taxids
    table = pq.read_table(assignments, columns=["name", "cluster"])
    counts: dict[int, Counter] = {}
    for name, cluster in zip(table["name"].to_pylist(), table["cluster"].to_pylist(), strict=True):
        counts.setdefault(cluster, Counter())[taxids[name]] += 1
    counts.pop(-1, None)
    top = {cluster: count.most_common(1)[0] for cluster, count in counts.items()}
    return [(top[i][0], top[i][1] / sum(counts[i].values())) if i in top else ("", 0.0) for i in range(max(top) + 1)]


def judge(label, taxid: str, lineages: dict[str, tuple[str, ...]]) -> str:
    """Return right, higher, unclassified or wrong; a taxid without a known lineage can only be unclassified."""
    if label.taxon is None:
        return "unclassified"
    if label.taxid:
        return "right" if label.taxid == taxid else "wrong"
    return "higher" if taxid in lineages and label.taxon.holds(lineages[taxid]) else "wrong"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = make_parser(__doc__)
    parser.add_argument("--references", required=True, type=Path, help="table of reference genomes")
    parser.add_argument("--shards", required=True, type=Path, help="folder of the sample's shards")
    parser.add_argument("--truth", required=True, type=Path, help="truth of the sample")
    parser.add_argument("--results", type=Path, help="results of the sample; without it only the true clusters count")
    parser.add_argument("--verbose", action="store_true", help="print every cluster")
    arguments = parser.parse_args()
    references = read_references(arguments.references)
    lineages = {str(reference.taxid): reference.lineage for reference in references}
    sample = read_manifest(arguments.shards / "manifest.json").sample
    embedder = read_manifest(arguments.shards / "manifest.json").embedder
    print("sample\tclusters\treferences\tclusters of\tright\thigher\tunclassified\twrong")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_true_clusters(arguments.shards, arguments.truth, folder)
        kinds = {"true": folder} | ({"found": arguments.results / "cluster"} if arguments.results else {})
        organisms = {
            kind: get_organisms(path / "assignments.parquet", arguments.truth, sample) for kind, path in kinds.items()
        }
        everything = [("all", references)]
        removed = [(taxid, [r for r in references if str(r.taxid) != taxid]) for taxid in lineages]
        alone = [(taxid, [r for r in references if str(r.taxid) == taxid]) for taxid in lineages]
        counts: dict[tuple[str, ...], Counter] = {}
        for scenario, sets in (("all", everything), ("all but it", removed), ("one species", alone)):
            for subject, kept in sets:
                if not kept:
                    continue
                with open(folder / "references.tsv", "w", encoding="utf-8") as file:
                    rows = csv.writer(file, delimiter="\t", lineterminator="\n")
                    rows.writerow(["accession", "fasta", "taxid", "lineage"])
                    for r in kept:
                        lineage = ";".join(f"{x}__{y}" for x, y in zip("dpcofgs", r.lineage, strict=True))
                        rows.writerow([r.accession, r.fasta, r.taxid, lineage])
                index = folder / "index.parquet"
                index_references(folder / "references.tsv", embedder["name"], embedder["parameters"], index)
                present = {str(r.taxid) for r in kept}
                for kind, path in kinds.items():
                    labels = label_clusters(
                        arguments.shards / "manifest.json",
                        path / "assignments.parquet",
                        path / "clusters.h5",
                        index,
                        folder / "out",
                    )
                    for i, (label, (taxid, share)) in enumerate(zip(labels, organisms[kind], strict=False)):
                        if scenario == "all but it" and taxid != subject:
                            continue
                        group = "mixed" if share < 0.5 else "a reference" if taxid in present else "no reference"
                        verdict = judge(label, taxid, lineages)
                        counts.setdefault((kind, scenario, group), Counter())[verdict] += 1
                        if arguments.verbose:
                            print(f"# {kind}, {scenario} {subject}: c{i + 1} {taxid} {share:.2f} {verdict} {label}")
        for key, count in counts.items():
            verdicts = (count[verdict] for verdict in ("right", "higher", "unclassified", "wrong"))
            print(sample, *key, *verdicts, sep="\t", flush=True)


if __name__ == "__main__":
    run(main)
