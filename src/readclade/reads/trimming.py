"""Ends cut off reads by cutadapt: adapters, poly-G tails, bad bases.

Only the bases and qualities of a read decide, never its name or which mate it is.
"""

from collections import Counter
from collections.abc import Iterable

import dnaio

from readclade.errors import needing_package
from readclade.reads.adapters import ADAPTERS, POLY_G, TAIL_BP

# cutadapt's own defaults: one error in ten bases, and no fewer than three bases at the end of a read.
_ERROR_RATE = 0.1
_LEAST_BP = 3
_LONGEST_TAIL_BP = 300  # no two-colour sequencer reads more


class Trimmer:
    """Cut what does not belong to the insert off the end of reads."""

    def __init__(self, artefacts: Iterable[str], min_quality: int = 0):
        """Prepare the cutting.

        Args:
            artefacts: which of `adapters.ARTEFACTS` are cut.
            min_quality: Phred quality of cutadapt's rule for bad ends (BWA's); 0 cuts none.

        Raises:
            ConfigError: cutadapt is not installed.
        """
        with needing_package("cutadapt", "cutting adapters and bad ends", "set cleaning.adapters to none"):
            from cutadapt.adapters import BackAdapter, MultipleAdapters
            from cutadapt.qualtrim import quality_trim_index
        wanted = set(artefacts)
        self._find_bad_end = quality_trim_index
        self._min_quality = min_quality
        self._tail = BackAdapter("G" * _LONGEST_TAIL_BP, max_errors=_ERROR_RATE, min_overlap=TAIL_BP)
        self._cuts_tails = POLY_G in wanted
        sequences = [sequence for name, pair in ADAPTERS.items() if name in wanted for sequence in pair]
        self._adapters = MultipleAdapters(
            [BackAdapter(sequence, max_errors=_ERROR_RATE, min_overlap=_LEAST_BP) for sequence in sequences]
        )

    def trim(self, record: dnaio.SequenceRecord, counts: Counter[str]) -> bool:
        """Shorten a read in place, and add to the counts; return whether it was cut."""
        size = end = len(record.sequence)
        bases = record.sequence.upper()
        if self._min_quality:
            end = self._find_bad_end(record.qualities, 0, self._min_quality)[1]
        if self._cuts_tails and (match := self._tail.match_to(bases[:end])):
            counts.update(reads_with_poly_g=1, poly_g_bases=end - match.rstart)
            end = match.rstart
        if match := self._adapters.match_to(bases[:end]):
            counts.update(reads_with_adapter=1, adapter_bases=end - match.rstart)
            end = match.rstart
        if end == size or record.qualities is None:
            return False
        record.sequence, record.qualities = record.sequence[:end], record.qualities[:end]
        counts.update(bases_cut=size - end)
        return True
