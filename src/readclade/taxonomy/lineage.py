"""Lineages, and the lowest common ancestor of votes for several of them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from readclade.errors import InputError

RANKS = ("domain", "phylum", "class", "order", "family", "genus", "species")
UNCLASSIFIED = "unclassified"


@dataclass(frozen=True)
class Taxon:
    """A named node of the tree: a lineage down to a rank that has a name.

    Attributes:
        path: names from the domain down to this rank, "" where a rank between has none; the last one is not "".
    """

    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name without the lineage above it."""
        return self.path[-1]

    @property
    def rank(self) -> str:
        """One of `RANKS`."""
        return RANKS[len(self.path) - 1]

    @property
    def element(self) -> str:
        """The name with the letter of its rank, as lineages hold it: g__Vibrio."""
        return f"{self.rank[0]}__{self.name}"

    def holds(self, lineage: tuple[str, ...]) -> bool:
        """Return whether a lineage belongs to this taxon."""
        return lineage[: len(self.path)] == self.path


def format_lineage(path: tuple[str, ...]) -> str:
    """Return d__;p__;c__;o__;f__;g__;s__ with the names of a path; ranks below it stay empty."""
    names = path + ("",) * (len(RANKS) - len(path))
    return ";".join(f"{rank[0]}__{name}" for rank, name in zip(RANKS, names, strict=True))


def get_taxa(lineage: tuple[str, ...]) -> list[Taxon]:
    """Return the taxa that a lineage names, from the domain down."""
    return [Taxon(lineage[: i + 1]) for i, name in enumerate(lineage) if name]


def get_lowest(lineage: tuple[str, ...]) -> Taxon:
    """Return the taxon of the lowest rank that a lineage names; the table of references ensures that there is one."""
    return get_taxa(lineage)[-1]


def sum_votes(votes: Mapping[tuple[str, ...], float]) -> dict[Taxon, float]:
    """Return the votes of every taxon at every rank.

    Args:
        votes: votes by lineage.
    """
    sums: dict[Taxon, float] = defaultdict(float)
    for lineage, share in votes.items():
        for taxon in get_taxa(lineage):
            sums[taxon] += share
    return dict(sums)


def find_supported(votes: Mapping[tuple[str, ...], float], support: float) -> list[tuple[Taxon, float]]:
    """Walk from the domain to the species along the taxa that hold most votes.

    A rank at which no taxon has a name (viruses often lack an order or a family) does not stop the walk: a taxon
    below it counts like any other.

    Args:
        votes: share of the votes by lineage; their sum is at most 1.
        support: share that a taxon needs.

    Returns:
        The taxa with at least that share, each within the one before it, and their shares. The last one is the lowest
        common ancestor of the votes; the list is empty where not even a domain is supported.
    """
    sums = sum_votes(votes)
    chain: list[tuple[Taxon, float]] = []
    for rank in RANKS:
        here = [taxon for taxon in sums if taxon.rank == rank and (not chain or chain[-1][0].holds(taxon.path))]
        if not here:
            continue
        top = min(here, key=lambda taxon: (-sums[taxon], taxon.path))
        if sums[top] >= support:
            chain.append((top, sums[top]))
    return chain


def find_runner_up(votes: Mapping[tuple[str, ...], float], taxon: Taxon) -> tuple[Taxon, float] | None:
    """Return the taxon with most votes beside another one at the same rank, and its share; None without any."""
    sums = sum_votes(votes)
    others = [other for other in sums if other.rank == taxon.rank and other != taxon and sums[other] > 0]
    if not others:
        return None
    best = min(others, key=lambda other: (-sums[other], other.path))
    return best, sums[best]


def split_lineage(lineage: str) -> tuple[str, ...]:
    """Return a name for each of `RANKS`, "" where there is none, of d__;p__;c__;o__;f__;g__;s__.

    Raises:
        InputError: it is not of this form, or names no rank at all; the place is the caller's to add.
    """
    parts = [part.strip() for part in lineage.split(";")]
    prefixes = [f"{rank[0]}__" for rank in RANKS]
    remedy = f"write it as {';'.join(prefixes)}, each name after its rank's letter; a rank may stay empty"
    if len(parts) != len(RANKS):
        message = f"lineage '{lineage}' has {len(parts)} ranks instead of {len(RANKS)}"
        others = [f"'{part}'" for part in parts if part[:3] not in prefixes]
        if len(parts) - len(others) == len(RANKS):
            remedy = f"leave out {' and '.join(others)}, which is none of {';'.join(prefixes)}"
        raise InputError(message, remedy=remedy)
    for rank, prefix, part in zip(RANKS, prefixes, parts, strict=True):
        if not part.startswith(prefix):
            raise InputError(f"lineage '{lineage}' has '{part}' where the {rank} must stand", remedy=remedy)
    names = tuple(part[3:].strip() for part in parts)
    if not any(names):
        raise InputError(f"lineage '{lineage}' names no rank at all", remedy=remedy)
    return names
