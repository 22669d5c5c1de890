"""Overlaps of short reads, single or in pairs: each end's best continuation, and which reads lie within others."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from readclade.clustering.links.alignments import align_pairs
from readclade.clustering.links.containment import iterate_inherited
from readclade.clustering.links.continuations import choose_continuations
from readclade.clustering.links.edges import Overlaps
from readclade.clustering.links.error_rates import choose_error_rate
from readclade.clustering.links.inserts import find_insert_ends
from readclade.clustering.links.minimizers import DENSITY, LONGEST
from readclade.clustering.links.nearest import KEPT, Nearest, bound_mismatches, compare_proposals, make_nearest
from readclade.clustering.links.pair_errors import fit_error_rate, tabulate_mismatches
from readclade.clustering.links.proposals import iterate_proposals
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.turns import plan_turns
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, find_most
from readclade.clustering.ranks.progress import tell

_LOST, _LOST_AT_ENDS = 0.02, 0.001  # shares of the true overlaps that bounds on mismatches may lose
_USUAL = 0.004  # errors a base, where nothing tells
_PILOT = 32  # the error rate is read off one in so many of the minimizers
_MOST_ROUNDS = 8  # of proposals between containers; two or three are the rule
_COMPARED = 0.7  # share of the time that linking takes
_HELD_BYTES = 140  # of what is known of a read
_ROW_BYTES, _READ_BYTES = 200, 1500  # of a proposal, and of a read with its partners, on their way through


def overlap_pairs(layout: Layout, sequences: Sequences, told: float, memory: int) -> Overlaps:
    """Find which reads of all ranks overlap. Collective.

    Args:
        sequences: of this rank's n fragments.
        told: errors a base as qualities tell, NaN where they do not; used where the overlaps are too few to tell.
        memory: bytes that a rank is to stay within, reads included; a quarter of it is always used.
    """
    reads = Layout(layout.comm, 2 * layout.firsts)
    kept = np.minimum(find_insert_ends(sequences), LONGEST)
    longest = find_most(layout.comm, int(kept.max(initial=0)))
    # The same on all ranks: they take turns together.
    held = find_most(layout.comm, sequences.words.nbytes + _HELD_BYTES * len(kept))
    budget = max(memory - held, memory // 4) // 2
    rows, whole = max(budget // _ROW_BYTES, 1), max(budget // _READ_BYTES, 1)
    pilot = iterate_proposals(layout, sequences, kept, [range(1)], _PILOT, rows)
    estimate = fit_error_rate(tabulate_mismatches(reads, sequences, pilot))
    rate = choose_error_rate(estimate, told, _USUAL, layout.comm.rank == 0)
    nearest = make_nearest(kept)
    turns = plan_turns(layout, kept, DENSITY, budget)
    proposals = iterate_proposals(layout, sequences, kept, *turns, rows)
    bounds = bound_mismatches(2 * rate, _LOST, longest)
    counts = compare_proposals(
        reads,
        sequences,
        nearest,
        proposals,
        bounds,
        lambda done: tell(f"{done:.0%} of the overlaps compared", done * _COMPARED),
    )
    for _ in range(_MOST_ROUNDS):
        before = nearest.containers.copy()
        inherited = iterate_inherited(reads, nearest, whole)
        counts += compare_proposals(reads, sequences, nearest, inherited, bounds, lambda done: None)
        if not sum_integers(layout.comm, np.array([(nearest.containers != before).sum()]))[0]:
            break
    compared, failed = sum_integers(layout.comm, counts).tolist()
    tell(f"{compared:,} overlaps compared, {compared - failed:,} hold; {turns[1]} turns", _COMPARED)
    bounds = bound_mismatches(2 * rate, _LOST_AT_ENDS, longest)
    best, overlaps = choose_continuations(reads, sequences, nearest, bounds, whole)
    resembling = partial(_iterate_resembling, reads, nearest, whole)
    iterate, align = partial(_iterate_links, reads, nearest, whole), partial(align_pairs, reads, sequences, nearest)
    rates = np.full(len(layout.ids), rate, np.float32)
    offsets, lengths = nearest.offsets.astype(np.int64), kept.astype(np.int64)
    return Overlaps(best, overlaps, nearest.containers, offsets, lengths, iterate, resembling, align, rates, rate)


def _iterate_links(reads: Layout, nearest: Nearest, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Hand out the reads that overlap: containers, and the kept partners of both ends. Collective."""
    for part in _cut(reads, rows):
        partners = nearest.partners[2 * part.start : 2 * part.stop].reshape(-1, 2 * KEPT)
        yield _list_pairs(reads.ids[part], np.column_stack([partners >> 1, nearest.containers[part] >> 1]))


def _iterate_resembling(reads: Layout, nearest: Nearest, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Hand out the reads that differ too much from those they resemble. Collective."""
    for part in _cut(reads, rows):
        yield _list_pairs(reads.ids[part], nearest.alike[part])


def _cut(reads: Layout, rows: int) -> Iterator[slice]:
    """Yield parts of this rank's reads, as many on every rank. Collective."""
    for begin in range(0, max(find_most(reads.comm, len(reads.ids)), 1), rows):
        yield slice(begin, begin + rows)


def _list_pairs(own: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each of (m,) reads beside each of its (m, w) others, -1 being none."""
    is_there = others >= 0
    return np.repeat(own, others.shape[1]).reshape(others.shape)[is_there], others[is_there]
