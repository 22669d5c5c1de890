"""The one pass of `fetch` over the lanes of a sample: it counts, divides into shards, and looks for what is wrong."""

import logging
import time
from dataclasses import dataclass, field
from os import PathLike
from pathlib import PurePosixPath
from typing import Any

import dnaio

from readclade.errors import InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads import fastq
from readclade.reads.adapters import find_artefacts, list_shares
from readclade.reads.names import are_mates, get_mate_number
from readclade.reads.plan import PlannedLane, PlannedShard
from readclade.reads.records import FragmentReader, get_fragment_name, open_lane
from readclade.reads.repeats import NameBook
from readclade.reads.statistics import FileStatistics, ReadStatistics, check_phred
from readclade.storage import locations

_log = logging.getLogger(__name__)

_BATCH_BASES = 1 << 23


@dataclass
class _Batch:
    """The reads of one file that are not counted yet."""

    path: str
    file: FileStatistics = field(default_factory=FileStatistics)
    sequences: list[str] = field(default_factory=list)
    qualities: list[str] = field(default_factory=list)

    def append(self, record: dnaio.SequenceRecord) -> None:
        self.sequences.append(record.sequence)
        self.qualities.append(record.qualities or "")

    def close(self, statistics: ReadStatistics, first_read: int) -> None:
        statistics.add(self.sequences, self.qualities, self.path, first_read, self.file)
        self.sequences.clear()
        self.qualities.clear()


class LaneScan:
    """Read lane after lane.

    Attributes:
        statistics: over all lanes.
        shards: of all lanes, in order.
        repeated: see `ReadPlan`; complete when `list_warnings` was called.
    """

    def __init__(self, platform: str, shard_bases: int, folder: str | PathLike[str]):
        """Begin.

        Args:
            shard_bases: bases at which a shard is full.
            folder: of temporary files.
        """
        self.statistics = ReadStatistics()
        self.shards: list[PlannedShard] = []
        self.repeated: tuple[tuple[int, int], ...] = ()
        self._platform, self._shard_bases = platform, shard_bases
        self._book = NameBook(folder)
        self._paths: dict[bytes, str] = {}  # by the digest of the reads
        self._warnings: list[str] = []

    def read(self, lane: Lane, number: int) -> PlannedLane:
        """Read a lane through; append its shards. The result lacks its indexes and origins.

        Raises:
            InputError: names the file, the line and the remedy.
        """
        etags = [_get_etag(path) for path in lane.paths]
        for path in lane.paths:
            if fastq.lacks_end(path):
                self._warnings.append(
                    f"{path}: has no empty block at its end, as bgzip files of bcl2fastq and DRAGEN have none; compare "
                    "its size or checksum with the source's, because a file that was cut off can look the same"
                )
        with open_lane(lane, etags) as reader:
            bases = self._read(lane, number, reader)
            checksums = reader.get_sha256()
        if not reader.fragments:
            raise InputError(
                "holds no reads", path=lane.fq1, remedy="check that the download finished, or drop this row"
            )
        reads = reader.fragments * (1 if lane.fq2 is None else 2)
        return PlannedLane(lane.fq1, lane.fq2, checksums, tuple(etags), reader.fragments, reads, bases, ())

    def list_warnings(self, cleaning: dict[str, Any] | None) -> tuple[str, ...]:
        """Return what looks wrong and may not be.

        Args:
            cleaning: what cleaning did, None where it did nothing.
        """
        self.repeated = self._book.find_repeated()
        count = sum(many for _, many in self.repeated)
        warnings = list(self._warnings)
        if count:
            warnings.append(
                f"{count:,} fragments have a name that an earlier one has (the first is fragment "
                f"{self.repeated[0][0]}): ~ and their number are put behind it; give every fragment a name of its own"
            )
        found = find_artefacts(self.statistics.artefacts.summarise(), self.statistics.artefacts.reads)
        if found and self._platform == "illumina":
            after = "" if cleaning is None else " after cleaning"
            warnings.append(
                f"{list_shares(found)}{after}: they link reads of different organisms; set cleaning.adapters to auto, "
                "which cuts them"
            )
        return tuple(warnings)

    def _read(self, lane: Lane, number: int, reader: FragmentReader) -> int:
        """Read the records of a lane; return their bases."""
        paths = lane.paths
        begin = (0,) * len(paths)
        bases = shard_fragments = shard_size = batch_bases = batched = 0
        first_fragment = self.shards[-1].first_fragment + self.shards[-1].fragments if self.shards else 0
        batches = [_Batch(path) for path in paths]
        names: list[str] = []
        pace = _Pace(lane.fq1)
        alternation = _Alternation(lane, self._platform)

        def close_batch():
            nonlocal batch_bases, batched
            for batch in batches:
                batch.close(self.statistics, batched * reader.lines // 4)
            self._book.add(names)
            names.clear()
            batched, batch_bases = reader.fragments, 0

        def close_shard():
            nonlocal begin, shard_fragments, shard_size
            end = reader.get_offsets()
            first = first_fragment + reader.fragments - shard_fragments
            self.shards.append(PlannedShard(number, first, shard_fragments, shard_size, begin, end))
            begin, shard_fragments, shard_size = end, 0, 0

        for record, mate in reader:
            if not record.id:
                raise _fail_nameless(lane.fq1, reader)
            names.append(get_fragment_name(record, mate, self._platform))
            batches[0].append(record)
            size = len(record.sequence)
            if mate is None:
                alternation.add(record)
            else:
                batches[-1].append(mate)
                size += len(mate.sequence)
            bases += size
            shard_fragments += 1
            shard_size += size
            batch_bases += size
            if batch_bases >= _BATCH_BASES:
                close_batch()
                pace.tell(reader.fragments, bases)
            if shard_size >= self._shard_bases:
                close_shard()
        close_batch()
        if shard_fragments:
            close_shard()
        self._check_files(batches)
        self._warnings += alternation.list_warnings()
        return bases

    def _check_files(self, batches: list[_Batch]) -> None:
        """Refuse files with old qualities, and files whose reads another one has."""
        for batch in batches:
            check_phred(batch.file.qualities, self._platform, batch.path)
            digest = batch.file.get_digest()
            if batch.file.qualities.any() and digest in self._paths:
                raise InputError(
                    f"holds the same reads as {PurePosixPath(self._paths[digest]).name}",
                    path=batch.path,
                    remedy="list every file only once, and the second mates, not the first ones again, as fq2",
                )
            self._paths[digest] = batch.path


class _Alternation:
    """Notice pairs that alternate in a file of single reads: each would count as two fragments."""

    def __init__(self, lane: Lane, platform: str):
        self._lane = lane
        self._is_likely = platform == "illumina" and lane.fq2 is None
        self._reads = 0
        self._last: dnaio.SequenceRecord | None = None

    def add(self, record: dnaio.SequenceRecord) -> None:
        """Add the next read."""
        if not self._is_likely:
            return
        self._reads += 1
        if self._reads % 2:
            self._last = record
        elif self._last is not None:
            numbers = get_mate_number(self._last.name), get_mate_number(record.name)
            self._is_likely = are_mates(self._last.id, record.id) and numbers in ((1, 2), (0, 0))

    def list_warnings(self) -> list[str]:
        """Return the warning, if every two reads are mates."""
        if not self._is_likely or self._reads < 2 or self._reads % 2:
            return []
        return [
            f"{self._lane.fq1}: looks interleaved, a first mate and a second one in turn, and is read as single reads; "
            f"write {INTERLEAVED} as fq2"
        ]


class _Pace:
    """Tell every few seconds how far it is."""

    def __init__(self, path: str):
        self._path = path
        self._started = self._told = time.monotonic()

    def tell(self, fragments: int, bases: int) -> None:
        now = time.monotonic()
        if now - self._told > 5:
            self._told = now
            speed = bases / (now - self._started) / 1e6
            _log.info(f"{self._path}: {fragments:,} fragments, {speed:.0f} Mb a second")


def _fail_nameless(path: str, reader: FragmentReader) -> InputError:
    line = reader.lines * (reader.fragments - 1)
    return InputError(
        f"read {line // 4 + 1:,} has no name", path=path, line=line + 1, remedy="give every read a name after '@'"
    )


def _get_etag(path: str) -> str | None:
    """Return the version of an object on S3; None for a local file."""
    if not locations.is_s3(path):
        return None
    info = locations.find(path)
    if info is None:
        raise InputError("does not exist", path=path, remedy="correct the URL; keys are case-sensitive")
    return info.etag
