"""Markers: genes that genomes have once, whatever they are, and that plasmids, phages and islands have not.

Ribosomal proteins, polymerases, tRNA synthetases. A cluster that holds far fewer of them than the others do in as long
a stretch is hardly a genome of its own, and two that share none and together hold no more than a genome does are hardly
two (CheckM judges bins by such genes: Parks et al. 2015). Known are words of nine amino acids that three genera or more
have in common; each stands for the marker it is a part of.
"""

from pathlib import Path

import numba
import numpy as np
from mpi4py import MPI

from readclade.clustering.genomes.codons import AMINO_ACID_BITS, add_codon, make_codon_table
from readclade.clustering.links.sequences import Sequences

AMINO_ACIDS = 9  # of a word
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def encode_word(word: str) -> int:
    """Return the number of a word of amino acids."""
    return sum(_LETTERS.index(letter) << AMINO_ACID_BITS * place for place, letter in enumerate(reversed(word)))


def spell_word(number: int) -> str:
    """Return the word of a number."""
    return "".join(_LETTERS[number >> AMINO_ACID_BITS * place & 31] for place in reversed(range(AMINO_ACIDS)))


def load_markers() -> tuple[np.ndarray, np.ndarray]:
    """Return (w,) uint64, the words in ascending order, and (w,) int64, the marker of each, 0 .. M - 1."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="ascii").splitlines()
    markers = [line.split() for line in lines if not line.startswith("#")]
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
            known, codon = 0, np.int64(0)
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
    for block in sequences.blocks():
        rows = groups[block.begin : block.end]
        _scan(block.codes, block.offsets, rows, make_codon_table(), words, owners, found)
    total = np.zeros_like(found)
    comm.Reduce(found, total, op=MPI.LOR)
    return total
