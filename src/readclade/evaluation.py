"""How well clusters, and their names, match a known truth.

Every figure is over the fragments of the truth. An unassigned fragment is in no cluster; only the adjusted Rand index,
which knows no such thing, counts all unassigned ones as one more cluster.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from readclade.cami import Binning, read_binning
from readclade.errors import InputError
from readclade.files import write_atomically
from readclade.lineage import UNCLASSIFIED
from readclade.tables import read_references


@dataclass(frozen=True)
class Comparison:
    """The fragments of a sample in two partitions.

    Attributes:
        genomes: names of the true genomes, sorted.
        true: (n,) int64, index of each fragment's genome.
        found: (n,) int64, its cluster from 0 on, -1 where it has none.
        table: (genomes, clusters) int64, fragments; the unassigned are left out.
    """

    genomes: list[str]
    true: np.ndarray
    found: np.ndarray
    table: np.ndarray


def compare(truth: Binning, names: list[str], clusters: np.ndarray) -> Comparison:
    """Count the fragments of each genome in each cluster.

    Args:
        truth: holds each of the names.
        names: of the n fragments.
        clusters: (n,) from 0 on, -1 where a fragment has none.
    """
    genomes = sorted(set(truth.bins.values()))
    numbers = {genome: number for number, genome in enumerate(genomes)}
    true = np.array([numbers[truth.bins[name]] for name in names], np.int64)
    found = clusters.astype(np.int64)
    k = int(found.max(initial=-1)) + 1
    known = found >= 0
    table = np.bincount(true[known] * k + found[known], minlength=len(genomes) * k).reshape(len(genomes), k)
    return Comparison(genomes, true, found, table)


def measure_clusters(comparison: Comparison) -> dict[str, float | int]:
    """Return the figures that need no names.

    purity: share of the assigned fragments that belong to their cluster's largest genome.
    completeness: share of all fragments that are in the cluster that holds most of their genome.
    """
    true, found, table = comparison.true, comparison.found, comparison.table
    assigned = found >= 0
    count = int(assigned.sum())
    return {
        "fragments": len(true),
        "true_genomes": len(comparison.genomes),
        "clusters": int((table.sum(axis=0) > 0).sum()),
        "share_assigned": count / len(true),
        "ari": adjusted_rand_score(true, found),
        "ari_assigned": adjusted_rand_score(true[assigned], found[assigned]) if count else 0.0,
        "ami": adjusted_mutual_info_score(true, found),
        "purity": table.max(axis=0, initial=0).sum() / count if count else 0.0,
        "completeness": table.max(axis=1, initial=0).sum() / len(true),
    }


def measure_labels(
    true_taxids: list[str], taxids: list[str], unclassified: list[bool] | None, known: set[str] | None
) -> dict[str, float | int]:
    """Return the figures about names, as shares of the fragments whose true taxid is given.

    species_correct, species_wrong: the fragment's cluster has its taxid, or another one. species_none: it has none:
    the cluster is unclassified or named at a higher rank, or the fragment is unassigned.
    absent_share, novel_found: share of the fragments whose taxid no reference has, and how many of those got none.

    Args:
        true_taxids: by fragment, "" where it is not known.
        taxids: by fragment, of its cluster.
        unclassified: by fragment, whether its cluster is; None where that is not known.
        known: taxids of the references; None where they are not given.
    """
    rows = np.array([taxid != "" for taxid in true_taxids], bool)
    if not rows.any():
        return {}
    true, given = np.array(true_taxids, object)[rows], np.array(taxids, object)[rows]
    named = given != ""
    figures = {
        "species_correct": np.mean(named & (given == true)),
        "species_wrong": np.mean(named & (given != true)),
        "species_none": np.mean(~named),
    }
    if unclassified is not None:
        figures["unclassified"] = np.mean(np.array(unclassified)[rows])
    if known is not None:
        absent = np.array([taxid not in known for taxid in true])
        figures["absent_share"] = absent.mean()
        if absent.any():
            figures["novel_found"] = np.mean(~named[absent])
    return figures


def evaluate_clusters(
    sample: str,
    truth: Path,
    binning: Path,
    assignments: Path,
    out: Path,
    taxa: Path | None = None,
    references: Path | None = None,
    genomes: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, float | int]:
    """Compare the clusters of one sample with the truth and write the figures as a table of metric and value.

    Args:
        sample: name in the truth.
        truth: CAMI binning file with the true origin of every fragment.
        binning: binning.tsv of the label stage.
        assignments: assignments.parquet of the cluster stage.
        out: evaluation.tsv.
        taxa: taxa.tsv of the label stage; tells what is unclassified.
        references: table of references; tells which organisms are absent from them.
        genomes: where to write a row for each true genome; None for nowhere.
        report: called with lines of progress.

    Raises:
        InputError: a file cannot be used, or the files do not hold the same fragments.
    """
    expected = read_binning(truth, sample)
    names, clusters = _read_assignments(assignments)
    _check_names(expected, names, truth, assignments)
    labels = _read_labels(binning, sample, names, clusters)
    comparison = compare(expected, names, clusters)
    figures = measure_clusters(comparison)
    if expected.taxids:
        nameless = None if taxa is None else _read_unclassified(taxa)
        figures |= measure_labels(
            [expected.taxids[name] for name in names],
            labels,
            None if nameless is None else [cluster < 0 or f"c{cluster + 1}" in nameless for cluster in clusters],
            None if references is None else {str(reference.taxid) for reference in read_references(references)},
        )
    rows = [f"{metric}\t{value if isinstance(value, int) else f'{value:.4f}'}" for metric, value in figures.items()]
    write_atomically(out, "\n".join(["metric\tvalue", *rows]) + "\n")
    if genomes is not None:
        write_atomically(genomes, "\n".join(_describe_genomes(comparison)) + "\n")
    report(f"ARI {figures['ari']:.3f} over {len(names):,} fragments of {len(comparison.genomes)} genomes")
    return figures


def _read_assignments(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        table = pq.read_table(path, columns=["name", "cluster"])
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="run `cluster` for this sample") from None
    return table.column("name").to_pylist(), table.column("cluster").to_numpy()


def _check_names(truth: Binning, names: list[str], truth_path: Path, assignments: Path) -> None:
    """Refuse a truth that is about other fragments than the sample's."""
    expected, present = truth.bins.keys(), set(names)
    if len(present) < len(names):
        twice = next(name for i, name in enumerate(sorted(names)) if i and name == sorted(names)[i - 1])
        raise InputError(
            f"fragment '{twice}' is there twice, so that the truth cannot tell the two apart",
            path=assignments,
            remedy="give the reads names that differ",
        )
    lacking, foreign = present - expected, expected - present
    if not lacking and not foreign:
        return
    parts = []
    if lacking:
        parts.append(
            f"{len(lacking):,} of the sample's {len(present):,} fragments are not in it, such as '{min(lacking)}'"
        )
    if foreign:
        parts.append(f"{len(foreign):,} of its {len(expected):,} are not in the sample, such as '{min(foreign)}'")
    bare = {name[:-2] for name in foreign if name.endswith(("/1", "/2"))}
    if bare & present:
        remedy = "remove /1 and /2 from its names: a row stands for both mates"
    else:
        remedy = "give the truth of these reads, one row for each read or read pair, named as in the FASTQ"
    raise InputError("; ".join(parts), path=truth_path, remedy=remedy)


def _read_labels(path: Path, sample: str, names: list[str], clusters: np.ndarray) -> list[str]:
    """Return the taxid of each fragment's cluster, "" where there is none."""
    binning = read_binning(path, sample)
    bins = {name: f"c{cluster + 1}" for name, cluster in zip(names, clusters, strict=True) if cluster >= 0}
    if bins != binning.bins:
        raise InputError(
            f"its {len(binning.bins):,} fragments or their clusters are not those of the {len(bins):,} assigned ones",
            path=path,
            remedy="run `label` again after `cluster`",
        )
    return [binning.taxids.get(name, "") for name in names]


def _read_unclassified(path: Path) -> set[str]:
    """Return the clusters without a name."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return {row["cluster"] for row in rows if row["name"] == UNCLASSIFIED}
    except (OSError, KeyError) as error:
        raise InputError(f"is no table of taxa: {error}", path=path, remedy="run `label` for this sample") from None


def _describe_genomes(comparison: Comparison) -> list[str]:
    """Return lines of a table: the cluster that holds most of each genome, and how well it matches it."""
    lines = ["genome\tfragments\tbest_cluster\tprecision\trecall\tf1"]
    totals = np.bincount(comparison.true, minlength=len(comparison.genomes))
    for genome, total, row in zip(comparison.genomes, totals, comparison.table, strict=True):
        if not row.any():
            lines.append(f"{genome}\t{total}\t\t0.0000\t0.0000\t0.0000")
            continue
        best = int(row.argmax())
        precision, recall = row[best] / comparison.table[:, best].sum(), row[best] / total
        f1 = 2 * precision * recall / (precision + recall)
        lines.append(f"{genome}\t{total}\tc{best + 1}\t{precision:.4f}\t{recall:.4f}\t{f1:.4f}")
    return lines
