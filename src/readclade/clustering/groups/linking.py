"""Links: which fragments overlap, hence come from one place of one genome, and groups of linked fragments.

Copies of one molecule are set aside, the k-mers of the others meet in buckets, the k-mers that two fragments share are
weighed, and the strongest links make groups. All of it is whole numbers or the work of one element, so that the result
is the same on any number of ranks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from readclade.clustering.groups.grouping import group_links
from readclade.clustering.links.buckets import Rows, SharedBuckets
from readclade.clustering.links.duplicates import find_representatives
from readclade.clustering.links.overlaps import weigh_long, weigh_short
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.sketches import SketchRule, choose_sketch, sketch_reads
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, look_up
from readclade.errors import ConfigError

ROWS_IN_FLIGHT = 4_000_000
SHORT_BOUNDS = (25, 100, 400)  # fragments
LONG_BOUNDS = (20_000, 40_000, 80_000)  # bases
_SHORT_NEIGHBOURS = 8
_LONG_NEIGHBOURS = 12
_LEAST_LONG_HITS = 4
_LONGEST_BARE_END = 6  # times the expected distance of two hits
_ERROR_STEPS = 10_000
_SKETCHED, _WEIGHED = 0.4, 0.8  # shares of the time that linking takes


@dataclass(frozen=True)
class Links:
    """Pairs of fragments that overlap, each held by the rank that holds the first, by first, then second.

    Attributes:
        first, second: (m,) int64 ids, first < second.
        strength: (m,) int64, to compare links of one job with one another.
        overlap: (m,) int64 bases; 0 for short reads.
        consistency: (m,) float32, 0 to 1: shared k-mers against what such an overlap must show.
    """

    first: np.ndarray
    second: np.ndarray
    strength: np.ndarray
    overlap: np.ndarray
    consistency: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class LinkedFragments:
    """What links say of this rank's n fragments.

    Attributes:
        levels: of each bound the (n,) int64 group of every fragment: the smallest id in it. Groups of a level are
            made of groups of the level before.
        links: this rank's links.
        repelled: (p, 2) int64, pairs of long reads, first < second, that share too few k-mers for the overlap they
            seem to have: relatives, not one genome. Held and sorted like links.
        representatives: (n,) int64, the smallest id of the copies of a fragment. Copies with a smaller one have no
            links; they take its groups and multiplicity.
        multiplicities: (n,) float32, median over the fragment's kept k-mers of how often each occurs in the sample,
            copies left out; NaN without.
        rule: which k-mers were kept.
    """

    levels: list[np.ndarray]
    links: Links
    repelled: np.ndarray
    representatives: np.ndarray
    multiplicities: np.ndarray
    rule: SketchRule


def find_median_error(comm: MPI.Comm, error_rates: np.ndarray) -> float:
    """Return the median of all ranks' (n,) error rates that are not NaN, to 1e-4, or NaN without any. Collective."""
    known = error_rates[~np.isnan(error_rates)].astype(np.float64)
    steps = np.clip(np.rint(known * _ERROR_STEPS), 0, _ERROR_STEPS).astype(np.int64)
    below = np.cumsum(sum_integers(comm, np.bincount(steps, minlength=_ERROR_STEPS + 1)))
    if not below[-1]:
        return np.nan
    return int(np.searchsorted(below, (below[-1] + 1) // 2)) / _ERROR_STEPS


def link_fragments(
    layout: Layout,
    sequences: Sequences,
    platform: str,
    error_rates: np.ndarray,
    report: Callable[[str, float], None] = lambda line, done: None,
    rows_in_flight: int = ROWS_IN_FLIGHT,
) -> LinkedFragments:
    """Link and group the fragments of all ranks. Collective.

    Args:
        sequences: of this rank's fragments, in the order of `layout.ids`.
        platform: of the sample; "illumina" reads are short, all others long.
        error_rates: (n,) float32, errors per base of each of this rank's fragments, NaN where unknown.
        report: called with lines of progress, and how much of the work is done (0 to 1).
        rows_in_flight: how many shared k-mers a rank weighs at a time; has no influence on the result.

    Raises:
        ConfigError: there are more fragments than an entry's half can number.
    """
    if layout.count > 2**32:
        raise ConfigError(
            f"{layout.count:,} fragments are more than links can name (2^32)", remedy="cluster fewer samples at once"
        )
    comm = layout.comm
    rule = choose_sketch(platform, find_median_error(comm, error_rates))
    representatives = find_representatives(layout, sequences)
    wanted = representatives == layout.ids
    sketch = sketch_reads(sequences, layout.ids, wanted, rule)
    entries, copies = sum_integers(comm, np.array([len(sketch.hashes), (~wanted).sum()], np.int64))
    buckets = SharedBuckets(layout, sketch, rule.threshold)
    del sketch
    multiplicities, bound = buckets.measure_multiplicities(), buckets.choose_bound()
    report(
        f"{entries:,} k-mers of length {rule.k} kept, {rule.density:.3g} of all; {copies:,} fragments are copies;"
        f" k-mers that occur more than {bound:,} times belong to repeats",
        _SKETCHED,
    )
    links, repelled = _weigh(layout, buckets, bound, sequences.lengths, rule, rows_in_flight, report)
    multiplicities = look_up(layout, representatives, multiplicities)
    del buckets
    total, against = sum_integers(comm, np.array([len(links), len(repelled)], np.int64))
    report(f"{total:,} links; {against:,} pairs of reads only resemble one another", _WEIGHED)

    sizes = np.ones(len(wanted), np.int64) if rule.is_short else sequences.lengths
    bounds = SHORT_BOUNDS if rule.is_short else LONG_BOUNDS
    levels, rounds = group_links(layout, links.first, links.second, links.strength, links.overlap, sizes, bounds)
    levels = [look_up(layout, representatives, level) for level in levels]
    counts = sum_integers(comm, np.array([(level == layout.ids).sum() for level in levels], np.int64))
    made = ", ".join(f"{count:,} of at most {bound:,}" for count, bound in zip(counts, bounds, strict=True))
    report(f"groups: {made} {'fragments' if rule.is_short else 'bases'}; {rounds} rounds", 1)
    return LinkedFragments(levels, links, repelled, representatives, multiplicities, rule)


def _weigh(
    layout: Layout, buckets: SharedBuckets, bound: int, lengths, rule: SketchRule, budget: int, report
) -> tuple[Links, np.ndarray]:
    """Return this rank's links and repelled pairs. Collective."""
    neighbours = _SHORT_NEIGHBOURS if rule.is_short else _LONG_NEIGHBOURS
    none = np.zeros(0, np.uint64)
    parts = [_join_short(np.zeros(1, np.int64), none, none, layout.ids)]
    for rows in buckets.iterate_rows(neighbours, budget, bound):
        ids = layout.ids[rows.begin : rows.end]
        if rule.is_short:
            parts.append(_join_short(rows.begins, rows.mine, rows.theirs, ids))
        else:
            parts.append(_join_long(layout, rows, ids, lengths, rule))
        if len(ids) and rows.end < len(layout.ids):
            done = rows.end / len(layout.ids)
            report(f"{done:.0%} of the fragments linked", _SKETCHED + done * (_WEIGHED - _SKETCHED))
    links, repelled = zip(*parts, strict=True)
    names = Links.__dataclass_fields__
    return (
        Links(**{name: np.concatenate([getattr(part, name) for part in links]) for name in names}),
        np.concatenate(repelled),
    )


def _join_short(begins, mine, theirs, ids) -> tuple[Links, np.ndarray]:
    index, second, shared, unshared = weigh_short(begins, mine, theirs)
    kept = 3 * shared >= unshared  # a quarter of what the overlap holds
    index, second = index[kept], second[kept]
    shared, total = shared[kept].astype(np.int64), (shared + unshared)[kept].astype(np.int64)
    strength = shared * shared * 65536 // total
    consistency = (shared / total).astype(np.float32)
    links = Links(ids[index], second, strength, np.zeros(len(index), np.int64), consistency)
    return links, np.zeros((0, 2), np.int64)


def _join_long(layout: Layout, rows: Rows, ids, lengths, rule: SketchRule) -> tuple[Links, np.ndarray]:
    partner_lengths = look_up(layout, (rows.theirs >> np.uint64(32)).astype(np.int64), lengths)
    pairs = weigh_long(rows.begins, rows.mine, rows.theirs, lengths[rows.begin : rows.end], partner_lengths, rule.k)
    index, second, hits, overlap, left, right = pairs.T
    # In whole numbers: hits a base times 2^32, and 256 times the hits that an overlap should show.
    rate = round(rule.share * rule.density * 2**32)
    expected = np.maximum((overlap * rate) >> 24, 1)
    kept = (hits >= _LEAST_LONG_HITS) & (2 * 256 * hits >= expected)
    kept &= np.maximum(left, right) * rate <= _LONGEST_BARE_END << 32
    repelled = (5 * 256 * hits <= 2 * expected) & (expected >= 8 * 256)
    first = ids[index]
    strength = np.minimum(256 * hits, 65536 * hits * hits // expected)
    consistency = np.minimum(1, 256 * hits / expected).astype(np.float32)
    links = Links(*(column[kept] for column in (first, second, strength, overlap, consistency)))
    return links, np.column_stack([first, second])[repelled]
