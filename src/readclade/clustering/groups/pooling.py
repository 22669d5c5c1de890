"""Pooling: what a group's fragments say together, held by the rank that holds the group's smallest fragment.

Sums are whole numbers, and are made of some groups at a time: no rank ever holds the vectors of all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from mpi4py import MPI

from readclade.clustering.ranks.communicator import gather_rows
from readclade.clustering.ranks.exchange import Delivery, Layout, exchange, find_most, look_up
from readclade.hashing import scramble

_MOST_ROWS = 65536  # rows that rank 0 fits a calibration from
# Sums are whole numbers: values times 2^24 (float16's finest step), or coarser where large groups would overflow.
_FINEST = 24
_MULTIPLICITY_STEPS = 1024
_SUMS_AT_ONCE = 1 << 20
_ROWS_AT_ONCE = 65536

Add = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class GroupVectors:
    """Base-weighted means of the embeddings of groups of all ranks, pooled when they are asked for.

    Attributes:
        roots, embeddings, bases, known: of this rank's fragments, as of `pool_groups`.
        exponent: embeddings are added up in steps of 2^-exponent.
    """

    layout: Layout
    roots: np.ndarray
    embeddings: np.ndarray
    bases: np.ndarray
    known: np.ndarray
    exponent: int

    def iterate(self) -> Iterator[np.ndarray]:
        """Yield the (c, d) float64 vectors of this rank's groups of which something is known, by id. Collective.

        Every rank gets as many portions, of which some may be empty.
        """
        return (vectors for _, vectors in self._pool(np.flatnonzero(self.known)))

    def look_up(self, ids: np.ndarray) -> np.ndarray:
        """Return (m, d) float64, the vectors of any groups; zeros where nothing is known. Collective.

        Args:
            ids: (m,) int64, in any order, also several times the same.
        """
        asked, places = np.unique(ids, return_inverse=True)
        delivery = Delivery(self.layout.comm, self.layout.owner(asked))
        wanted = delivery.send(asked)
        is_wanted = np.zeros(len(self.roots), bool)
        is_wanted[self.layout.local(wanted)] = True
        rows = np.flatnonzero(self.known & look_up(self.layout, self.roots, is_wanted))
        own = np.unique(wanted)
        vectors = np.zeros((len(own), self.embeddings.shape[1]))
        for found, means in self._pool(rows):
            vectors[np.searchsorted(own, found)] = means
        return delivery.reply(vectors[np.searchsorted(own, wanted)])[places]

    def _pool(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ids and vectors of this rank's groups, made of all ranks' fragments in `rows`. Collective."""
        scale = 2.0**self.exponent

        def add(rows: np.ndarray, places: np.ndarray, sums: np.ndarray) -> None:
            _add_weighted(places, self.embeddings[rows].astype(np.float64), self.bases[rows], scale, sums)

        for ids, sums in sum_by_group(self.layout, self.roots, rows, self.embeddings.shape[1] + 1, add):
            yield ids, sums[:, :-1] / np.maximum(sums[:, -1:], 1) / scale


@dataclass(frozen=True)
class Groups:
    """The groups whose smallest fragment this rank holds, by id.

    Attributes:
        ids: (g,) int64, the smallest fragment of each.
        fragments, bases: (g,) int64, of those that are known.
        multiplicities: (g,) float64, geometric mean over the fragments of how often a k-mer of theirs occurs, >= 1.
        vectors: of all ranks' groups.
    """

    ids: np.ndarray
    fragments: np.ndarray
    bases: np.ndarray
    multiplicities: np.ndarray
    vectors: GroupVectors


@numba.njit(cache=True)
def _add_weighted(places, values, weights, scale, sums):
    """Add values in steps of 1 / scale, times their weights, and in the last column the weights."""
    for row in range(len(places)):
        for column in range(values.shape[1]):
            sums[places[row], column] += np.int64(np.rint(values[row, column] * scale)) * weights[row]
        sums[places[row], values.shape[1]] += weights[row]


@numba.njit(cache=True)
def _add_rows(places, rows, sums):
    for row in range(len(places)):
        for column in range(rows.shape[1]):
            sums[places[row], column] += rows[row, column]


def sum_by_owner(layout: Layout, ids: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return this rank's ids, ascending, and what all ranks together have for each. Collective.

    Args:
        ids: (n,) int64, different ids of fragments.
        sums: (n, m) int64.
    """
    ids, sums = exchange(layout.comm, layout.owner(ids), [ids, sums])
    unique, places = np.unique(ids, return_inverse=True)
    total = np.zeros((len(unique), sums.shape[1]), np.int64)
    _add_rows(places, sums, total)
    return unique, total


def sum_by_group(
    layout: Layout, roots: np.ndarray, rows: np.ndarray, width: int, add: Add
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield ids of this rank's groups, ascending, and what all ranks' fragments add up to for each. Collective.

    Every rank gets as many portions, of which some may be empty.

    Args:
        roots: (n,) int64, group of each of this rank's fragments.
        rows: (m,) int64, those of them that take part.
        width: whole numbers a group.
        add: called with some rows, their places, and (g, width) int64 sums, which it adds to at these places.
    """
    step = max(_SUMS_AT_ONCE // max(width, 1), 1)
    portions = -(-find_most(layout.comm, len(roots)) // step)
    order, bounds = _sort_rows(layout, roots, rows, step, portions)
    for begin, end in pairwise(bounds):
        part = order[begin:end]
        named = roots[part]
        is_first = np.diff(named, prepend=-1) != 0
        ids = named[is_first]
        sums = np.zeros((len(ids), width), np.int64)
        last = -1
        for start in range(0, len(part), _ROWS_AT_ONCE):
            piece = slice(start, start + _ROWS_AT_ONCE)
            places = last + np.cumsum(is_first[piece])
            add(part[piece], places, sums)
            last = places[-1]
        yield sum_by_owner(layout, ids, sums)


def _sort_rows(layout: Layout, roots, rows, step: int, portions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows by portion, then group, and where each portion begins and the last ends.

    A portion is made of `step` groups of every rank, by where these stand there.
    """
    named = roots[rows]
    keys = layout.local(named) // step
    keys *= layout.count
    keys += named
    del named
    order = rows[np.argsort(keys, kind="stable")]
    keys.sort(kind="stable")
    return order, np.searchsorted(keys, np.arange(portions + 1) * layout.count)


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
        embeddings: (n, d) floating point, of float16's precision.
        bases: (n,) int64.
        known: (n,) bool; fragments whose embedding says nothing are left out.
        multiplicities: (n,) float32, NaN where unknown.
    """

    def add(rows: np.ndarray, places: np.ndarray, sums: np.ndarray) -> None:
        rows, places = rows[known[rows]], places[known[rows]]
        steps = np.rint(np.log2(np.fmax(multiplicities[rows], 1)) * _MULTIPLICITY_STEPS).astype(np.int64)
        _add_rows(places, np.column_stack([np.ones(len(rows), np.int64), bases[rows], steps]), sums)

    ids = layout.ids[roots == layout.ids]
    fragments, weights = np.empty((2, len(ids)), np.int64)
    means = np.empty(len(ids))
    end = 0
    for found, sums in sum_by_group(layout, roots, np.arange(len(roots)), 3, add):
        part = slice(end, end := end + len(found))
        fragments[part], weights[part] = sums[:, 0], sums[:, 1]
        means[part] = np.exp2(sums[:, 2] / np.maximum(sums[:, 0], 1) / _MULTIPLICITY_STEPS)
    exponent = _choose_exponent(layout.comm, embeddings, int(weights.max(initial=1)))
    vectors = GroupVectors(layout, roots, embeddings, bases, known, exponent)
    return Groups(ids, fragments, weights, means, vectors)


def _choose_exponent(comm: MPI.Comm, embeddings: np.ndarray, heaviest: int) -> int:
    """Return how fine the steps may be for sums of `heaviest` bases on any rank not to overflow. Collective."""
    largest = max(float(embeddings.max(initial=0)), -float(embeddings.min(initial=0)))
    largest, heaviest = comm.allreduce(largest, op=MPI.MAX), comm.allreduce(heaviest, op=MPI.MAX)
    return min(_FINEST, int(np.floor(61 - np.log2(max(largest, 1e-9)) - np.log2(heaviest))))


def are_apart(layout: Layout, parts: Groups, groups: Groups, outer: np.ndarray) -> np.ndarray:
    """Return (p,) bool: which of this rank's parts are known, and not all that is known of their group. Collective.

    Args:
        parts: groups of an inner level, which make up the outer `groups`.
        outer: (p,) int64, the group of each.
    """
    held = np.zeros(len(layout.ids), np.int64)
    held[layout.local(groups.ids)] = groups.bases
    return (parts.fragments > 0) & (look_up(layout, outer, held) > parts.bases)


def choose_rows(comm: MPI.Comm, ids: np.ndarray, most: int = _MOST_ROWS) -> np.ndarray:
    """Return (n,) bool: about `most` of all ranks' rows, chosen by a hash of their ids. Collective.

    Args:
        ids: (n,) int64, different over all ranks.
    """
    total = comm.allreduce(len(ids))
    return np.ones(len(ids), bool) if total <= most else scramble(ids) < np.uint64(most / total * 2**64)


def gather_by_id(comm: MPI.Comm, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return on every rank all ranks' (n, m) rows in the order of their (n,) int64 ids. Collective."""
    order = gather_rows(comm, ids.reshape(-1, 1))[:, 0].argsort(kind="stable")
    return gather_rows(comm, np.ascontiguousarray(rows))[order]
