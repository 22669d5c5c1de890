"""Figures about how well clusters agree with a known truth; docs/evaluation.md defines every one of them.

Every figure is over fragments. An unassigned fragment is in no cluster; only the adjusted Rand index and the adjusted
mutual information, which know no such thing, count all unassigned ones as one more cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score


@dataclass(frozen=True)
class Comparison:
    """The same n fragments in two partitions.

    Only the combinations that occur are kept: a peer may make a cluster of nearly every fragment.

    Attributes:
        origins: names of the true genomes, or of their species or genera, sorted.
        true: (n,) int64, index of each fragment's origin.
        found: (n,) int64, its cluster from 0 on, -1 where it has none.
        rows: (m,) int64, origin of each combination of an origin and a cluster, sorted by origin, then cluster.
        columns: (m,) int64, its cluster.
        counts: (m,) int64, its fragments; the unassigned are left out.
    """

    origins: list[str]
    true: np.ndarray
    found: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Match:
    """The cluster that holds most fragments of an origin: its number (-1 for none), and how well it matches."""

    origin: str
    fragments: int
    cluster: int
    precision: float
    recall: float
    f1: float


def compare(origins: Sequence[str], clusters: np.ndarray) -> Comparison:
    """Count the fragments of each origin in each cluster.

    Args:
        origins: by fragment, its true genome, species or genus.
        clusters: (n,) from 0 on, -1 where a fragment has none.
    """
    names = sorted(set(origins))
    numbers = {name: number for number, name in enumerate(names)}
    true = np.fromiter((numbers[origin] for origin in origins), np.int64, len(origins))
    found = np.asarray(clusters).astype(np.int64)
    k = int(found.max(initial=-1)) + 1
    known = found >= 0
    keys, counts = np.unique(true[known] * k + found[known], return_counts=True)
    return Comparison(names, true, found, keys // max(k, 1), keys % max(k, 1), counts)


def measure_clusters(comparison: Comparison) -> dict[str, float | int]:
    """Return the figures about genomes, which need no names of taxa."""
    true, found = comparison.true, comparison.found
    assigned = found >= 0
    return {
        "fragments": len(true),
        "true_genomes": len(comparison.origins),
        "clusters": len(np.unique(comparison.columns)),
        "share_assigned": float(assigned.mean()) if len(true) else 0.0,
        "ari": adjusted_rand_score(true, found),
        "ari_assigned": adjusted_rand_score(true[assigned], found[assigned]) if assigned.any() else 0.0,
        "ami": adjusted_mutual_info_score(true, found),
        "purity": get_purity(comparison),
        "completeness": get_completeness(comparison),
        "f1": get_f1(comparison),
    }


def measure_rank(origins: Sequence[str], clusters: np.ndarray, rank: str) -> dict[str, float | int]:
    """Return the same figures for the species or genera of the fragments.

    Args:
        origins: by fragment, its species or genus, "" where it is unknown; such fragments are left out.
        clusters: (n,) from 0 on, -1 where a fragment has none.
        rank: ends the names of the figures.

    Returns:
        known_<rank>, the share of the fragments that could be scored, is always there; the others where it is not 0.
    """
    known = np.fromiter((origin != "" for origin in origins), bool, len(origins))
    if not known.any():
        return {f"known_{rank}": 0.0}
    comparison = compare([origin for origin in origins if origin != ""], np.asarray(clusters)[known])
    return {
        f"known_{rank}": float(known.mean()),
        f"true_{rank}": len(comparison.origins),
        f"ari_{rank}": adjusted_rand_score(comparison.true, comparison.found),
        f"purity_{rank}": get_purity(comparison),
        f"completeness_{rank}": get_completeness(comparison),
        f"f1_{rank}": get_f1(comparison),
    }


def get_purity(comparison: Comparison) -> float:
    """Return the share of the assigned fragments that belong to their cluster's main origin."""
    count = comparison.counts.sum()
    return float(find_main_origins(comparison)[1].sum() / count) if count else 0.0


def get_completeness(comparison: Comparison) -> float:
    """Return the share of all fragments that are in the cluster that holds most of their origin."""
    count = len(comparison.true)
    return float(find_main_clusters(comparison)[1].sum() / count) if count else 0.0


def get_f1(comparison: Comparison) -> float:
    """Return the mean over origins, each counting the same, of the F1 of the cluster that holds most of it."""
    return float(np.mean([match.f1 for match in match_clusters(comparison)])) if comparison.origins else 0.0


def match_clusters(comparison: Comparison) -> list[Match]:
    """Return for each origin, in their order, the cluster that holds most of it."""
    totals = np.bincount(comparison.true, minlength=len(comparison.origins)).tolist()
    sizes = np.bincount(comparison.found[comparison.found >= 0])
    matches = []
    for origin, total, cluster, shared in zip(
        comparison.origins, totals, *map(np.ndarray.tolist, find_main_clusters(comparison)), strict=True
    ):
        precision, recall = (shared / int(sizes[cluster]), shared / total) if shared else (0.0, 0.0)
        f1 = 2 * precision * recall / (precision + recall) if shared else 0.0
        matches.append(Match(origin, total, cluster, precision, recall, f1))
    return matches


def find_main_origins(comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Return for each cluster the origin with most fragments in it, and how many those are; -1 and 0 if it is empty."""
    k = int(comparison.found.max(initial=-1)) + 1
    return _find_main(comparison.columns, comparison.rows, comparison.counts, k)


def find_main_clusters(comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Return for each origin the cluster that holds most of it, and how many fragments those are; -1 and 0 for none."""
    return _find_main(comparison.rows, comparison.columns, comparison.counts, len(comparison.origins))


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


def _find_main(
    labels: np.ndarray, partners: np.ndarray, counts: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (size,) the partner with the largest count of each label, the lowest one of several, and that count."""
    order = np.lexsort((partners, -counts, labels))
    present, first = np.unique(labels[order], return_index=True)
    main, largest = np.full(size, -1, np.int64), np.zeros(size, np.int64)
    main[present], largest[present] = partners[order][first], counts[order][first]
    return main, largest
