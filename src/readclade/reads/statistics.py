"""What `fetch` counts over the reads of a sample: lengths, letters, GC, qualities; and what it refuses in them."""

import hashlib
from collections import Counter

import numba
import numpy as np

from readclade.errors import InputError
from readclade.nucleotides import NUCLEOTIDES
from readclade.reads.adapters import ArtefactCounts, join_reads
from readclade.reads.plan import Gc, Lengths, Qualities

_GC_BINS = 100
_PHRED_OFFSET = 33
_PHRED_MAX = 93
# What old files count from 64: Solexa's go down to -5, Illumina's up to 41 and, in merged reads, a little more. Merged
# reads of today count from 33 and end at 60, which is 93.
_LEAST_OLD, _MOST_OLD, _MOST_NEW = 59, 110, _PHRED_OFFSET + 60


@numba.njit(cache=True, nogil=True)
def _count_letters(letters, ends, spelling, histogram, gc_histogram):
    """Count the nucleotides of concatenated reads, and the reads by their share of G and C."""
    begin = 0
    for end in ends:
        gc = 0
        known = 0
        for i in range(begin, end):
            letter = spelling[letters[i]]
            histogram[letter] += 1
            gc += (letter == 71) | (letter == 67)
            known += letter != 78
        if known:
            gc_histogram[min(gc * _GC_BINS // known, _GC_BINS - 1)] += 1
        begin = end


class FileStatistics:
    """What tells the content of one file from that of another."""

    def __init__(self):
        self.qualities = np.zeros(256, np.int64)
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, letters: np.ndarray, qualities: np.ndarray) -> None:
        """Add the bytes of reads, and how many bases have each byte of quality (256,)."""
        self._digest.update(letters.tobytes())
        self.qualities += qualities

    def get_digest(self) -> bytes:
        """Return what two files share whose reads have the same bases, whatever their names and compression."""
        return self._digest.digest()


class ReadStatistics:
    """Sums over the reads of all lanes."""

    def __init__(self):
        self.letters = np.zeros(256, np.int64)
        self.qualities = np.zeros(256, np.int64)
        self.gc = np.zeros(_GC_BINS, np.int64)
        self.lengths: Counter[int] = Counter()
        self.artefacts = ArtefactCounts()

    def add(self, sequences: list[str], qualities: list[str], path: str, first_read: int, file: FileStatistics) -> None:
        """Add a batch of reads, to those of their file too.

        Raises:
            InputError: names the first read with a letter or quality that is not allowed.
        """
        self.lengths.update(map(len, sequences))
        bases, ends = join_reads(sequences)
        letters = np.zeros(256, np.int64)
        _count_letters(bases, ends, NUCLEOTIDES, letters, self.gc)
        values = np.bincount(np.frombuffer("".join(qualities).encode("ascii"), np.uint8), minlength=256)
        if letters[0]:
            self._refuse_letters(sequences, path, first_read)
        if values[:_PHRED_OFFSET].any() or values[_PHRED_OFFSET + _PHRED_MAX + 1 :].any():
            self._refuse_qualities(qualities, path, first_read)
        self.letters += letters
        self.qualities += values
        self.artefacts.add(bases, ends)
        file.add(bases, values)

    @property
    def known_bases(self) -> int:
        """The number of bases that are not N."""
        return int(self.letters.sum() - self.letters[ord("N")])

    @staticmethod
    def _refuse_letters(sequences: list[str], path: str, first_read: int) -> None:
        allowed = {chr(letter) for letter in np.flatnonzero(NUCLEOTIDES)}
        for number, sequence in enumerate(sequences, first_read):
            wrong = sorted(set(sequence) - allowed)
            if wrong:
                raise InputError(
                    f"read {number + 1:,} holds {', '.join(map(repr, wrong))}, which is no nucleotide",
                    path=path,
                    line=4 * number + 2,
                    remedy="give the reads as the sequencer wrote them; A, C, G, T, U, N, '.' and IUPAC's are read",
                )

    @staticmethod
    def _refuse_qualities(qualities: list[str], path: str, first_read: int) -> None:
        for number, quality in enumerate(qualities, first_read):
            if any(not _PHRED_OFFSET <= ord(letter) <= _PHRED_OFFSET + _PHRED_MAX for letter in quality):
                raise InputError(
                    f"read {number + 1:,} has a quality outside '!' to '~'",
                    path=path,
                    line=4 * number + 4,
                    remedy="qualities must be in the Phred+33 form of every sequencer since 2011",
                )

    def summarise(self) -> tuple[Lengths, Gc, int, Qualities]:
        """Return what stands in `reads.json`; the number is that of unknown bases."""
        lengths = np.array(sorted(self.lengths), np.int64)
        counts = np.array([self.lengths[length] for length in lengths.tolist()], np.int64)
        bases = lengths * counts
        half = np.searchsorted(np.cumsum(bases[::-1]), bases.sum() / 2) if bases.sum() else 0
        edges = np.unique(np.geomspace(max(lengths[0], 1), lengths[-1] + 1, 61).astype(np.int64))
        quality = self.qualities[_PHRED_OFFSET : _PHRED_OFFSET + _PHRED_MAX + 1]
        known = self.known_bases
        gc = int(self.letters[ord("G")] + self.letters[ord("C")])
        error = quality @ 10 ** (-np.arange(_PHRED_MAX + 1) / 10)
        counts_between = np.histogram(lengths, edges, weights=counts)[0].astype(np.int64)
        return (
            Lengths(
                min=int(lengths[0]),
                max=int(lengths[-1]),
                mean=float(bases.sum() / counts.sum()),
                n50=int(lengths[::-1][half]),
                edges=tuple(edges.tolist()),
                counts=tuple(counts_between.tolist()),
            ),
            Gc(mean=gc / known if known else None, counts=tuple(self.gc.tolist())),
            int(self.letters[ord("N")]),
            Qualities(
                counts=tuple(np.trim_zeros(quality, "b").tolist()),
                mean_error=float(error / quality.sum()) if quality.sum() else None,
            ),
        )


def check_phred(qualities: np.ndarray, platform: str, path: str) -> None:
    """Refuse old files whose qualities count from 64, which would read as nearly free of errors.

    Args:
        qualities: (256,) bases with each byte of quality, of one file.

    Raises:
        InputError: they do.
    """
    present = np.flatnonzero(qualities)
    if platform != "illumina" or not len(present) or present[0] < _LEAST_OLD:
        return
    if _MOST_NEW < present[-1] <= _MOST_OLD:
        raise InputError(
            f"the qualities run from '{chr(present[0])}' to '{chr(present[-1])}', the Phred+64 form of old files",
            path=path,
            remedy="convert them to Phred+33, for example with seqtk seq -VQ64",
        )
