"""Linkage: of all that linking finds, what clusters are made from. It is what a checkpoint keeps, shard by shard."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from readclade.clustering.groups.linking import LinkedFragments
from readclade.clustering.ranks.checkpoints import Checkpoints
from readclade.clustering.ranks.communicator import run_on_each
from readclade.clustering.ranks.exchange import Layout, look_up

_LEVELS = 3
_LINKS = (("first", np.int64), ("second", np.int64), ("consistency", np.float32))


@dataclass(frozen=True)
class Linkage:
    """Groups of this rank's n fragments, and the links between groups.

    Attributes:
        levels: three (n,) int64, as `LinkedFragments`.
        multiplicities: (n,) float32, as there.
        first, second, consistency: (m,) links whose ends are in different groups of the innermost level, as `Links`.
        is_short: whether the reads are short.
    """

    levels: list[np.ndarray]
    multiplicities: np.ndarray
    first: np.ndarray
    second: np.ndarray
    consistency: np.ndarray
    is_short: bool


def take_linkage(layout: Layout, linked: LinkedFragments) -> Linkage:
    """Keep of linked fragments what clusters are made from. Collective."""
    links, inner = linked.links, linked.levels[0]
    crossing = inner[layout.local(links.first)] != look_up(layout, links.second, inner)
    first, second, consistency = (getattr(links, name)[crossing] for name, _ in _LINKS)
    return Linkage(linked.levels, linked.multiplicities, first, second, consistency, linked.rule.is_short)


def load_linkage(
    layout: Layout, checkpoints: Checkpoints, shards: int, is_short: bool, make: Callable[[], Linkage]
) -> tuple[Linkage, bool]:
    """Return the linkage that an earlier run saved and True, or else what `make` returns, saved, and False. Collective.

    Args:
        shards: of the whole job.
    """
    names = {number: f"links-{number:05d}" for number in range(layout.comm.rank, shards, layout.comm.size)}
    if checkpoints.have_all(list(names.values())):

        def load(name: str) -> dict[str, np.ndarray]:
            arrays = checkpoints.load(name)
            assert arrays is not None  # every rank has seen the files
            return arrays

        saved = run_on_each(layout.comm, lambda: [load(name) for name in names.values()])

        def join(key: str, kind: type) -> np.ndarray:
            return np.concatenate([np.zeros(0, kind), *(one[key] for one in saved)])

        levels = [join(f"level{level}", np.int64) for level in range(_LEVELS)]
        first, second, consistency = (join(name, kind) for name, kind in _LINKS)
        return Linkage(levels, join("multiplicities", np.float32), first, second, consistency, is_short), True
    linkage = make()
    for number, name in names.items():
        bounds = layout.firsts[number : number + 2]
        rows = slice(*np.searchsorted(layout.ids, bounds))
        inside = slice(*np.searchsorted(linkage.first, bounds))
        arrays = {field: getattr(linkage, field)[inside] for field, _ in _LINKS}
        arrays |= {f"level{level}": roots[rows] for level, roots in enumerate(linkage.levels)}
        checkpoints.save(name, **arrays, multiplicities=linkage.multiplicities[rows])
    return linkage, False
