"""Reads without what does not come from the community: adapters, bad ends, host or control DNA, simple repeats.

Each fragment is cleaned where it stands in its file, whatever its name. Mates stay together; fragments keep their
order.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import dnaio
from isal import igzip_threaded
from pydustmasker import DustMasker

from readclade.errors import InputError
from readclade.inputs.lanes import LaneTable
from readclade.inputs.tables import Lane
from readclade.reads.adapters import POLY_G, ArtefactCounts, join_reads, list_shares
from readclade.reads.hosts import HostFinder
from readclade.reads.records import FragmentReader, find_layout, open_lane
from readclade.reads.trimming import Trimmer

_log = logging.getLogger(__name__)

AUTO = "auto"
_BATCH_BASES = 1 << 23
_LEAST_FOR_DUST = 4  # the masker refuses shorter reads

Fragment = list[dnaio.SequenceRecord]  # one read, or two mates


@dataclass(frozen=True)
class Cleaning:
    """Say what is cleaned.

    Attributes:
        adapters: which of `ADAPTERS` are cut, from short reads only, with poly-G tails; `AUTO` for what is found of
            them in each lane, None for none.
        min_quality: Phred quality by which the bad end of a short read is cut, 0 or 1 to 36; 0 is off.
        min_length: bases below which a cut read is dropped, with its mate.
        mask: whether simple repeats become N.
        remove: FASTA file of genomes whose reads are dropped, None for none.
    """

    adapters: str | None = None
    min_quality: int = 0
    min_length: int = 31
    mask: bool = False
    remove: str | None = None


def clean_lanes(table: LaneTable, platform: str, cleaning: Cleaning, out: Path, threads: int) -> LaneTable:
    """Write the cleaned reads of a sample's lanes as gzip files into `out`; lanes with nothing to clean stay.

    Args:
        table: the lanes as they are.
        out: folder, which must not hold anything yet.
        threads: that search for the genomes to remove.

    Returns:
        The lanes that have reads left, with counts over all lanes as `cleaning`, None where all lanes stayed.

    Raises:
        InputError: a file is no sound FASTQ, or no read is left.
        ConfigError: a tool is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    cleaner = _LaneCleaner(platform, cleaning, threads)
    result = LaneTable([])
    is_changed = False
    for number, lane in enumerate(table.lanes):
        origins = table.origins[number] if table.origins else [{"path": path} for path in lane.paths]
        cleaned, checksums = cleaner.clean(lane, out / f"lane{number + 1}")
        is_changed |= bool(checksums)
        if cleaned is None:
            continue
        result.lanes.append(cleaned)
        if checksums:
            origins = [{"sha256": sha256, **origin} for origin, sha256 in zip(origins, checksums, strict=True)]
        result.origins.append(origins)
    counts = cleaner.counts
    if not result.lanes:
        raise InputError(
            f"cleaning left none of {counts['fragments_in']:,} fragments",
            path=table.lanes[0].fq1,
            remedy="look at the keys of 'cleaning' in the configuration, above all whether cleaning.remove names the "
            "genomes that are wanted",
        )
    if is_changed:
        result.cleaning = {"counts": dict(counts), "tools": cleaner.tools, "remove": cleaning.remove}
        if cleaner.artefacts:
            result.cleaning["artefacts"] = sorted(cleaner.artefacts)
    return result


class _LaneCleaner:
    """Clean lane after lane.

    Attributes:
        counts: over all lanes.
        tools: versions of the tools that were needed.
        artefacts: what was cut.
    """

    def __init__(self, platform: str, cleaning: Cleaning, threads: int):
        self.counts: Counter[str] = Counter()
        self.tools: dict[str, str] = {}
        self.artefacts: set[str] = set()
        self._cleaning = cleaning
        self._is_short = platform == "illumina"
        self._hosts = None
        if self._is_short and (cleaning.adapters or cleaning.min_quality):
            Trimmer([])  # where cutadapt is missing, that is said at once
        if cleaning.remove:
            self._hosts = HostFinder(cleaning.remove, platform, threads)
            self.tools["mappy"] = version("mappy")
            self.counts.update(fragments_removed=0, bases_removed=0)
        if cleaning.mask:
            self.counts.update(masked_bases=0)

    def clean(self, lane: Lane, stem: Path) -> tuple[Lane | None, tuple[str, ...]]:
        """Return the lane as it is where nothing has to be done, else the cleaned one, None if no read is left.

        With a cleaned lane come the checksums of the lane's own files, else none.
        """
        lane = find_layout(lane)
        artefacts = self._choose_artefacts(lane)
        trimmer = None
        if self._is_short and (artefacts or self._cleaning.min_quality):
            trimmer = Trimmer(artefacts, self._cleaning.min_quality)
            self.tools["cutadapt"] = version("cutadapt")
            self.artefacts.update(artefacts)
        if trimmer is None and self._hosts is None and not self._cleaning.mask:
            return lane, ()
        before = Counter(self.counts)
        paths = [f"{stem}_{mate}.fastq.gz" for mate in (1, 2)[: 1 if lane.fq2 is None else 2]]
        with open_lane(lane) as reader, ExitStack() as stack:
            writers = [stack.enter_context(igzip_threaded.open(path, "wb", compresslevel=1)) for path in paths]
            for batch in _read_batches(reader):
                for mates in self._clean_batch(batch, trimmer):
                    for record, writer in zip(mates, writers, strict=True):
                        writer.write(record.fastq_bytes())
            checksums = reader.get_sha256()
        left, there = (self.counts[f"fragments_{way}"] - before[f"fragments_{way}"] for way in ("out", "in"))
        _log.info(f"{lane.fq1}: {left:,} of {there:,} fragments are left")
        if not left and there:
            return None, checksums
        return Lane(paths[0], paths[1] if len(paths) == 2 else None), checksums

    def _choose_artefacts(self, lane: Lane) -> list[str]:
        """Return what is cut from the ends of a lane's reads."""
        if not self._is_short or not self._cleaning.adapters:
            return []
        if self._cleaning.adapters != AUTO:
            return [self._cleaning.adapters, POLY_G]
        counts = ArtefactCounts()
        with open_lane(lane) as reader:
            for batch in _read_batches(reader):
                counts.add(*join_reads([record.sequence for mates in batch for record in mates]))
        found = counts.find()
        _log.info(f"{lane.fq1}: {list_shares(found) or 'no adapters and no poly-G tails'}")
        return list(found)

    def _clean_batch(self, batch: list[Fragment], trimmer: Trimmer | None) -> Iterator[Fragment]:
        """Yield what is left of a batch of fragments."""
        counts = self.counts
        kept = batch
        for mates in batch:
            counts.update(fragments_in=1, reads_in=len(mates), bases_in=_count_bases(mates))
        if trimmer is not None:
            kept = []
            for mates in batch:
                cut = [record for record in mates if trimmer.trim(record, counts)]
                if any(len(record.sequence) < self._cleaning.min_length for record in cut):
                    counts.update(reads_too_short=len(mates), bases_cut=_count_bases(mates))
                else:
                    kept.append(mates)
        hits = self._hosts.find(kept) if self._hosts else [False] * len(kept)
        for mates, is_hit in zip(kept, hits, strict=True):
            if is_hit:
                counts.update(fragments_removed=1, bases_removed=_count_bases(mates))
                continue
            if self._cleaning.mask:
                counts.update(masked_bases=sum(map(_mask, mates)))
            counts.update(fragments_out=1, reads_out=len(mates), bases_out=_count_bases(mates))
            yield mates


def _read_batches(reader: FragmentReader) -> Iterator[list[Fragment]]:
    """Yield the fragments of a lane, a bounded number of bases at a time."""
    batch: list[Fragment] = []
    bases = 0
    for record, mate in reader:
        batch.append([record] if mate is None else [record, mate])
        bases += _count_bases(batch[-1])
        if bases >= _BATCH_BASES:
            yield batch
            batch, bases = [], 0
    if batch:
        yield batch


def _count_bases(mates: Fragment) -> int:
    return sum(len(record.sequence) for record in mates)


def _mask(record: dnaio.SequenceRecord) -> int:
    """Replace the simple repeats of a read by N; return how many bases these are.

    Source: Morgulis et al. 2006, symmetric DUST, with the authors' threshold 20 and window 64.
    """
    if len(record.sequence) < _LEAST_FOR_DUST:
        return 0
    masker = DustMasker(record.sequence)
    if masker.n_masked_bases:
        record.sequence = masker.mask(hard=True)
    return masker.n_masked_bases
