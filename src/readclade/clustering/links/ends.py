"""Which read holds each read, and which overlap is the best at each end of the others: the graph that chains walk."""

from collections.abc import Sequence

import numpy as np

from readclade.clustering.links.verified import A_FIRST, A_WITHIN, B_WITHIN, STEPS, Verified
from readclade.clustering.ranks.exchange import Layout, exchange, look_up


def _take_best(numbers: np.ndarray, scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Return the rows that have the highest score, and the lowest tie among these, of each number."""
    order = np.lexsort([ties, -scores, numbers])
    return order[np.diff(numbers[order], prepend=-1) != 0]


def choose_containers(layout: Layout, verified: Verified) -> tuple[np.ndarray, np.ndarray]:
    """Return container and offset of this rank's reads, as those of `Overlaps`. Collective.

    The container of least divergence holds a read. It is longer, or as long with a lower number.

    Args:
        layout: of reads.
        verified: overlaps that count.
    """
    kinds = verified.classify()
    is_within = kinds == A_WITHIN
    inner, outer = np.where(is_within, verified.a, verified.b), np.where(is_within, verified.b, verified.a)
    longer = (verified.b_length.astype(np.int64) - verified.a_length) * np.where(is_within, 1, -1)
    holds = (is_within | (kinds == B_WITHIN)) & ((longer > 0) | ((longer == 0) & (outer < inner)))
    # Less what chance alone may have taken off a short one.
    scores = STEPS - verified.divergences - verified.deviations // 2
    columns = (inner, 2 * outer + verified.is_reversed, scores, verified.get_offsets())
    inner, codes, scores, offsets = _send(layout, columns, holds)
    best = _take_best(inner, scores, codes)
    containers, places = np.full(len(layout.ids), -1, np.int64), np.zeros(len(layout.ids), np.int64)
    containers[inner[best]], places[inner[best]] = codes[best], offsets[best]
    return containers, places


def choose_ends(
    layout: Layout, ends: Layout, verified: Verified, is_contained: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the partner of each end of this rank's reads, and the bases of that overlap. Collective.

    The longest overlap is the best, of those between reads that no other holds.

    Args:
        layout, ends: of reads, and of their ends.
        verified: overlaps that count.
        is_contained: (m,) bool.
    """
    kinds = verified.classify()
    joins = (kinds < A_WITHIN) & ~is_contained[layout.local(verified.a)]
    joins[joins] = ~look_up(layout, verified.b[joins], is_contained)
    is_first = kinds == A_FIRST
    end_a = 2 * verified.a + is_first
    end_b = 2 * verified.b + (is_first == verified.is_reversed)
    to_a = _send(ends, (end_a, end_b, verified.lengths), joins)
    to_b = _send(ends, (end_b, end_a, verified.lengths), joins)
    numbers, partners, lengths = (np.concatenate(pair) for pair in zip(to_a, to_b, strict=True))
    best = _take_best(numbers, lengths, partners)
    found, overlaps = np.full(len(ends.ids), -1, np.int64), np.zeros(len(ends.ids), np.int64)
    found[numbers[best]], overlaps[numbers[best]] = partners[best], lengths[best]
    return found, overlaps


def _send(layout: Layout, columns: Sequence[np.ndarray], wanted: np.ndarray) -> list[np.ndarray]:
    """Send the wanted rows to the owners of their first column, which becomes an index there. Collective."""
    rows = [column[wanted] for column in columns]
    first, *others = exchange(layout.comm, layout.owner(rows[0]), rows)
    return [layout.local(first), *others]
