"""What `fetch` counts over the reads of a sample: lengths, letters, GC, qualities; and what it refuses in them."""

from collections import Counter

import numba
import numpy as np

from readclade.errors import InputError
from readclade.reads.plan import Gc, Lengths, Qualities

_GC_BINS = 100
_LETTERS = b"ACGTNacgtn"
_PHRED_OFFSET = 33
_PHRED_MAX = 93


@numba.njit(cache=True, nogil=True)
def _count_letters(letters, ends, histogram, gc_histogram):
    """Count the bytes of concatenated reads, and the reads by their share of G and C."""
    begin = 0
    for end in ends:
        gc = 0
        known = 0
        for i in range(begin, end):
            letter = letters[i]
            histogram[letter] += 1
            upper = letter & 0xDF
            gc += (upper == 71) | (upper == 67)
            known += upper != 78
        if known:
            gc_histogram[min(gc * _GC_BINS // known, _GC_BINS - 1)] += 1
        begin = end


class ReadStatistics:
    """Sums over the reads of all lanes."""

    def __init__(self):
        self.letters = np.zeros(256, np.int64)
        self.qualities = np.zeros(256, np.int64)
        self.gc = np.zeros(_GC_BINS, np.int64)
        self.lengths: Counter[int] = Counter()

    def add(self, sequences: list[str], qualities: list[str], path: str, first_read: int) -> None:
        """Add a batch of reads; raise InputError for the first read with a letter or quality that is not allowed."""
        lengths = [len(sequence) for sequence in sequences]
        self.lengths.update(lengths)
        ends = np.cumsum(lengths, dtype=np.int64)
        letters = np.zeros(256, np.int64)
        _count_letters(np.frombuffer("".join(sequences).encode("ascii"), np.uint8), ends, letters, self.gc)
        values = np.bincount(np.frombuffer("".join(qualities).encode("ascii"), np.uint8), minlength=256)
        if letters.sum() != letters[list(_LETTERS)].sum():
            self._refuse_letters(sequences, path, first_read)
        if values[:_PHRED_OFFSET].any() or values[_PHRED_OFFSET + _PHRED_MAX + 1 :].any():
            self._refuse_qualities(qualities, path, first_read)
        self.letters += letters
        self.qualities += values

    @staticmethod
    def _refuse_letters(sequences: list[str], path: str, first_read: int) -> None:
        allowed = set(_LETTERS.decode())
        for number, sequence in enumerate(sequences, first_read):
            wrong = sorted(set(sequence) - allowed)
            if wrong:
                raise InputError(
                    f"read {number + 1:,} holds {', '.join(map(repr, wrong))}, but only A, C, G, T and N are read",
                    path=path,
                    line=4 * number + 2,
                    remedy="replace other letters by N (in RNA, U by T), or give the reads as the sequencer wrote them",
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
        known = sum(int(self.letters[letter]) for letter in b"ACGTacgt")
        gc = sum(int(self.letters[letter]) for letter in b"GCgc")
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
            int(self.letters[ord("N")] + self.letters[ord("n")]),
            Qualities(
                counts=tuple(np.trim_zeros(quality, "b").tolist()),
                mean_error=float(error / quality.sum()) if quality.sum() else None,
            ),
        )


def check_phred(qualities: np.ndarray, platform: str, path: str) -> None:
    """Refuse old Illumina files whose qualities count from 64, which would read as nearly free of errors."""
    present = np.flatnonzero(qualities)
    if platform == "illumina" and len(present) and present[0] >= 64 and present[-1] > 80:
        raise InputError(
            f"the qualities run from '{chr(present[0])}' to '{chr(present[-1])}', the Phred+64 form of old files",
            path=path,
            remedy="convert them to Phred+33, for example with seqtk seq -VQ64",
        )
