"""Agreement with the truth by length of the fragments and by abundance of their genomes."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_rand_score

from readclade.evaluation.agreement import Comparison, find_main_clusters, find_main_origins

HEADER = "stratum\tfrom\tto\tfragments\tgenomes\tshare_assigned\tari\tpurity\tcompleteness"


@dataclass(frozen=True)
class Stratum:
    """The figures over the fragments with `low` <= value < `high`.

    Attributes:
        kind: "length" (bases of the fragment) or "abundance" (bases of all fragments of its genome in the sample).
        fragments, genomes: how many there are in it.
        ari: of these fragments alone; with one genome it is 1 where they are together and else 0.
        purity: share of the assigned ones that belong to the main genome of their cluster, all fragments counted.
        completeness: share of all that are in the main cluster of their genome, all fragments counted.
    """

    kind: str
    low: int
    high: int
    fragments: int
    genomes: int
    share_assigned: float
    ari: float
    purity: float
    completeness: float


def measure_strata(comparison: Comparison, lengths: np.ndarray) -> list[Stratum]:
    """Return the strata that hold any fragments: lengths first, each kind by rising value.

    Args:
        comparison: of n fragments at the level of genomes.
        lengths: (n,) int64, bases of each fragment.
    """
    true, found = comparison.true, comparison.found
    pure = np.append(find_main_origins(comparison)[0], -1)[found] == true  # -1 finds the last, which is no genome
    complete = (found >= 0) & (find_main_clusters(comparison)[0][true] == found)
    bases = np.bincount(true, weights=lengths, minlength=len(comparison.origins)).astype(np.int64)
    strata = []
    for kind, values in (("length", lengths), ("abundance", bases[true])):
        edges = get_edges(int(values.min(initial=0)), int(values.max(initial=0)))
        places = np.searchsorted(edges, values, side="right") - 1
        for place in np.unique(places):
            rows = places == place
            assigned = found[rows] >= 0
            strata.append(
                Stratum(
                    kind,
                    edges[place],
                    edges[place + 1],
                    int(rows.sum()),
                    len(np.unique(true[rows])),
                    float(assigned.mean()),
                    adjusted_rand_score(true[rows], found[rows]),
                    float(pure[rows][assigned].mean()) if assigned.any() else 0.0,
                    float(complete[rows].mean()),
                )
            )
    return strata


def get_edges(low: int, high: int) -> list[int]:
    """Return the numbers 1, 2, 5, 10, 20, ... from the last one that is not above `low` to the first above `high`.

    Fixed edges, rather than quantiles, make the strata of samples comparable. Below 1 there is 0.
    """
    edges = [0]
    step = 0
    while edges[-1] <= high:
        edges.append((1, 2, 5)[step % 3] * 10 ** (step // 3))
        step += 1
    begin = max(place for place, edge in enumerate(edges) if edge <= low)
    return edges[begin:]


def format_strata(strata: list[Stratum]) -> str:
    """Return strata.tsv as text."""
    lines = [
        f"{s.kind}\t{s.low}\t{s.high}\t{s.fragments}\t{s.genomes}"
        f"\t{s.share_assigned:.4f}\t{s.ari:.4f}\t{s.purity:.4f}\t{s.completeness:.4f}"
        for s in strata
    ]
    return "\n".join([HEADER, *lines]) + "\n"
