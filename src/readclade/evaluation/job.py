"""The clusters of a sample, or any binning of it, against the known origin of its fragments: from files to files.

The figures themselves stand in `agreement` and `strata`; docs/evaluation.md defines them.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from readclade.errors import InputError
from readclade.evaluation.agreement import (
    Comparison,
    compare,
    match_clusters,
    measure_clusters,
    measure_labels,
    measure_rank,
)
from readclade.evaluation.subsets import format_strata, measure_strata
from readclade.inputs.tables import Reference, read_references
from readclade.results.assignments import iterate_names
from readclade.results.cami import Binning, read_binning
from readclade.results.names import get_cluster_name
from readclade.results.taxa import read_unclassified
from readclade.storage.files import write_atomically
from readclade.taxonomy.lineage import RANKS

_log = logging.getLogger(__name__)

Figures = dict[str, float | int]
_GENUS = RANKS.index("genus")


def evaluate_clusters(
    sample: str,
    truth: Path,
    binning: Path,
    assignments: Path,
    out: Path,
    taxa: Path | None = None,
    references: Path | None = None,
    genomes: Path | None = None,
    strata: Path | None = None,
) -> Figures:
    """Compare the clusters of one sample with the truth and write the figures as a table of metric and value.

    Args:
        sample: name in the truth.
        truth: CAMI binning file with the true origin of every fragment.
        binning: binning.tsv of the label stage.
        assignments: assignments.parquet of the cluster stage.
        out: evaluation.tsv.
        taxa: taxa.tsv of the label stage; tells what is unclassified.
        references: table of references; tells which organisms are absent from them, and genera.
        genomes: where to write a row for each true genome; None for nowhere.
        strata: where to write the figures by length and abundance; None for nowhere.

    Raises:
        InputError: a file cannot be used, or the files do not hold the same fragments.
    """
    expected = read_binning(truth, sample)
    names, clusters = _read_assignments(assignments)
    _check_names(expected, names, truth, assignments)
    labels = _read_labels(binning, sample, names, clusters)
    entries = None if references is None else read_references(references)
    comparison, figures = _measure(expected, names, clusters, entries)
    if expected.taxids:
        nameless = None if taxa is None else read_unclassified(taxa)
        figures |= measure_labels(
            [expected.taxids[name] for name in names],
            labels,
            None if nameless is None else [cluster < 0 or cluster in nameless for cluster in clusters],
            None if entries is None else {str(entry.taxid) for entry in entries},
        )
    _write_table(out, ["value"], [figures])
    if genomes is not None:
        write_atomically(genomes, _describe_genomes(comparison))
    if strata is not None:
        _write_strata(strata, comparison, expected, names)
    _log.info(f"ARI {figures['ari']:.3f} over {len(names):,} fragments of {len(comparison.origins)} genomes")
    return figures


def evaluate_binnings(
    truth: Path,
    binnings: Sequence[Path],
    out: Path,
    sample: str | None = None,
    references: Path | None = None,
) -> dict[str, Figures]:
    """Score binning files of any origin on the same truth and write a table with a column for each of them.

    A fragment of the truth that a binning lacks counts as unassigned.

    Args:
        truth: CAMI binning file with the true origin of every fragment.
        binnings: CAMI binning files; which clusters they name is theirs to say.
        out: table of metric and one column for each binning, headed by its path as given.
        sample: name of the sample in all files; None where each of them has a single one.
        references: table of references, which tells genera where the truth has no lineages.

    Raises:
        InputError: a file cannot be used, or a binning holds fragments that the truth lacks.
    """
    twice = next((path for i, path in enumerate(binnings) if path in binnings[:i]), None)
    if twice is not None:
        raise InputError("is given twice", path=twice, remedy="give each binning once")
    expected = read_binning(truth, sample)
    if not expected.bins:
        raise InputError("holds no fragment", path=truth, remedy="give one row for each read or read pair")
    names = list(expected.bins)
    entries = None if references is None else read_references(references)
    scores: dict[str, Figures] = {}
    for path in binnings:
        found = read_binning(path, sample)
        _check_overlap(expected, found, truth, path)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(found.bins.values()))}
        numbers[""] = -1  # a row without a bin assigns nothing
        clusters = np.fromiter((numbers[found.bins.get(name, "")] for name in names), np.int64, len(names))
        scores[str(path)] = figures = _measure(expected, names, clusters, entries)[1]
        _log.info(f"{path}: ARI {figures['ari']:.3f}, {figures['share_assigned']:.1%} assigned")
    _write_table(out, list(scores), list(scores.values()))
    return scores


def _measure(
    truth: Binning,
    names: list[str],
    clusters: np.ndarray,
    references: list[Reference] | None,
) -> tuple[Comparison, Figures]:
    """Return the comparison with the genomes, and the figures at the levels of genome, species and genus."""
    comparison = compare([truth.bins[name] for name in names], clusters)
    figures = measure_clusters(comparison)
    for rank, origins in (("species", _find_species(truth, names)), ("genus", _find_genera(truth, names, references))):
        figures |= measure_rank(origins, clusters, rank)
        unknown = origins.count("")
        if unknown:
            _log.info(f"the {rank} of {unknown:,} of {len(names):,} fragments is unknown; they are left out there")
    return comparison, figures


def _find_species(truth: Binning, names: list[str]) -> list[str]:
    """Return the species of each fragment, "" where it is unknown: its TAXID, or without that column its lineage's."""
    if truth.taxids:
        return [truth.taxids[name] for name in names]
    return [truth.lineages[name][-1] if name in truth.lineages else "" for name in names]


def _find_genera(truth: Binning, names: list[str], references: list[Reference] | None) -> list[str]:
    """Return the genus of each fragment, "" where it is unknown: its lineage's, or without any the references'."""
    if truth.lineages:
        return [truth.lineages[name][_GENUS] if name in truth.lineages else "" for name in names]
    genera = {str(entry.taxid): entry.lineage[_GENUS] for entry in references or []}
    return [genera.get(truth.taxids.get(name, ""), "") for name in names]


def _read_assignments(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the names and the clusters of all fragments."""
    batches = list(iterate_names(path))
    names = [name for batch, _ in batches for name in batch]
    return names, np.concatenate([np.zeros(0, np.int32), *(clusters for _, clusters in batches)])


def _check_names(truth: Binning, names: list[str], truth_path: Path, assignments: Path) -> None:
    """Refuse a truth that is about other fragments than the sample's."""
    expected, present = truth.bins.keys(), set(names)
    if len(present) < len(names):
        twice = next(name for name, following in pairwise(sorted(names)) if name == following)
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
    if _drop_mates(foreign) & present:
        remedy = "remove /1 and /2 from its names: a row stands for both mates"
    else:
        remedy = "give the truth of these reads, one row for each read or read pair, named as in the FASTQ"
    raise InputError("; ".join(parts), path=truth_path, remedy=remedy)


def _check_overlap(truth: Binning, found: Binning, truth_path: Path, path: Path) -> None:
    """Refuse a binning that scores nothing, or fragments that the truth does not know: figures would be of the rest."""
    expected, present = truth.bins.keys(), found.bins.keys()
    if not present:
        raise InputError(
            f"assigns none of the {len(expected):,} fragments of the truth: it has no row",
            path=path,
            remedy="give a binning of these reads",
        )
    foreign = present - expected
    if not foreign:
        return
    if _drop_mates(foreign) & expected:
        remedy = "remove /1 and /2 from its names: a row stands for both mates"
    elif _drop_mates(expected - present) & foreign:
        remedy = f"remove /1 and /2 from the names in {truth_path}: a row stands for both mates"
    else:
        remedy = "give a binning of the reads of the truth, named as in the FASTQ up to the first blank"
    raise InputError(
        f"{len(foreign):,} of its {len(present):,} fragments are not among the {len(expected):,} of the truth,"
        f" such as '{min(foreign)}' (the truth has '{min(expected)}')",
        path=path,
        remedy=remedy,
    )


def _drop_mates(names: set[str]) -> set[str]:
    return {name[:-2] for name in names if name.endswith(("/1", "/2"))}


def _read_labels(path: Path, sample: str, names: list[str], clusters: np.ndarray) -> list[str]:
    """Return the taxid of each fragment's cluster, "" where there is none."""
    binning = read_binning(path, sample)
    bins = {name: get_cluster_name(cluster) for name, cluster in zip(names, clusters, strict=True) if cluster >= 0}
    if bins != binning.bins:
        raise InputError(
            f"its {len(binning.bins):,} fragments or their clusters are not those of the {len(bins):,} assigned ones",
            path=path,
            remedy="run `label` again after `cluster`",
        )
    return [binning.taxids.get(name, "") for name in names]


def _write_table(path: Path, columns: list[str], figures: list[Figures]) -> None:
    """Write a row for each metric and a column for each set of figures; what one of them lacks stays empty."""
    lines = ["\t".join(["metric", *columns])]
    for metric in dict.fromkeys(metric for each in figures for metric in each):
        values = (each.get(metric, "") for each in figures)
        cells = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in values)
        lines.append("\t".join([metric, *cells]))
    write_atomically(path, "\n".join(lines) + "\n")


def _write_strata(path: Path, comparison: Comparison, truth: Binning, names: list[str]) -> None:
    """Write strata.tsv; without the length of every fragment, which abundance needs too, only its header."""
    missing = len(names) - sum(name in truth.lengths for name in names)
    if missing:
        _log.info(f"the truth has no length of {missing:,} of {len(names):,} fragments, so there are no strata")
        write_atomically(path, format_strata([]))
        return
    lengths = np.fromiter((truth.lengths[name] for name in names), np.int64, len(names))
    write_atomically(path, format_strata(measure_strata(comparison, lengths)))


def _describe_genomes(comparison: Comparison) -> str:
    """Return genomes.tsv: the cluster that holds most of each genome, and how well it matches it."""
    lines = ["genome\tfragments\tbest_cluster\tprecision\trecall\tf1"]
    lines += [
        f"{match.origin}\t{match.fragments}\t{get_cluster_name(match.cluster) if match.cluster >= 0 else ''}"
        f"\t{match.precision:.4f}\t{match.recall:.4f}\t{match.f1:.4f}"
        for match in match_clusters(comparison)
    ]
    return "\n".join(lines) + "\n"
