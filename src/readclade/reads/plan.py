"""The reads of one sample, looked at once: validated, counted, summarised, and divided into shards.

`summarise_reads` is what `fetch` does. Its result, `reads.json`, is all that `embed` needs to read any shard alone:
the files and, per shard, the byte range in each.
"""

import json
import logging
import time
from contextlib import ExitStack, closing
from os import PathLike
from pathlib import Path

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads import fastq
from readclade.reads.statistics import ReadStatistics, check_phred
from readclade.storage import locations
from readclade.storage.files import hash_file, write_atomically

_log = logging.getLogger(__name__)

_BATCH_BASES = 1 << 23


def summarise_reads(
    sample: str,
    platform: str,
    lanes: list[Lane],
    out: Path,
    shard_bases: int,
    threads: int = 1,
    origins: list[list[dict]] | None = None,
    cleaning: dict | None = None,
) -> dict:
    """Validate and count a sample's reads in one pass, and write `reads.json` and the seek indexes into `out`.

    A shard ends with the first fragment at which it holds `shard_bases` bases or more, and with its lane.

    Args:
        lanes: the sample's files, in the order that numbers its fragments.
        out: folder; `index/` in it takes one seek index per compressed file that holds more than one shard.
        shard_bases: bases per shard, >= 1.
        origins, cleaning: what `lanes.json` says of downloaded or cleaned lanes; passed on.

    Returns:
        The content of `reads.json`.

    Raises:
        InputError: names the file, the line and the remedy.
    """
    statistics = ReadStatistics()
    shards: list[dict] = []
    described = []
    (out / "index").mkdir(parents=True, exist_ok=True)
    for number, lane in enumerate(lanes):
        first_shard = len(shards)
        earlier = statistics.qualities.copy()
        try:
            described.append(_scan_lane(lane, number, shards, statistics, shard_bases))
        except InputError:
            # Damaged gzip data can look like a broken record; the checksum at their end tells the cause.
            for path in lane.paths:
                fastq.check_compression(path)
            raise
        check_phred(statistics.qualities - earlier, platform, lane.fq1)
        described[-1]["indexes"] = [
            _index_file(path, etag, out, f"lane{number + 1}_{mate + 1}", threads, len(shards) - first_shard)
            for mate, (path, etag) in enumerate(zip(lane.paths, described[-1]["etags"], strict=True))
        ]
        if origins:
            described[-1]["origins"] = origins[number]
            if cleaning is None:
                _compare_with_download(described[-1], paths=lane.paths)
    result = {
        "sample": sample,
        "platform": platform,
        "fragments": sum(lane["fragments"] for lane in described),
        "reads": sum(lane["reads"] for lane in described),
        "bases": sum(lane["bases"] for lane in described),
        **statistics.to_json(),
        "lanes": described,
        **({} if cleaning is None else {"cleaning": cleaning}),
        "shards": shards,
    }
    write_atomically(out / "reads.json", json.dumps(result, indent=1) + "\n")
    return result


def check_reads(reads: dict) -> None:
    """Compare the FASTQ files with the checksums that `fetch` took; a shard must not mix two versions of a file.

    Raises:
        InputError: a file is missing or has changed.
    """
    for described in reads["lanes"]:
        paths = Lane(described["fq1"], described["fq2"]).paths
        for path, checksum, etag in zip(paths, described["sha256"], described["etags"], strict=True):
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
                    "is not the file that `fetch` looked at: its checksum changed",
                    path=path,
                    remedy="run `fetch` again",
                )


def load_reads(path: str | PathLike[str]) -> dict:
    """Read `reads.json`, a local file or an object on S3.

    Raises:
        InputError: it is missing or no JSON.
    """
    try:
        return json.loads(locations.read_bytes(path))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="run `fetch` for this sample") from None


def _compare_with_download(described: dict, paths: list[str]) -> None:
    """Refuse a file that was changed after it was downloaded."""
    for path, sha256, origin in zip(paths, described["sha256"], described["origins"], strict=True):
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


def _scan_lane(lane: Lane, number: int, shards: list[dict], statistics: ReadStatistics, shard_bases: int) -> dict:
    """Read one lane through; append its shards and add to the statistics."""
    paths = lane.paths
    lines = fastq.get_lines_per_fragment(lane)
    begin = [0] * len(paths)
    fragments = bases = shard_fragments = shard_size = 0
    first_fragment = shards[-1]["first_fragment"] + shards[-1]["fragments"] if shards else 0
    batches = [([], []) for _ in paths]  # per file: sequences, qualities
    batch_bases = batched = 0
    started = told = time.monotonic()

    def close_batch():
        nonlocal batch_bases, batched
        for path, (sequences, qualities) in zip(paths, batches, strict=True):
            statistics.add(sequences, qualities, path, batched * lines // 4)
            sequences.clear()
            qualities.clear()
        batched, batch_bases = fragments, 0

    def close_shard():
        nonlocal begin, shard_fragments, shard_size
        end = [stream.get_line_offset(lines * fragments) for stream in streams]
        shards.append(
            {
                "lane": number,
                "first_fragment": first_fragment + fragments - shard_fragments,
                "fragments": shard_fragments,
                "bases": shard_size,
                "begin": begin,
                "end": end,
            }
        )
        begin, shard_fragments, shard_size = end, 0, 0

    etags = [_get_etag(path) for path in paths]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(fastq.open_stream(path, etag))) for path, etag in zip(paths, etags, strict=True)
        ]
        for record, mate in fastq.iterate_fragments(streams, lane):
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
                raise InputError(
                    f"read {lines * fragments // 4 + 1:,} has no name",
                    path=lane.fq1,
                    line=lines * fragments + 1,
                    remedy="give every read a name after '@'",
                )
            fragments += 1
            bases += size
            shard_fragments += 1
            shard_size += size
            batch_bases += size
            if batch_bases >= _BATCH_BASES:
                close_batch()
                for stream in streams:
                    stream.forget_before(lines * fragments)
                if time.monotonic() - told > 5:
                    told = time.monotonic()
                    _log.info(f"{lane.fq1}: {fragments:,} fragments, {bases / (told - started) / 1e6:.0f} Mb a second")
            if shard_size >= shard_bases:
                close_shard()
        close_batch()
        if shard_fragments:
            close_shard()
        checksums = [stream.get_sha256() for stream in streams]
    if not fragments:
        raise InputError("holds no reads", path=lane.fq1, remedy="check that the download finished, or drop this row")
    return {
        "fq1": lane.fq1,
        "fq2": lane.fq2,
        "sha256": checksums,
        "etags": etags,
        "fragments": fragments,
        "reads": fragments * (1 if lane.fq2 is None else 2),
        "bases": bases,
    }
