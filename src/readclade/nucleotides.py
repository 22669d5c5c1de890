"""What the bytes of reads and genomes stand for."""

import numpy as np

# A, C, G, T in either case as 0 to 3, every other byte as 4.
CODES = np.full(256, 4, np.uint8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _letter in _letters:
        CODES[ord(_letter)] = _code

# What a letter of a read or genome is taken for: itself in upper case, T for U, N for what stands for several bases or
# for a masked or missing one; 0 for what is no nucleotide.
NUCLEOTIDES = np.zeros(256, np.uint8)
for _letter, _base in zip("ACGTNURYSWKMBDHVX.", "ACGTNT" + 12 * "N", strict=True):
    NUCLEOTIDES[[ord(_letter), ord(_letter.lower())]] = ord(_base)
