"""What DNA would translate to: words of amino acids in all six frames."""

import numba
import numpy as np

# By codon in the order AAA, AAC, AAG, AAT, ACA, ...: the standard genetic code.
_CODE = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"
STOP = 255
AMINO_ACID_BITS = 5


def make_codon_table() -> np.ndarray:
    """Return (64,) uint8: the amino acid of each codon, 0 .. 19 in the order of their letters, or STOP."""
    acids = sorted(set(_CODE) - {"*"})
    return np.array([STOP if acid == "*" else acids.index(acid) for acid in _CODE], np.uint8)


@numba.njit(cache=True)
def add_codon(codon, strand, frame, table, amino_acids, proteins, runs):
    """Let the word of a strand and frame take in the codon that was read last; return how long its run is.

    The word is complete where the run is `amino_acids` or longer; the run is 0 after a stop. A generator of words would
    spare its callers their loops over letters, but takes thirteen times as long.

    Args:
        codon: 0 .. 63, of the strand that is read.
        strand: 0, or 1 for the other strand, whose words grow at their beginning.
        amino_acids: of a word, at most 12.
        proteins: (2, 3) uint64, the last amino acids by strand and frame: 5 bits each, the first one highest.
        runs: (2, 3) int64, codons without a stop so far; 0 where a letter was unknown.
    """
    bits = np.uint64(AMINO_ACID_BITS)
    turned = ((3 - (codon & 3)) << 4) | ((3 - ((codon >> 2) & 3)) << 2) | (3 - (codon >> 4))
    acid = table[turned if strand else codon]
    if acid == STOP:
        runs[strand, frame] = 0
    else:
        runs[strand, frame] += 1
        if strand == 0:
            mask = (np.uint64(1) << np.uint64(AMINO_ACID_BITS * amino_acids)) - np.uint64(1)
            proteins[0, frame] = ((proteins[0, frame] << bits) | np.uint64(acid)) & mask
        else:
            top = np.uint64(AMINO_ACID_BITS * (amino_acids - 1))
            proteins[1, frame] = (proteins[1, frame] >> bits) | (np.uint64(acid) << top)
    return runs[strand, frame]
