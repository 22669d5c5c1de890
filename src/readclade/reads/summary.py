"""The reads of one sample, looked at once: validated, counted, summarised, and divided into shards.

`summarise_reads` is what `fetch` does. Its result is the plan of the sample, `reads.json`.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads import fastq
from readclade.reads.plan import PlannedLane, ReadPlan
from readclade.reads.records import find_layout
from readclade.reads.scan import LaneScan
from readclade.storage.files import write_atomically

_log = logging.getLogger(__name__)


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
    (out / "index").mkdir(parents=True, exist_ok=True)
    scan = LaneScan(platform, shard_bases, out)
    planned: list[PlannedLane] = []
    for number, lane in enumerate(map(find_layout, lanes)):
        first_shard = len(scan.shards)
        try:
            scanned = scan.read(lane, number)
        except InputError:
            # Damaged gzip data can look like a broken record; the checksum at their end tells the cause.
            for path in lane.paths:
                fastq.check_compression(path)
            raise
        indexes = tuple(
            _index_file(path, etag, out, f"lane{number + 1}_{mate + 1}", threads, len(scan.shards) - first_shard)
            for mate, (path, etag) in enumerate(zip(lane.paths, scanned.etags, strict=True))
        )
        planned.append(replace(scanned, indexes=indexes, origins=tuple(origins[number]) if origins else None))
        if cleaning is None:
            _compare_with_download(planned[-1])
    if not scan.statistics.known_bases:
        raise InputError(
            f"holds no known base in {sum(lane.reads for lane in planned):,} reads",
            path=lanes[0].fq1,
            remedy="drop this sample, or look at how the reads were made: all letters are N",
        )
    lengths, gc, unknown_bases, qualities = scan.statistics.summarise()
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
        artefacts=scan.statistics.artefacts.summarise(),
        warnings=scan.list_warnings(cleaning),
        repeated=scan.repeated,
        lanes=tuple(planned),
        cleaning=cleaning,
        shards=tuple(scan.shards),
    )
    for warning in plan.warnings:
        _log.warning(f"warning: {warning}")
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
    index = fastq.write_seek_index(path, str(out / "index" / name), threads, etag)
    return f"index/{Path(index).name}"
