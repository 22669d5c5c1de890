"""Chains: reads (or chains of reads) one after the other, each joined to the next where both ends agree.

A node has two ends: end 2 x is the left end of node x, end 2 x + 1 its right end. Two nodes are joined where each end
is the other's best. So what hangs together is a path, or a circle, which is cut before its lowest node. Ranks walk all
paths at once by pointer doubling (Wyllie 1979): the number of rounds grows with the logarithm of the longest one.
"""

from dataclasses import dataclass

import numpy as np

from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout, exchange, look_up


@dataclass(frozen=True)
class Places:
    """Where this rank's m nodes lie.

    Attributes:
        chain: (m,) int64, the lowest node of the node's chain.
        position: (m,) int64, where the node's leftmost base lies in it.
        is_flipped: (m,) bool, whether it runs against the chain.
        size: (m,) int64, bases of the whole chain.
    """

    chain: np.ndarray
    position: np.ndarray
    is_flipped: np.ndarray
    size: np.ndarray


# Columns of a path out of an end: the end that it leads to, the steps there, the lowest node on it, and whether
# anything follows the end that it is a path of.
_END, _STEPS, _LOWEST, _GOES_ON = range(4)


def walk(layout: Layout, best: np.ndarray, gaps: np.ndarray, lengths: np.ndarray) -> Places:
    """Return where this rank's nodes lie in chains. Collective.

    Args:
        layout: of the nodes.
        best: (2 m,) int64, the end that each end continues with at best, -1 where none.
        gaps: (2 m,) int64, bases between the two nodes; below 0 where they overlap; the same seen from both ends.
        lengths: (m,) int64 bases.
    """
    ends = Layout(layout.comm, 2 * layout.firsts)
    best = _keep_mutual(ends, best)
    paths, circles = _follow(ends, best, gaps, lengths)
    if sum_integers(layout.comm, np.array([circles.sum()]))[0]:
        best = _cut_circles(ends, best, paths, circles)
        paths, _ = _follow(ends, best, gaps, lengths)
    # Seen from either side, how far the chain reaches: the steps to its last node, and that itself.
    left, right = (paths[side::2, _STEPS] + look_up(layout, paths[side::2, _END] >> 1, lengths) for side in (0, 1))
    is_flipped = paths[1::2, _END] < paths[0::2, _END]
    position = np.where(is_flipped, right, left) - lengths
    return Places(paths[:, _LOWEST].reshape(-1, 2).min(axis=1), position, is_flipped, left + right - lengths)


def _keep_mutual(ends: Layout, best: np.ndarray) -> np.ndarray:
    # A node that goes on with itself is a circle of one.
    asked = np.flatnonzero((best >= 0) & (best >> 1 != ends.ids >> 1))
    is_mutual = look_up(ends, best[asked], best) == ends.ids[asked]
    kept = np.full_like(best, -1)
    kept[asked[is_mutual]] = best[asked[is_mutual]]
    return kept


def _follow(ends: Layout, best: np.ndarray, gaps: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (2 m, 4) int64, the path out of each end, and (2 m,) bool, which of them never end. Collective."""
    own, goes_on = ends.ids, best >= 0
    paths = np.empty((len(own), 4), np.int64)
    # What is entered by one end is left by the other.
    paths[:, _END] = np.where(goes_on, best ^ 1, own)
    paths[:, _STEPS] = np.where(goes_on, np.repeat(lengths, 2) + gaps, 0)
    paths[:, _LOWEST] = np.where(goes_on, np.minimum(own, best), own) >> 1
    paths[:, _GOES_ON] = goes_on
    active = np.flatnonzero(goes_on)
    steps, most = 1, sum_integers(ends.comm, np.array([len(own)]))[0]
    while steps <= most and sum_integers(ends.comm, np.array([len(active)]))[0]:
        found = look_up(ends, paths[active, _END], paths)
        moves = found[:, _GOES_ON] == 1
        active, found = active[moves], found[moves]
        paths[active, _END] = found[:, _END]
        paths[active, _STEPS] += found[:, _STEPS]
        paths[active, _LOWEST] = np.minimum(paths[active, _LOWEST], found[:, _LOWEST])
        steps *= 2
    circles = np.zeros(len(own), bool)
    circles[active] = True
    return paths, circles


def _cut_circles(ends: Layout, best: np.ndarray, paths: np.ndarray, circles: np.ndarray) -> np.ndarray:
    """Return the best ends without those that close a circle: before its lowest node. Collective."""
    own = ends.ids
    cut = np.flatnonzero(circles & (paths[:, _LOWEST] == own >> 1) & (own & 1 == 0))
    (partners,) = exchange(ends.comm, ends.owner(best[cut]), [best[cut]])
    best = best.copy()
    best[cut] = best[ends.local(partners)] = -1
    return best


def find_outermost(
    layout: Layout, containers: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each node the outermost container, whether it is reversed there, and where it begins. Collective.

    Args:
        containers: (m,) int64, 2 * container + whether reversed against it, -1 where a node has none; no circles.
        offsets: (m,) int64, where the node's leftmost base lies in its container.
        lengths: (m,) int64 bases.

    Returns:
        (m,) int64 nodes, (m,) bool, (m,) int64; a node without a container is its own.
    """
    is_contained = containers >= 0
    state = np.column_stack([np.where(is_contained, containers, 2 * layout.ids), np.where(is_contained, offsets, 0)])
    active = np.flatnonzero(is_contained)
    own = np.asarray(lengths, np.int64)
    while sum_integers(layout.comm, np.array([len(active)]))[0]:
        outer = state[active, 0] >> 1
        found = look_up(layout, outer, np.column_stack([state, own]))
        moves = found[:, 0] >> 1 != outer
        active, found = active[moves], found[moves]
        turned = found[:, 0] & 1
        inside = state[active, 1]
        # Of a container that is reversed the far end comes first.
        begin = np.where(turned == 1, found[:, 2] - inside - own[active], inside)
        state[active, 0] = found[:, 0] ^ (state[active, 0] & 1)
        state[active, 1] = found[:, 1] + begin
    return state[:, 0] >> 1, (state[:, 0] & 1).astype(bool), state[:, 1]


def place_contained(
    layout: Layout, places: Places, containers: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
) -> Places:
    """Return the places with contained nodes where their outermost container lies. Collective."""
    outer, is_turned, begin = find_outermost(layout, containers, offsets, lengths)
    columns = [places.chain, places.position, places.is_flipped, places.size, lengths]
    found = look_up(layout, outer, np.column_stack(columns).astype(np.int64))
    is_flipped = found[:, 2].astype(bool)
    position = found[:, 1] + np.where(is_flipped, found[:, 4] - begin - lengths, begin)
    return Places(found[:, 0], position, is_flipped ^ is_turned, found[:, 3])
