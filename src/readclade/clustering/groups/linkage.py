"""Linkage: of all that linking finds, what clusters are made from. It is what a checkpoint keeps, shard by shard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from readclade.clustering.ranks.checkpoints import Checkpoints
from readclade.clustering.ranks.communicator import run_on_each
from readclade.clustering.ranks.exchange import Layout

_LEVELS = 3
_LINKS = (("first", np.int64), ("second", np.int64), ("count", np.int64))


@dataclass(frozen=True)
class Linkage:
    """Stretches of this rank's n fragments, and the links between stretches.

    Attributes:
        levels: three (n,) int64, the stretch of every fragment: the lowest fragment in it. Stretches of a level are
            made of stretches of the level before.
        depths: (n,) float32, how often a base of the fragment's innermost stretch was read.
        first, second, count: (m,) int64, two stretches of the innermost level, first < second, and the evidence that
            they are neighbours. Held by the rank that holds the first, by first, then second.
        against: (q, 3) int64, two stretches and the evidence that they are of two genomes, of which one resembles the
            other: reads that differ by more than their errors allow. In the same order, on the same rank.
        is_short: whether the reads are short.
    """

    levels: list[np.ndarray]
    depths: np.ndarray
    first: np.ndarray
    second: np.ndarray
    count: np.ndarray
    against: np.ndarray
    is_short: bool


def load_linkage(
    layout: Layout,
    checkpoints: Checkpoints,
    shards: int,
    is_short: bool,
    make: Callable[[], Linkage],
    files: Sequence[str] = (),
) -> tuple[Linkage, bool]:
    """Return the linkage that an earlier run saved and True, or else what `make` returns, saved, and False. Collective.

    Args:
        shards: of the whole job.
        files: what `make` leaves in the folder of checkpoints beside; without them the linkage is made again.
    """
    names = {number: f"links-{number:05d}" for number in range(layout.comm.rank, shards, layout.comm.size)}
    if checkpoints.have_all(list(names.values()), files):

        def load(name: str) -> dict[str, np.ndarray]:
            arrays = checkpoints.load(name)
            assert arrays is not None  # every rank has seen the files
            return arrays

        saved = run_on_each(layout.comm, lambda: [load(name) for name in names.values()])

        def join(key: str, kind: type) -> np.ndarray:
            return np.concatenate([np.zeros(0, kind), *(one[key] for one in saved)])

        levels = [join(f"level{level}", np.int64) for level in range(_LEVELS)]
        first, second, count = (join(name, kind) for name, kind in _LINKS)
        against = np.concatenate([np.zeros((0, 3), np.int64), *(one["against"] for one in saved)])
        return Linkage(levels, join("depths", np.float32), first, second, count, against, is_short), True
    linkage = make()
    for number, name in names.items():
        bounds = layout.firsts[number : number + 2]
        rows = slice(*np.searchsorted(layout.ids, bounds))
        inside = slice(*np.searchsorted(linkage.first, bounds))
        arrays = {field: getattr(linkage, field)[inside] for field, _ in _LINKS}
        arrays |= {f"level{level}": roots[rows] for level, roots in enumerate(linkage.levels)}
        arrays["against"] = linkage.against[slice(*np.searchsorted(linkage.against[:, 0], bounds))]
        checkpoints.save(name, **arrays, depths=linkage.depths[rows])
    return linkage, False
