"""Pooling: what a group's fragments say together, held by the rank that holds the group's smallest fragment."""

from dataclasses import dataclass

import numba
import numpy as np
from mpi4py import MPI

from readclade.clustering.ranks.communicator import gather_rows
from readclade.clustering.ranks.exchange import Layout, exchange, look_up
from readclade.hashing import scramble

_MOST_ROWS = 65536  # rows that rank 0 fits a calibration from
# Sums are whole numbers: values times 2^24 (float16's finest step), or coarser where large groups would overflow.
_FINEST = 24
_MULTIPLICITY_STEPS = 1024


@dataclass(frozen=True)
class Groups:
    """The groups whose smallest fragment this rank holds, by id.

    Attributes:
        ids: (g,) int64, the smallest fragment of each.
        fragments, bases: (g,) int64, of those that are known.
        vectors: (g, d) float64, base-weighted means of embeddings; zeros where nothing is known.
        multiplicities: (g,) float64, geometric mean over the fragments of how often a k-mer of theirs occurs, >= 1.
    """

    ids: np.ndarray
    fragments: np.ndarray
    bases: np.ndarray
    vectors: np.ndarray
    multiplicities: np.ndarray


@numba.njit(cache=True)
def _add_up(places, values, weights, scale, sums):
    for row in range(len(places)):
        for column in range(values.shape[1]):
            sums[places[row], column] += np.int64(np.rint(values[row, column] * scale)) * weights[row]


def sum_by_owner(layout: Layout, ids: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return this rank's ids, ascending, and what all ranks together have for each. Collective.

    Args:
        ids: (n,) int64, different ids of fragments.
        sums: (n, m) int64.
    """
    ids, sums = exchange(layout.comm, layout.owner(ids), [ids, sums])
    unique, places = np.unique(ids, return_inverse=True)
    total = np.zeros((len(unique), sums.shape[1]), np.int64)
    np.add.at(total, places, sums)
    return unique, total


def pool_groups(
    layout: Layout,
    roots: np.ndarray,
    embeddings: np.ndarray,
    bases: np.ndarray,
    known: np.ndarray,
    multiplicities: np.ndarray,
) -> Groups:
    """Pool the fragments of every group; exact, hence the same on any number of ranks. Collective.

    Args:
        roots: (n,) int64, group of each of this rank's fragments.
        embeddings: (n, d) float32 of float16's precision.
        bases: (n,) int64.
        known: (n,) bool; fragments whose embedding says nothing are left out.
        multiplicities: (n,) float32, NaN where unknown.
    """
    d = embeddings.shape[1]
    unique, places = np.unique(roots, return_inverse=True)
    counts = np.zeros((len(unique), 3), np.int64)
    steps = np.rint(np.log2(np.fmax(multiplicities, 1)) * _MULTIPLICITY_STEPS).astype(np.int64)
    np.add.at(counts, places[known], np.column_stack([np.ones(len(bases), np.int64), bases, steps])[known])
    ids, counts = sum_by_owner(layout, unique, counts)

    largest = layout.comm.allreduce(float(np.abs(embeddings).max(initial=0)), op=MPI.MAX)
    heaviest = layout.comm.allreduce(int(counts[:, 1].max(initial=1)), op=MPI.MAX)
    exponent = min(_FINEST, int(np.floor(61 - np.log2(max(largest, 1e-9)) - np.log2(heaviest))))
    sums = np.zeros((len(unique), d), np.int64)
    _add_up(places[known], embeddings[known].astype(np.float64), bases[known], 2.0**exponent, sums)
    _, sums = sum_by_owner(layout, unique, sums)
    total = np.maximum(counts[:, 1:2], 1)
    means = np.exp2(counts[:, 2] / np.maximum(counts[:, 0], 1) / _MULTIPLICITY_STEPS)
    return Groups(ids, counts[:, 0], counts[:, 1], sums / total / 2.0**exponent, means)


def measure_deviations(layout: Layout, parts: Groups, groups: Groups, group_of: np.ndarray) -> np.ndarray:
    """Return (p, d) float64: how far each of this rank's parts lies from the mean of its group; NaN for a lone part.

    Collective.

    Args:
        parts: groups of an inner level, which make up the outer `groups`.
        group_of: (n,) int64, outer group of each of this rank's fragments.
    """
    held = np.full((len(layout.ids), groups.vectors.shape[1] + 1), np.nan)
    places = layout.local(groups.ids)
    held[places, 0], held[places, 1:] = groups.bases, groups.vectors
    found = look_up(layout, group_of[layout.local(parts.ids)], held)
    # A part that is its whole group says nothing about noise.
    return np.where((found[:, :1] > parts.bases[:, None]), parts.vectors - found[:, 1:], np.nan)


def draw_rows(comm: MPI.Comm, ids: np.ndarray, rows: np.ndarray, most: int = _MOST_ROWS) -> np.ndarray:
    """Return on every rank about `most` of all ranks' rows, chosen by a hash of their ids, in the ids' order.

    Collective.

    Args:
        ids: (n,) int64, different over all ranks.
        rows: (n, m) float64.
    """
    total = comm.allreduce(len(ids))
    if total > most:
        chosen = scramble(ids) < np.uint64(most / total * 2**64)
        ids, rows = ids[chosen], rows[chosen]
    order = gather_rows(comm, ids.reshape(-1, 1))[:, 0].argsort(kind="stable")
    return gather_rows(comm, np.ascontiguousarray(rows))[order]
