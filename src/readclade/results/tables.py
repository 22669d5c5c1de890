"""The results of one sample as the report needs them: read, checked against each other, and bounded in memory.

Every file is one that a rule of the workflow makes. A file that is missing, or that does not fit the others, is an
`InputError` that names the file and the rule.
"""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from readclade.errors import InputError
from readclade.taxonomy.lineage import UNCLASSIFIED

_TAXA_COLUMNS = ("cluster", "size", "bases", "taxid", "name", "rank", "lineage", "confidence", "second_best")
_BATCH_ROWS = 1 << 18


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
        return f"c{self.number + 1}"

    @property
    def is_named(self) -> bool:
        """Whether a taxon was found for it."""
        return self.name != UNCLASSIFIED


@dataclass(frozen=True)
class ClusterModel:
    """What clusters.h5 holds: sizes and bases (k,), objective (iterations,), mean (d,), calibration (d, r).

    Clusters for which two_relatives (k,) is not 0 probably hold two relatives.
    """

    sizes: np.ndarray
    bases: np.ndarray
    two_relatives: np.ndarray
    objective: np.ndarray
    mean: np.ndarray
    calibration: np.ndarray
    parameters: dict[str, str]


@dataclass(frozen=True)
class Assignments:
    """What the report takes from assignments.parquet.

    Attributes:
        clusters: (n,) int32, the clusters of the fragments that were asked for, -1 where there is none.
        is_linked: whether any group holds more than one fragment.
        confusion: (genomes, k + 1) int64 fragments by true genome and cluster, the unassigned last; None without truth.
    """

    clusters: np.ndarray
    is_linked: bool
    confusion: np.ndarray | None


def fail(message: str, path: Path, rule: str) -> InputError:
    """Return the error about a file that `rule` makes."""
    return InputError(message, path=path, remedy=f"run `{rule}` for this sample; deleting the file makes it run again")


def read_rows(path: Path, columns: tuple[str, ...], rule: str) -> list[dict[str, str]]:
    """Read a tab-separated table with a header that has at least `columns`.

    Raises:
        InputError: the table is missing or not of this form.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise fail(f"cannot be read: {error.strerror}", path, rule) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise fail(f"is not tab-separated text: {error}", path, rule) from None
    header = lines[0] if lines else []
    missing = [column for column in columns if column not in header]
    if missing:
        raise fail(f"has no column {missing[0]}", path, rule)
    for number, cells in enumerate(lines[1:], 2):
        if len(cells) != len(header):
            raise fail(f"line {number} has {len(cells)} cells instead of {len(header)}", path, rule)
    return [dict(zip(header, cells, strict=True)) for cells in lines[1:]]


def read_json(path: Path, keys: tuple[str, ...], rule: str) -> dict:
    """Read a JSON object that has at least `keys`.

    Raises:
        InputError: it is missing or not of this form.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise fail(f"cannot be read: {error.strerror}", path, rule) from None
    except ValueError as error:
        raise fail(f"is not JSON: {error}", path, rule) from None
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise fail(f"has no '{missing[0]}'", path, rule)
    return value


def read_clusters(path: Path, model: ClusterModel) -> list[Cluster]:
    """Read taxa.tsv, in the order of the clusters.

    Raises:
        InputError: it is missing, malformed, or describes other clusters than the model.
    """
    clusters = []
    for row in read_rows(path, _TAXA_COLUMNS, "label"):
        number = re.fullmatch(r"c([1-9][0-9]*)", row["cluster"])
        try:
            cluster = Cluster(
                number=int(number[1]) - 1 if number else -1,
                size=int(row["size"]),
                bases=int(row["bases"]),
                confidence=float(row["confidence"]) if row["confidence"] else None,
                **{key: row[key] for key in ("taxid", "name", "rank", "lineage", "second_best")},
            )
        except ValueError as error:
            raise fail(f"the row of cluster '{row['cluster']}' has a wrong number: {error}", path, "label") from None
        if not 0 <= cluster.number < len(model.sizes) or cluster.size != model.sizes[cluster.number]:
            raise fail(f"cluster '{row['cluster']}' is not one of clusters.h5 with that size", path, "label")
        clusters.append(cluster)
    clusters.sort(key=lambda cluster: cluster.number)
    expected = np.flatnonzero(model.sizes)
    if [cluster.number for cluster in clusters if cluster.size] != expected.tolist():
        raise fail(f"has not one row for each of the {len(expected)} clusters of clusters.h5", path, "label")
    return clusters


def read_model(path: Path, d: int) -> ClusterModel:
    """Read clusters.h5, whose calibration takes vectors of d values.

    Raises:
        InputError: it is missing, malformed, or of another d.
    """
    try:
        with h5py.File(path) as file:
            names = ("sizes", "bases", "two_relatives", "objective", "mean", "calibration")
            arrays = {name: np.asarray(file[name]) for name in names}
            parameters = {name: _format_attribute(value) for name, value in sorted(file.attrs.items())}
    except KeyError as error:
        raise fail(f"lacks a data set: {error.args[0]}", path, "cluster") from None
    except OSError as error:
        raise fail(f"cannot be read as HDF5: {error}", path, "cluster") from None
    if arrays["mean"].shape != (d,) or arrays["calibration"].shape[:1] != (d,) or arrays["calibration"].ndim != 2:
        raise fail(f"does not fit embeddings of {d} values", path, "cluster")
    shapes = {arrays[name].shape for name in ("sizes", "bases", "two_relatives")}
    if len(shapes) != 1 or arrays["sizes"].ndim != 1:
        raise fail("has sizes, bases and marks of two relatives that do not fit each other", path, "cluster")
    return ClusterModel(**arrays, parameters=parameters)


def read_assignments(
    path: Path, fragments: int, k: int, ids: np.ndarray, truth: tuple[pa.Array, np.ndarray] | None
) -> Assignments:
    """Read assignments.parquet a bounded number of rows at a time.

    Args:
        fragments: how many rows it must have.
        k: number of clusters.
        ids: sorted ids of the fragments whose clusters are wanted.
        truth: names of fragments and, for each, the number of its genome; None where it is not known.

    Raises:
        InputError: it is missing, malformed, or does not fit the shards or the clusters.
    """
    clusters = np.full(len(ids), -1, np.int32)
    is_linked = False
    genomes = 0 if truth is None else int(truth[1].max(initial=-1)) + 1
    confusion = np.zeros(genomes * (k + 1), np.int64)
    columns = ["fragment", "group", "cluster"] + ([] if truth is None else ["name"])
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows != fragments:
            message = f"holds {file.metadata.num_rows:,} fragments, but the shards {fragments:,}"
            raise fail(message, path, "cluster")
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            fragment, group, cluster = (batch.column(name).to_numpy() for name in columns[:3])
            if len(cluster) and not -1 <= cluster.min() <= cluster.max() < k:
                raise fail(f"names a cluster that is not one of the {k} of clusters.h5", path, "cluster")
            is_linked |= bool((group != fragment).any())
            if len(ids):
                place = np.minimum(np.searchsorted(ids, fragment), len(ids) - 1)
                wanted = ids[place] == fragment
                clusters[place[wanted]] = cluster[wanted]
            if truth is not None:
                found = pc.index_in(batch.column("name"), value_set=truth[0])
                known = found.is_valid().to_numpy(zero_copy_only=False)
                genome = truth[1][found.drop_null().to_numpy()]
                column = np.where(cluster[known] < 0, k, cluster[known])
                confusion += np.bincount(genome * (k + 1) + column, minlength=len(confusion))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise fail(f"cannot be read as a table of fragments: {error}", path, "cluster") from None
    return Assignments(clusters, is_linked, None if truth is None else confusion.reshape(genomes, k + 1))


def _format_attribute(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
