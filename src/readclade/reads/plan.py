"""What `fetch` found in the reads of a sample, as `reads.json` keeps it.

It is all that `embed` needs to read any shard alone: the files and, per shard, the byte range in each.
"""

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.storage import locations
from readclade.storage.files import hash_file


@dataclass(frozen=True)
class Lengths:
    """The lengths of reads; `counts` is a histogram between `edges`."""

    min: int
    max: int
    mean: float
    n50: int
    edges: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Gc:
    """The share of G and C: over all known bases, None without any, and how many reads by their own, 100 bins."""

    mean: float | None
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Qualities:
    """How many bases have a quality of 0, 1, ..., and their mean error probability, None without a base."""

    counts: tuple[int, ...]
    mean_error: float | None


@dataclass(frozen=True)
class PlannedLane:
    """One lane, as it was read.

    Attributes:
        fq1, fq2: as in a `Lane` without addresses.
        sha256: checksum of each file.
        etags: version of each object on S3; None for a local file.
        indexes: seek index of each file, relative to the folder of `reads.json`; None where none is needed.
        origins: what `lanes.json` says of each file that was downloaded or cleaned.
    """

    fq1: str
    fq2: str | None
    sha256: tuple[str, ...]
    etags: tuple[str | None, ...]
    fragments: int
    reads: int
    bases: int
    indexes: tuple[str | None, ...]
    origins: tuple[dict[str, Any], ...] | None = None

    @property
    def lane(self) -> Lane:
        """The files alone."""
        return Lane(self.fq1, self.fq2)


@dataclass(frozen=True)
class PlannedShard:
    """One range of the sample's fragments: first_fragment .. first_fragment + fragments - 1.

    Attributes:
        lane: number of its lane.
        begin, end: offsets in the decompressed bytes of each file of the lane.
    """

    lane: int
    first_fragment: int
    fragments: int
    bases: int
    begin: tuple[int, ...]
    end: tuple[int, ...]


@dataclass(frozen=True)
class ReadPlan:
    """The content of `reads.json`.

    Attributes:
        unknown_bases: letters N, and letters that stand for several bases.
        artefacts: reads with each of `adapters.ARTEFACTS`.
        warnings: what looks wrong with the reads and may not be, each with a remedy.
        repeated: fragments whose name an earlier one has, as runs (first, how many).
        cleaning: what `lanes.json` says of cleaned lanes; None where nothing was cleaned.
        shards: in the order of their fragments.
    """

    sample: str
    platform: str
    fragments: int
    reads: int
    bases: int
    lengths: Lengths
    gc: Gc
    unknown_bases: int
    qualities: Qualities
    artefacts: dict[str, int]
    warnings: tuple[str, ...]
    repeated: tuple[tuple[int, int], ...]
    lanes: tuple[PlannedLane, ...]
    cleaning: dict[str, Any] | None
    shards: tuple[PlannedShard, ...]

    def list_repeated(self, begin: int, end: int) -> set[int]:
        """Return which of the fragments begin .. end - 1 have a name that an earlier fragment has."""
        runs = self.repeated
        first = bisect_right(runs, begin, key=lambda run: run[0] + run[1])
        found: set[int] = set()
        while first < len(runs) and runs[first][0] < end:
            found.update(range(max(begin, runs[first][0]), min(end, sum(runs[first]))))
            first += 1
        return found

    def to_json(self) -> str:
        """Return the plan as the text of its file."""
        value = asdict(self)
        for owner, name in [(value, "cleaning"), *((lane, "origins") for lane in value["lanes"])]:
            if owner[name] is None:
                del owner[name]
        return json.dumps(value, indent=1) + "\n"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ReadPlan":
        """Return the plan that a file holds.

        Raises:
            ValueError: something is missing, or is there that is not known.
        """
        try:
            parts = {
                "lengths": _make(Lengths, value["lengths"]),
                "gc": _make(Gc, value["gc"]),
                "qualities": _make(Qualities, value["qualities"]),
                "warnings": tuple(value["warnings"]),
                "repeated": tuple((first, count) for first, count in value["repeated"]),
                "lanes": tuple(_make(PlannedLane, lane) for lane in value["lanes"]),
                "shards": tuple(_make(PlannedShard, shard) for shard in value["shards"]),
            }
            return cls(**{"cleaning": None} | value | parts)
        except KeyError as error:
            raise ValueError(f"it has no {error}") from None
        except TypeError as error:
            raise ValueError(str(error)) from None


def _make(kind: type, value: dict[str, Any]) -> Any:
    """Return a part of the plan; JSON knows no tuples."""
    return kind(**{name: tuple(entry) if isinstance(entry, list) else entry for name, entry in value.items()})


def load_reads(path: str | PathLike[str]) -> ReadPlan:
    """Read `reads.json`, a local file or an object on S3.

    Raises:
        InputError: it is missing, no JSON, or lacks something.
    """
    try:
        return ReadPlan.from_json(json.loads(locations.read_bytes(path)))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="run `fetch` for this sample") from None


def check_lane(lane: PlannedLane) -> None:
    """Compare FASTQ files with the checksums that `fetch` took; a shard must not mix two versions of a file.

    Raises:
        InputError: a file is missing or has changed.
    """
    for path, checksum, etag in zip(lane.lane.paths, lane.sha256, lane.etags, strict=True):
        if etag is not None:  # S3 tells the version; to read the object again would cost as much as to embed it
            info = locations.find(path)
            is_same = info is not None and info.etag == etag
        else:
            try:
                is_same = hash_file(path) == checksum
            except OSError as error:
                raise InputError(
                    f"cannot be read: {error.strerror}",
                    path=path,
                    remedy="bring it back; a remote cluster must see it too",
                ) from None
        if not is_same:
            raise InputError(
                "is not the file that `fetch` looked at: its checksum changed", path=path, remedy="run `fetch` again"
            )
