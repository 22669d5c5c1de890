"""What a sequencer reads beyond an insert's end: which adapters, and G where a dark flow cell shows nothing.

`fetch` and `clean` look for them in every read by its bases alone; `trimming` cuts them.
"""

from collections.abc import Sequence

import numba
import numpy as np

from readclade.nucleotides import CODES

# What stands behind a first and a second mate that is longer than its insert.
# Source: Illumina Adapter Sequences (1000000002694), "TruSeq" and its transposase adapter "Nextera"; MGI's note on the
# adapters of its libraries.
ADAPTERS = {
    "truseq": ("AGATCGGAAGAGCACACGTCTGAACTCCAGTCA", "AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGT"),
    "nextera": ("CTGTCTCTTATACACATCT",),
    "mgi": ("AAGTCGGAGGCCAAGCGGTCTTAGGAAGACAA", "AAGTCGGATCGTAGCCATGTCGTTCTGTGAGCCAAGGAGTTG"),
}
POLY_G = "poly-g"
ARTEFACTS = (*ADAPTERS, POLY_G)
TAIL_BP = 10
# As many first bases as Trim Galore looks for. Twelve meet by chance in one of 100,000 short reads.
_SEED_BP = 12
_LEAST_SHARE = 0.001
_SEEDS = [(i, sequence[:_SEED_BP]) for i, name in enumerate(ADAPTERS) for sequence in ADAPTERS[name]]
_SEED_CODES = np.array([int("".join(str(CODES[ord(base)]) for base in seed), 4) for _, seed in _SEEDS], np.int64)
_SEED_KINDS = np.array([kind for kind, _ in _SEEDS], np.int64)
_MASK = 4**_SEED_BP - 1


@numba.njit(cache=True, nogil=True)
def _count(letters, ends, codes, seeds, kinds, counts):
    """Add the reads that hold a seed of each kind, that end in G, and that end in C."""
    begin = 0
    found = np.zeros(len(counts), np.bool_)
    for end in ends:
        found[:] = False
        window = 0
        known = 0
        for i in range(begin, end):
            code = codes[letters[i]]
            known = 0 if code > 3 else known + 1
            window = ((window << 2) | (code & 3)) & _MASK
            if known >= _SEED_BP:
                for seed in range(len(seeds)):
                    if window == seeds[seed]:
                        found[kinds[seed]] = True
        for column, code in ((len(counts) - 2, 2), (len(counts) - 1, 1)):
            tail = 0
            while tail < TAIL_BP and begin <= end - 1 - tail and codes[letters[end - 1 - tail]] == code:
                tail += 1
            found[column] = tail == TAIL_BP
        for column in range(len(counts)):
            counts[column] += found[column]
        begin = end


class ArtefactCounts:
    """How many reads hold an adapter, or end in G where their genome does not.

    A genome has as many ends in C as in G, because reads come from both strands: what is more in G is no genome's.
    """

    def __init__(self):
        self.reads = 0
        self._counts = np.zeros(len(ADAPTERS) + 2, np.int64)

    def add(self, letters: np.ndarray, ends: np.ndarray) -> None:
        """Add reads, given their concatenated bytes (bases,) uint8 and where each ends (reads,) int64."""
        self.reads += len(ends)
        _count(letters, ends, CODES, _SEED_CODES, _SEED_KINDS, self._counts)

    def summarise(self) -> dict[str, int]:
        """Return the number of reads with each of `ARTEFACTS`."""
        *adapters, in_g, in_c = self._counts.tolist()
        return dict(zip(ARTEFACTS, [*adapters, max(0, in_g - in_c)], strict=True))

    def find(self) -> dict[str, float]:
        """Return the share of reads with each artefact that more reads hold than do by chance."""
        return find_artefacts(self.summarise(), self.reads)


def find_artefacts(counts: dict[str, int], reads: int) -> dict[str, float]:
    """Return the share of reads with each artefact that more reads hold than do by chance.

    Args:
        counts: reads with each of `ARTEFACTS`.
        reads: how many there are.
    """
    return {name: count / reads for name, count in counts.items() if reads and count / reads >= _LEAST_SHARE}


def list_shares(found: dict[str, float]) -> str:
    """Say in words what was found: "nextera in 12.3 % of the reads, poly-g in 0.4 %"."""
    return ", ".join(f"{name} in {share:.1%} of the reads".replace("%", " %") for name, share in found.items())


def join_reads(sequences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated bytes of reads (bases,) uint8, and where each ends (reads,) int64."""
    ends = np.cumsum(np.fromiter(map(len, sequences), np.int64, len(sequences)), dtype=np.int64)
    return np.frombuffer("".join(sequences).encode("ascii"), np.uint8), ends
