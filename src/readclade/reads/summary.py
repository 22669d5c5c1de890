"""The reads of one sample, looked at once: validated, counted, summarised, and divided into shards.

`summarise_reads` is what `fetch` does. Its result is the plan of the sample, `reads.json`.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads import fastq
from readclade.reads.plan import PlannedLane, PlannedShard, ReadPlan
from readclade.reads.records import open_lane
from readclade.reads.statistics import ReadStatistics, check_phred
from readclade.storage import locations
from readclade.storage.files import write_atomically

_log = logging.getLogger(__name__)

_BATCH_BASES = 1 << 23


def summarise_reads(
    sample: str,
    platform: str,
    lanes: list[Lane],
    out: Path,
    shard_bases: int,
    threads: int = 1,
    origins: list[list[dict[str, Any]]] | None = None,
    cleaning: dict[str, Any] | None = None,
) -> ReadPlan:
    """Validate and count a sample's reads in one pass, and write `reads.json` and the seek indexes into `out`.

    A shard ends with the first fragment at which it holds `shard_bases` bases or more, and with its lane.

    Args:
        lanes: the sample's files, in the order that numbers its fragments.
        out: folder; `index/` in it takes one seek index per compressed file that holds more than one shard.
        shard_bases: bases per shard, >= 1.
        origins, cleaning: what `lanes.json` says of downloaded or cleaned lanes; passed on.

    Raises:
        InputError: names the file, the line and the remedy.
    """
    statistics = ReadStatistics()
    shards: list[PlannedShard] = []
    planned: list[PlannedLane] = []
    (out / "index").mkdir(parents=True, exist_ok=True)
    for number, lane in enumerate(lanes):
        first_shard = len(shards)
        earlier = statistics.qualities.copy()
        try:
            scanned = _scan_lane(lane, number, shards, statistics, shard_bases)
        except InputError:
            # Damaged gzip data can look like a broken record; the checksum at their end tells the cause.
            for path in lane.paths:
                fastq.check_compression(path)
            raise
        check_phred(statistics.qualities - earlier, platform, lane.fq1)
        indexes = tuple(
            _index_file(path, etag, out, f"lane{number + 1}_{mate + 1}", threads, len(shards) - first_shard)
            for mate, (path, etag) in enumerate(zip(lane.paths, scanned.etags, strict=True))
        )
        planned.append(replace(scanned, indexes=indexes, origins=tuple(origins[number]) if origins else None))
        if cleaning is None:
            _compare_with_download(planned[-1])
    lengths, gc, unknown_bases, qualities = statistics.summarise()
    plan = ReadPlan(
        sample=sample,
        platform=platform,
        fragments=sum(lane.fragments for lane in planned),
        reads=sum(lane.reads for lane in planned),
        bases=sum(lane.bases for lane in planned),
        lengths=lengths,
        gc=gc,
        unknown_bases=unknown_bases,
        qualities=qualities,
        lanes=tuple(planned),
        cleaning=cleaning,
        shards=tuple(shards),
    )
    write_atomically(out / "reads.json", plan.to_json())
    return plan


def _compare_with_download(planned: PlannedLane) -> None:
    """Refuse a file that was changed after it was downloaded."""
    if planned.origins is None:
        return
    for path, sha256, origin in zip(planned.lane.paths, planned.sha256, planned.origins, strict=True):
        if origin.get("sha256", sha256) != sha256:
            raise InputError(
                "is not the file that was downloaded: its checksum changed",
                path=path,
                remedy="remove it, so that the next run downloads it again",
            )


def _index_file(path: str, etag: str | None, out: Path, name: str, threads: int, shards: int) -> str | None:
    """Write a seek index where one is needed; return its path relative to `out`."""
    compression = fastq.get_compression(path)
    if shards < 2 or not compression:
        return None
    name += fastq.INDEX_SUFFIXES[compression]
    fastq.write_seek_index(path, str(out / "index" / name), threads, etag)
    return f"index/{name}"


def _get_etag(path: str) -> str | None:
    """Return the version of an object on S3; None for a local file."""
    if not locations.is_s3(path):
        return None
    info = locations.find(path)
    if info is None:
        raise InputError("does not exist", path=path, remedy="correct the URL; keys are case-sensitive")
    return info.etag


def _scan_lane(
    lane: Lane, number: int, shards: list[PlannedShard], statistics: ReadStatistics, shard_bases: int
) -> PlannedLane:
    """Read one lane through; append its shards and add to the statistics. The lane lacks its indexes and origins."""
    paths = lane.paths
    begin = (0,) * len(paths)
    bases = shard_fragments = shard_size = 0
    first_fragment = shards[-1].first_fragment + shards[-1].fragments if shards else 0
    batches: list[tuple[list, list]] = [([], []) for _ in paths]  # per file: sequences, qualities
    batch_bases = batched = 0
    started = told = time.monotonic()

    def close_batch():
        nonlocal batch_bases, batched
        for path, (sequences, qualities) in zip(paths, batches, strict=True):
            statistics.add(sequences, qualities, path, batched * reader.lines // 4)
            sequences.clear()
            qualities.clear()
        batched, batch_bases = reader.fragments, 0

    def close_shard():
        nonlocal begin, shard_fragments, shard_size
        end = reader.get_offsets()
        first = first_fragment + reader.fragments - shard_fragments
        shards.append(PlannedShard(number, first, shard_fragments, shard_size, begin, end))
        begin, shard_fragments, shard_size = end, 0, 0

    etags = [_get_etag(path) for path in paths]
    with open_lane(lane, etags) as reader:
        for record, mate in reader:
            sequences, qualities = batches[0]
            sequences.append(record.sequence)
            qualities.append(record.qualities)
            size = len(record.sequence)
            if mate is not None:
                sequences, qualities = batches[-1]
                sequences.append(mate.sequence)
                qualities.append(mate.qualities)
                size += len(mate.sequence)
            if not record.id:
                line = reader.lines * (reader.fragments - 1)
                raise InputError(
                    f"read {line // 4 + 1:,} has no name",
                    path=lane.fq1,
                    line=line + 1,
                    remedy="give every read a name after '@'",
                )
            bases += size
            shard_fragments += 1
            shard_size += size
            batch_bases += size
            if batch_bases >= _BATCH_BASES:
                close_batch()
                if time.monotonic() - told > 5:
                    told = time.monotonic()
                    speed = bases / (told - started) / 1e6
                    _log.info(f"{lane.fq1}: {reader.fragments:,} fragments, {speed:.0f} Mb a second")
            if shard_size >= shard_bases:
                close_shard()
        close_batch()
        if shard_fragments:
            close_shard()
        checksums = reader.get_sha256()
    fragments = reader.fragments
    if not fragments:
        raise InputError("holds no reads", path=lane.fq1, remedy="check that the download finished, or drop this row")
    reads = fragments * (1 if lane.fq2 is None else 2)
    return PlannedLane(lane.fq1, lane.fq2, checksums, tuple(etags), fragments, reads, bases, ())
