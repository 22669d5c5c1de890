"""Overlaps of long reads: which share k-mers, which of these hold base by base, and which a chain can be made of.

A pilot with few short k-mers finds the error rate, which tells how long and how dense the k-mers of the search are.
Whole numbers or the work of one element decide, so that the result is the same on any number of ranks.
"""

from functools import partial

import numpy as np

from readclade.clustering.links.alignments import align_long_reads
from readclade.clustering.links.anchors import Rule, verify
from readclade.clustering.links.buckets import Rows, SharedBuckets
from readclade.clustering.links.candidates import group_rows
from readclade.clustering.links.edges import Overlaps
from readclade.clustering.links.ends import choose_containers, choose_ends
from readclade.clustering.links.error_rates import choose_error_rate, read_qualities
from readclade.clustering.links.errors import estimate_rates, to_error_rate, to_half
from readclade.clustering.links.fetching import fetch_reads
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.sketches import SketchRule, choose_sketch, find_range, sketch_reads
from readclade.clustering.links.turns import MEMORY, plan_turns
from readclade.clustering.links.verified import Verified, join_verified
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, find_most, look_up
from readclade.clustering.ranks.progress import tell

_ROW_BYTES = 500  # of a shared k-mer of two reads on its way
_NEIGHBOURS = 40
_DEVIATIONS = 5, 2  # an overlap may be beyond both reads' rates by 5/2 standard errors
_PILOT = SketchRule(15, 0.02, 1.0)
_PILOT_READS = 4000
_PILOT_ANCHORS = Rule(_PILOT.k, least_hits=2, least=1000, most_divergence=0.4, most_tip=-1)
_USUAL_ERROR_RATE = 0.05
_BEGUN, _COMPARED = 0.1, 0.9  # shares of the time


def overlap_long_reads(
    layout: Layout,
    sequences: Sequences,
    error_rates: np.ndarray,
    memory: int = MEMORY,
) -> tuple[Overlaps, Verified]:
    """Return what the overlaps of all ranks' long reads say, and those that hold. Collective.

    Args:
        layout: of fragments.
        sequences: of this rank's fragments; mates are empty.
        error_rates: (n,) float32 errors a base of this rank's fragments by their qualities, NaN where unknown.
        memory: bytes that a rank is to stay within, reads included; a quarter of it is always used.
    """
    comm, reads = layout.comm, Layout(layout.comm, 2 * layout.firsts)
    pilot = _estimate(layout, reads, sequences, memory)
    assumed = choose_error_rate(pilot, read_qualities(comm, error_rates), _USUAL_ERROR_RATE, comm.rank == 0)
    rule = choose_sketch(assumed)
    tell(f"error rate {assumed:.3g}: k-mers of length {rule.k}, {rule.density:.3g} of all", _BEGUN)
    found, resembling = _search(layout, sequences, rule, Rule(rule.k), memory)
    rates = estimate_rates(reads, found, to_half(assumed))
    bounds = rates.reads[reads.local(found.a)] + look_up(reads, found.b, rates.reads)
    more, of = _DEVIATIONS
    is_kept = of * (found.divergences - bounds) <= more * found.deviations
    kept, differing = found.take(is_kept), (found.a[~is_kept], found.b[~is_kept])
    total, resembling = sum_integers(comm, np.array([len(kept), resembling + len(found) - len(kept)], np.int64))
    tell(f"{total:,} overlaps hold; {resembling:,} pairs of reads only resemble one another", _COMPARED)
    containers, offsets = choose_containers(reads, kept)
    best, overlaps = choose_ends(reads, Layout(comm, 4 * layout.firsts), kept, containers >= 0)
    error_rate = float(to_error_rate(rates.sample)) if rates.is_known else np.nan
    by_fragment = to_error_rate(rates.reads[::2]).astype(np.float32)
    if not rates.is_known:
        by_fragment[~rates.is_told[::2]] = np.nan
    lengths = sequences.read_lengths.astype(np.int64)
    tell(f"error rate {error_rate:.3g} by overlaps", 1)
    known = Overlaps(
        best,
        overlaps,
        containers,
        offsets,
        lengths,
        lambda: iter([(kept.a, kept.b)]),
        lambda: iter([differing]),
        partial(align_long_reads, reads, kept),
        by_fragment,
        error_rate,
    )
    return known, kept


def _estimate(layout: Layout, reads: Layout, sequences: Sequences, memory: int) -> float:
    """Return the error rate by a pilot: some reads against all; NaN where too little overlaps. Collective."""
    share = min(1, _PILOT_READS / max(layout.count, 1))
    found, _ = _search(layout, sequences, _PILOT, _PILOT_ANCHORS, memory, share=share)
    rates = estimate_rates(reads, found, to_half(_USUAL_ERROR_RATE))
    return float(to_error_rate(rates.sample)) if rates.is_known else np.nan


def _search(
    layout: Layout,
    sequences: Sequences,
    sketch_rule: SketchRule,
    rule: Rule,
    memory: int,
    share: float = 1,
) -> tuple[Verified, int]:
    """Return the overlaps whose first read this rank holds, and how many pairs differ too much. Collective.

    Args:
        share: of the fragments that are compared with those of higher ids.
    """
    reads = Layout(layout.comm, 2 * layout.firsts)
    buckets = _share_kmers(layout, sequences, sketch_rule, share, memory)
    counts = np.zeros(4, np.int64)
    parts = [join_verified([])]
    for rows in buckets.iterate_rows(max(memory // 2 // _ROW_BYTES, 1)):
        parts.append(_compare(layout, reads, rows, sequences, rule, counts))
        if rows.end > rows.begin:
            done = rows.end / len(layout.ids)
            tell(f"{done:.0%} of the fragments compared", _BEGUN + done * (_COMPARED - _BEGUN))
    return join_verified(parts), int(counts[2] + counts[3])


def _share_kmers(layout: Layout, sequences: Sequences, rule: SketchRule, share: float, memory: int) -> SharedBuckets:
    """Return the k-mers that reads share. Collective."""
    held = find_most(layout.comm, sequences.words.nbytes)  # the same on all ranks: they take turns together
    budget = max(memory - held, memory // 4) // 2
    passes, of = plan_turns(layout, sequences.read_lengths, rule.density, budget)
    buckets = SharedBuckets(layout, _NEIGHBOURS, share)
    for turns in passes:
        entries = sketch_reads(sequences, layout.ids, rule, turns, of)
        while entries:
            hashes, places = entries.pop()
            # Within a turn each rank owns an equal range.
            owners = find_range(hashes, np.uint64(rule.threshold), np.uint64(of * layout.comm.size)) % layout.comm.size
            buckets.add(hashes, places, owners.astype(np.uint16))
            del hashes, places, owners
    tell(f"{sum_integers(layout.comm, buckets.kept)[0]:,} k-mers are shared; {of} turns")
    return buckets


def _compare(layout: Layout, reads: Layout, rows: Rows, sequences: Sequences, rule: Rule, counts) -> Verified:
    """Return the overlaps among a chunk's pairs of reads. Collective."""
    candidates = group_rows(rows.begins, rows.mine, rows.theirs, rule.least_hits)
    firsts, partners = 2 * (rows.begin + candidates.first), 2 * candidates.partner
    fetched = fetch_reads(reads, partners, sequences)
    own = (sequences.words, sequences.begins, sequences.read_lengths)
    theirs = (fetched.words, fetched.begins, fetched.read_lengths)
    found = verify(candidates, firsts, fetched.places, own, theirs, rule, counts)
    pairs, _, edits, a_begin, a_end, b_begin, b_end = found.T
    firsts, places = firsts[pairs], fetched.places[pairs]
    a_length, b_length = sequences.read_lengths[firsts], fetched.read_lengths[places]
    a, b, is_reversed = reads.ids[firsts], partners[pairs], candidates.is_reversed[pairs]
    return Verified(a, b, is_reversed, a_begin, a_end, b_begin, b_end, a_length, b_length, edits)
