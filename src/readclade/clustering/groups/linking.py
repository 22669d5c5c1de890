"""Linking: which fragments overlap, chains of them, and stretches of chains: what clusters are made from.

Overlaps are verified before they join anything (`pairs`, `long_reads`), reads that continue one another make chains
(`chains`), mates join these to pieces (`mates`), pieces are cut into stretches (`pieces`), and what overlaps between
stretches links them (`evidence`). All of it is whole numbers or the work of one element, so that the result is the same
on any number of ranks.
"""

from collections.abc import Callable

import numpy as np

from readclade.clustering.groups.evidence import link_stretches, oppose_stretches
from readclade.clustering.groups.linkage import Linkage
from readclade.clustering.groups.pieces import cut_pieces, measure_pieces
from readclade.clustering.links.chains import Places, place_contained, walk
from readclade.clustering.links.edges import Overlaps
from readclade.clustering.links.error_rates import read_qualities
from readclade.clustering.links.long_reads import overlap_long_reads
from readclade.clustering.links.mates import join_chains, measure_inserts
from readclade.clustering.links.pairs import overlap_pairs
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.turns import MEMORY
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Layout
from readclade.clustering.ranks.progress import tell
from readclade.errors import ConfigError

_CHAINED = 0.9  # share of the time that linking takes
# Bases of the shortest stretches, and how many of them make a longer one.
_SHORT_STRETCH, _SHORT_RATIOS = 1500, (2, 4)
_LONG_STRETCH, _LONG_RATIOS = 20_000, (2, 4)


def is_short(platform: str) -> bool:
    """Return whether a platform's reads are short, and may have mates."""
    return platform == "illumina"


def link_fragments(
    layout: Layout,
    sequences: Sequences,
    platform: str,
    error_rates: np.ndarray,
    memory: int = MEMORY,
    keep: Callable[[Overlaps], None] | None = None,
) -> Linkage:
    """Link the fragments of all ranks, and cut what hangs together into stretches. Collective.

    Args:
        sequences: of this rank's fragments, in the order of `layout.ids`.
        platform: of the sample; "illumina" reads are short, all others long.
        error_rates: (n,) float32, errors per base of each of this rank's fragments, NaN where unknown.
        memory: bytes that a rank is to stay within; has no influence on the result.
        keep: is shown the overlaps. Collective.

    Raises:
        ConfigError: there are more fragments than places can number.
    """
    overlaps, places = find_pieces(layout, sequences, platform, error_rates, memory)
    if keep:
        keep(overlaps)
    return link_pieces(layout, overlaps, places, platform)


def find_pieces(
    layout: Layout, sequences: Sequences, platform: str, error_rates: np.ndarray, memory: int = MEMORY
) -> tuple[Overlaps, Places]:
    """Return the overlaps of this rank's reads, and where these lie in pieces, as for `link_fragments`. Collective."""
    if layout.count > 2**32:
        raise ConfigError(
            f"{layout.count:,} fragments are more than links can name (2^32)", remedy="cluster fewer samples at once"
        )
    if is_short(platform):
        told = read_qualities(layout.comm, error_rates)
        overlaps = overlap_pairs(layout, sequences, told, memory)
    else:
        overlaps, _ = overlap_long_reads(layout, sequences, error_rates, memory)
    reads = Layout(layout.comm, 2 * layout.firsts)
    lengths = overlaps.lengths
    places = walk(reads, overlaps.best, -overlaps.overlaps, lengths)
    places = place_contained(reads, places, overlaps.containers, overlaps.offsets, lengths)
    inserts = measure_inserts(layout, places, lengths)
    if inserts is not None:
        tell(f"inserts of {inserts.median} bases (spread {inserts.spread})", _CHAINED)
        places = join_chains(reads, places, lengths, inserts)
    return overlaps, places


def link_pieces(layout: Layout, overlaps: Overlaps, places: Places, platform: str) -> Linkage:
    """Return the stretches of pieces, and the links between them. Collective."""
    bases = measure_pieces(layout, places)
    shortest, ratios = (_SHORT_STRETCH, _SHORT_RATIOS) if is_short(platform) else (_LONG_STRETCH, _LONG_RATIOS)
    stretches = cut_pieces(layout, places, overlaps.lengths, shortest, ratios)
    links = link_stretches(layout, overlaps, stretches.of_reads)
    counts = [(level == layout.ids).sum() for level in stretches.levels]
    *made, total = sum_integers(layout.comm, np.array([*counts, len(links)], np.int64)).tolist()
    tell(f"{bases:,} bases in pieces, cut into {' or '.join(f'{n:,}' for n in made)} stretches; {total:,} links", 1)
    against = oppose_stretches(layout, overlaps, stretches.of_reads)
    first, second, count = links.T
    return Linkage(stretches.levels, stretches.depths, first, second, count, against, is_short(platform))
