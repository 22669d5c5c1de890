"""Units: what votes on a cluster's name.

A unit is what is known to come from one molecule or one genome: a group of linked fragments, or a fragment that is
linked to none. Fragments are not thrown together beyond that: where clusters are impure, the mean of unrelated
fragments resembles an organism that none of them comes from.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from readclade.errors import InputError
from readclade.hashing import scramble
from readclade.results.assignments import iterate_groups
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import get_embeddings, read_shard

# More units than this do not change a share of votes by more than 1 %.
MOST_UNITS = 2000


@dataclass(frozen=True)
class Units:
    """The n units that speak for the clusters of a sample.

    Attributes:
        clusters: (n,) int64, in rising order.
        vectors: (n, d) float64, base-weighted means over the fragments of a unit.
        bases: (n,) int64.
    """

    clusters: np.ndarray
    vectors: np.ndarray
    bases: np.ndarray


def count_fragments(assignments: Path) -> np.ndarray:
    """Return how many fragments each cluster has, up to the last cluster that has any."""
    counts = np.zeros(0, np.int64)
    for clusters, _ in iterate_groups(assignments):
        more = np.bincount(clusters[clusters >= 0])
        longer, shorter = (counts, more) if len(counts) > len(more) else (more, counts)
        counts = longer.copy()
        counts[: len(shorter)] += shorter
    return counts


def choose_units(assignments: Path, most: int = MOST_UNITS) -> np.ndarray:
    """Draw at most `most` units of each cluster, the same ones every time.

    Args:
        assignments: assignments.parquet of the cluster stage.

    Returns:
        (n, 2) int64: cluster and group, sorted.
    """
    chosen = np.zeros((0, 2), np.int64)
    for clusters, groups in iterate_groups(assignments):
        known = clusters >= 0
        pairs = np.unique(np.concatenate([chosen, np.stack([clusters[known], groups[known]], axis=1)]), axis=0)
        order = np.lexsort((scramble(pairs[:, 1]), pairs[:, 0]))
        first = np.searchsorted(pairs[:, 0], pairs[:, 0])  # where the pair's cluster begins
        chosen = pairs[np.sort(order[np.arange(len(pairs)) - first < most])]
    return chosen


def pool_units(manifest: Manifest, folder: Path, assignments: Path, chosen: np.ndarray) -> Units:
    """Read the shards one by one and average the embeddings of each chosen unit.

    A fragment whose embedding is all zeros (nothing is known) is left out, and so is a unit of only such fragments.

    Args:
        folder: where the shards lie.
        chosen: what `choose_units` returned.

    Raises:
        InputError: a shard is damaged, or the assignments are not those of these shards.
    """
    sums = np.zeros((len(chosen), manifest.d))
    bases = np.zeros(len(chosen), np.int64)
    rows = iterate_groups(assignments)
    clusters, groups = np.zeros(0, np.int64), np.zeros(0, np.int64)
    stride = manifest.fragments  # a group is named by a fragment
    keys = chosen[:, 0] * stride + chosen[:, 1]
    for shard in manifest.shards:
        while len(clusters) < shard.rows:
            more = next(rows, None)
            if more is None:
                raise _misfit(assignments, manifest)
            clusters, groups = np.concatenate([clusters, more[0]]), np.concatenate([groups, more[1]])
        wanted = clusters[: shard.rows] * stride + groups[: shard.rows]
        clusters, groups = clusters[shard.rows :], groups[shard.rows :]
        table = read_shard(manifest, shard, folder, ["sequence", "mate", "embedding"])
        if not len(keys):
            continue
        vectors = get_embeddings(table, manifest.d)
        lengths = _count_letters(table, "sequence") + _count_letters(table, "mate")
        unit = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        use = np.flatnonzero((keys[unit] == wanted) & vectors.any(axis=1))
        np.add.at(sums, unit[use], vectors[use].astype(np.float64) * lengths[use, None])
        np.add.at(bases, unit[use], lengths[use])
    if len(clusters) or next(rows, None) is not None:
        raise _misfit(assignments, manifest)
    known = np.flatnonzero(bases)
    return Units(chosen[known, 0], sums[known] / bases[known, None], bases[known])


def _count_letters(table: pa.Table, column: str) -> np.ndarray:
    return pc.binary_length(table.column(column)).to_numpy().astype(np.int64)


def _misfit(assignments: Path, manifest: Manifest) -> InputError:
    return InputError(
        f"does not have a row for each of the {manifest.fragments:,} fragments of sample '{manifest.sample}'",
        path=assignments,
        remedy="run `cluster` again for this sample's shards",
    )
