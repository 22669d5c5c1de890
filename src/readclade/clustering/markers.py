"""Markers: genes that genomes have once, whatever they are, and that plasmids, phages and islands have not.

Ribosomal proteins, polymerases, tRNA synthetases. A cluster that holds far fewer of them than the others do in as long
a stretch is hardly a genome of its own, and two that share none and together hold no more than a genome does are hardly
two (CheckM judges bins by such genes: Parks et al. 2015). Known are words of nine amino acids that three genera or more
have in common; each stands for the marker it is a part of.
"""

import numba
import numpy as np
from mpi4py import MPI
from scipy.stats import poisson

from readclade.clustering.codons import AMINO_ACID_BITS, add_codon, make_codon_table
from readclade.clustering.marker_words import MARKERS
from readclade.clustering.separation import list_nearest_pairs
from readclade.clustering.sequences import Sequences

AMINO_ACIDS = 9  # of a word
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_LIKE_DEPTH = 0.4  # natural logarithm of the ratio of two clusters' depths
# An island. Distances count from 1 on as those of two genomes.
_ISLAND_DISTANCE = 1.6
_FEW = 0.35  # of the markers that the stretch lets expect
_CHANCE = 0.05  # at which a genome would have so few
_SHORT = 0.75  # of the median stretch of the clusters: as long as the others, it is a genome poor in known markers
_TINY_DISTANCE = 2.5
_TINY = 0.1  # of the median stretch of the clusters of like depth: no genome is so short, and markers cannot tell
_DEEP = 2.2  # from which depths differ enough to say that
# Halves of a genome.
_HALF_DISTANCE = 1.25
_COMMON = 160  # two bacteria with a and b known markers have about a b / 160 in common
_TELLING = 0.4  # common markers that two genomes lead to expect: with fewer, having none in common says nothing
_SHARED = 0.1  # of the fewer markers, or one: what a genome holds twice
_WHOLE = 1.6  # times the markers of the median other cluster: two genomes hold more


def encode_word(word: str) -> int:
    """Return the number of a word of amino acids."""
    return sum(_LETTERS.index(letter) << AMINO_ACID_BITS * place for place, letter in enumerate(reversed(word)))


def spell_word(number: int) -> str:
    """Return the word of a number."""
    return "".join(_LETTERS[number >> AMINO_ACID_BITS * place & 31] for place in reversed(range(AMINO_ACIDS)))


def load_markers() -> tuple[np.ndarray, np.ndarray]:
    """Return (w,) uint64, the words in ascending order, and (w,) int64, the marker of each, 0 .. M - 1."""
    markers = [marker.split() for marker in MARKERS.split("\n\n")]
    words = np.array([encode_word(word) for marker in markers for word in marker], np.uint64)
    owners = np.repeat(np.arange(len(markers)), [len(marker) for marker in markers])
    order = words.argsort()
    return words[order], owners[order]


@numba.njit(cache=True)
def _scan(codes, offsets, groups, table, words, owners, found):
    """Mark in `found` the markers of each group, in all six frames."""
    # Whether any word begins with four amino acids: one look spares most searches.
    rest = np.uint64(AMINO_ACID_BITS * (AMINO_ACIDS - 4))
    begins = np.zeros(1 << (4 * AMINO_ACID_BITS), np.bool_)
    for word in words:
        begins[word >> rest] = True
    proteins, runs = np.zeros((2, 3), np.uint64), np.zeros((2, 3), np.int64)
    for i in range(len(groups)):
        if groups[i] < 0:
            continue
        for read in (2 * i, 2 * i + 1):
            runs[:] = 0
            known = codon = 0
            for position in range(offsets[read], offsets[read + 1]):
                code = np.int64(codes[position])
                if code > 3:
                    known = 0
                    runs[:] = 0
                    continue
                codon = ((codon << 2) | code) & 63
                known += 1
                if known < 3:
                    continue
                frame = position % 3
                for strand in range(2):
                    run = add_codon(codon, strand, frame, table, AMINO_ACIDS, proteins, runs)
                    word = proteins[strand, frame]
                    if run >= AMINO_ACIDS and begins[word >> rest]:
                        place = np.searchsorted(words, word)
                        if place < len(words) and words[place] == word:
                            found[groups[i], owners[place]] = True


def find_markers(comm: MPI.Comm, sequences: Sequences, groups: np.ndarray, count: int) -> np.ndarray:
    """Return (count, M) bool, which markers each group holds: on rank 0 of all ranks' fragments. Collective.

    Args:
        groups: (n,) int64, group of each of this rank's fragments, 0 .. count - 1, or -1 for none.
    """
    words, owners = load_markers()
    found = np.zeros((count, owners.max() + 1), bool)
    _scan(sequences.codes, sequences.offsets, groups, make_codon_table(), words, owners, found)
    total = np.zeros_like(found)
    comm.Reduce(found, total, op=MPI.LOR)
    return total


def find_island(
    markers: np.ndarray, stretches: np.ndarray, depths: np.ndarray, distances: np.ndarray
) -> tuple[int, int] | None:
    """Return the nearest two clusters of which one is an island in the other, or None.

    They are each other's nearest and of like depth; one is shorter than most and has far fewer markers than its stretch
    lets expect, and than the other has; and no marker is in both, as many would be if both were genomes. Or the one is
    far shorter than what is as deep.

    Args:
        markers: (K, M) bool, which of them each cluster holds.
        stretches: (K,) > 0, of genome.
        depths: (K,) > 0.
        distances: (K, K), 1 where two clusters just count as two genomes, infinite on the diagonal.
    """
    counts = markers.sum(axis=1)
    expected = counts.sum() * stretches / stretches.sum()
    poor = (counts <= _FEW * expected) & (poisson.cdf(counts, expected) <= _CHANCE)
    poor &= stretches <= _SHORT * np.median(stretches)

    def is_island(distance: float, a: int, b: int) -> bool:
        """Whether `a` is one in `b`."""
        # Two genomes poor in known markers are poor alike.
        is_poorer = counts[a] * stretches[b] <= _FEW * counts[b] * stretches[a]
        is_poor = poor[a] and is_poorer and distance < _ISLAND_DISTANCE
        alike = _are_alike(depths, depths[a])
        alike[a] = False
        is_tiny = depths[a] >= _DEEP and stretches[a] <= _TINY * np.median(stretches[alike])
        return (is_poor or is_tiny) and not (markers[a] & markers[b]).any()

    pairs = _list_pairs(depths, distances, _TINY_DISTANCE)
    pairs = [pair for pair in pairs if is_island(*pair) or is_island(pair[0], pair[2], pair[1])]
    return min(pairs)[1:] if pairs else None


def list_halves(markers: np.ndarray, depths: np.ndarray, distances: np.ndarray) -> list[tuple[int, int]]:
    """Return the clusters, two by two, that are halves of one genome.

    They are each other's nearest, nearly too near for two genomes, and of like depth. Two genomes with their markers
    would have some in common, and they have hardly any; together they hold no more than a genome does, as far as the
    other clusters tell. Arguments as `find_island`.
    """
    counts = markers.sum(axis=1)

    def are_halves(a: int, b: int) -> bool:
        shared = (markers[a] & markers[b]).sum()
        others = np.delete(counts, [a, b])
        return (
            counts[a] * counts[b] >= _TELLING * _COMMON
            and shared <= max(_SHARED * min(counts[a], counts[b]), 1)
            and (not len(others) or counts[a] + counts[b] - shared <= _WHOLE * np.median(others))
        )

    return [(a, b) for _, a, b in _list_pairs(depths, distances, _HALF_DISTANCE) if are_halves(a, b)]


def _list_pairs(depths: np.ndarray, distances: np.ndarray, bound: float) -> list[tuple[float, int, int]]:
    """Return (distance, a, b) of clusters of like depth that are each other's nearest and nearer than the bound."""
    pairs = list_nearest_pairs(distances)
    return [pair for pair in pairs if pair[0] < bound and _are_alike(depths[pair[1]], depths[pair[2]])]


def _are_alike(depths: np.ndarray, depth: float) -> np.ndarray:
    return np.abs(np.log(depths / depth)) < _LIKE_DEPTH
