"""taxa.tsv, the clusters of a sample and their names: its columns, its one writer and its readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readclade.errors import InputError
from readclade.results.names import get_cluster_name, get_cluster_number
from readclade.results.tables import fail, read_rows
from readclade.storage.files import write_atomically
from readclade.taxonomy.lineage import UNCLASSIFIED

COLUMNS = ("cluster", "size", "bases", "taxid", "name", "rank", "lineage", "confidence", "second_best")


@dataclass(frozen=True)
class Cluster:
    """One cluster and its name; `number` counts from 0, `size` is in fragments, `taxid` is "" without a name."""

    number: int
    size: int
    bases: int
    taxid: str
    name: str
    rank: str
    lineage: str
    confidence: float | None
    second_best: str

    @property
    def label(self) -> str:
        """The cluster's name in every file and figure: c1, c2, ..."""
        return get_cluster_name(self.number)

    @property
    def is_named(self) -> bool:
        """Whether a taxon was found for it."""
        return self.name != UNCLASSIFIED


def write_taxa(path: Path, clusters: Sequence[Cluster]) -> None:
    """Write taxa.tsv, atomically: a row for each cluster."""
    lines = ["\t".join(COLUMNS)]
    for cluster in clusters:
        values = {**vars(cluster), "cluster": cluster.label}
        values["confidence"] = "" if cluster.confidence is None else f"{cluster.confidence:.4f}"
        lines.append("\t".join(str(values[column]) for column in COLUMNS))
    write_atomically(path, "\n".join(lines) + "\n")


def read_taxa(path: Path, sizes: np.ndarray) -> list[Cluster]:
    """Read taxa.tsv, in the order of the clusters.

    Args:
        sizes: (k,) fragments of each cluster, as clusters.h5 has them.

    Raises:
        InputError: it is missing, malformed, or describes other clusters than clusters.h5.
    """
    clusters = []
    for row in read_rows(path, COLUMNS, "label"):
        try:
            cluster = Cluster(
                number=get_cluster_number(row["cluster"]),
                size=int(row["size"]),
                bases=int(row["bases"]),
                confidence=float(row["confidence"]) if row["confidence"] else None,
                **{key: row[key] for key in ("taxid", "name", "rank", "lineage", "second_best")},
            )
        except ValueError as error:
            raise fail(f"the row of cluster '{row['cluster']}' has a wrong number: {error}", path, "label") from None
        if not 0 <= cluster.number < len(sizes) or cluster.size != sizes[cluster.number]:
            raise fail(f"cluster '{row['cluster']}' is not one of clusters.h5 with that size", path, "label")
        clusters.append(cluster)
    clusters.sort(key=lambda cluster: cluster.number)
    expected = np.flatnonzero(sizes)
    if [cluster.number for cluster in clusters if cluster.size] != expected.tolist():
        raise fail(f"has not one row for each of the {len(expected)} clusters of clusters.h5", path, "label")
    return clusters


def read_unclassified(path: Path) -> set[int]:
    """Return the numbers of the clusters without a name; of the columns only cluster and name are needed.

    Raises:
        InputError: the table is missing or malformed.
    """
    try:
        rows = read_rows(path, ("cluster", "name"), "label")
    except InputError as error:
        raise fail(f"is no table of taxa: {error.message}", path, "label") from None
    return {get_cluster_number(row["cluster"]) for row in rows if row["name"] == UNCLASSIFIED}
