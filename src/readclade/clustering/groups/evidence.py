"""Links between stretches: how many overlaps and mates say that two are neighbours, and whether that is enough.

And how many reads say that two stretches only resemble one another.
"""

from collections.abc import Iterable

import numpy as np

from readclade.clustering.links.edges import Overlaps
from readclade.clustering.ranks.exchange import Layout, exchange, look_up
from readclade.clustering.ranks.rows import sum_rows

_SHARE = 5  # a link has at least one in so many of what each side's best link has


def link_stretches(layout: Layout, overlaps: Overlaps, of_reads: np.ndarray) -> np.ndarray:
    """Return (p, 3) int64: two stretches, the lower first, and the evidence that they are neighbours. Collective.

    Each is held by the rank that holds the first, sorted. What has a fifth of the evidence of both sides' best
    neighbour counts: repeats and relatives give less.

    Args:
        of_reads: (2 n,) int64, the stretch of each of this rank's reads, -1 where it has none.
    """
    mates = _count(of_reads[0::2], of_reads[1::2])
    return _keep_strong(layout, _add(layout, of_reads, overlaps.iterate_links(), mates))


def oppose_stretches(layout: Layout, overlaps: Overlaps, of_reads: np.ndarray) -> np.ndarray:
    """Return (p, 3) int64: two stretches, the lower first, and how many reads resemble one another but differ.

    Held and sorted as links are, also where a link says otherwise. Collective.

    Args:
        of_reads: as of `link_stretches`.
    """
    return _add(layout, of_reads, overlaps.iterate_resembling())


def _add(layout: Layout, of_reads: np.ndarray, chunks: Iterable, *tables: np.ndarray) -> np.ndarray:
    """Return the pairs of stretches that pairs of reads lie in, with those of tables, on their owners. Collective."""
    reads = Layout(layout.comm, 2 * layout.firsts)
    counted = [_count(of_reads[reads.local(own)], look_up(reads, other, of_reads)) for own, other in chunks]
    rows = np.concatenate([*tables, *counted])
    (rows,) = exchange(layout.comm, layout.owner(rows[:, 0]), [rows])
    return np.column_stack(sum_rows(rows[:, :2], rows[:, 2:]))


def _count(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (p, 3): different pairs of different stretches, the lower first, and how often each is there."""
    used = (first != second) & (first >= 0) & (second >= 0)
    pairs = np.sort(np.column_stack([first[used], second[used]]), axis=1)
    pairs, sums = sum_rows(pairs, np.ones((len(pairs), 1), np.int64))
    return np.column_stack([pairs, sums])


def _keep_strong(layout: Layout, links: np.ndarray) -> np.ndarray:
    best = np.zeros(len(layout.ids), np.int64)
    for side in (0, 1):
        ends, counts = exchange(layout.comm, layout.owner(links[:, side]), [links[:, side], links[:, 2]])
        np.maximum.at(best, layout.local(ends), counts)
    most = np.maximum(best[layout.local(links[:, 0])], look_up(layout, links[:, 1], best))
    return links[_SHARE * links[:, 2] >= most]
