"""Staging: bring a sample's shards to the file system of the MPI job, whole and verified.

Each shard is copied under a temporary name while its checksum is computed, and gets its name when the checksum is the
manifest's. The manifest is copied last: where it stands, all shards stand. A second run copies only what is missing.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from readclade.errors import InputError, ReadcladeError
from readclade.files import remove_leftovers, replace_when_done
from readclade.manifest import Manifest, Shard, read_manifest

_ATTEMPTS = 2
_BLOCK_BYTES = 1 << 22


def stage_shards(
    manifest_path: Path, out: Path, streams: int = 1, report: Callable[[str], None] = lambda line: None
) -> Manifest:
    """Copy the shards of a manifest, then the manifest, into `out`.

    Args:
        streams: copies at the same time, >= 1.

    Raises:
        InputError: a shard is missing or does not have its checksum after a second attempt; names every such shard.
        OSError: the source cannot be read or the target not written; nothing half-written is left.
        ReadcladeError: the target has too little free space.
    """
    manifest = read_manifest(manifest_path)
    source = manifest_path.parent
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    names = {shard.file for shard in manifest.shards}
    stale = [path for path in out.glob("*.parquet") if path.name not in names]
    missing = [shard for shard in manifest.shards if not shard.is_intact(out)]
    if stale or missing:
        (out / manifest_path.name).unlink(missing_ok=True)
    for path in stale:
        path.unlink()
    _check_space(out, missing)
    report(f"{len(manifest.shards) - len(missing)} of {len(manifest.shards)} shards are there already")
    started, copied, failed = time.monotonic(), 0, []
    with ThreadPoolExecutor(streams) as pool:
        copies = {pool.submit(_copy_shard, shard, source, out): shard for shard in missing}
        for number, copy in enumerate(as_completed(copies), 1):
            if problem := copy.result():
                failed.append(problem)
                continue
            copied += copies[copy].bytes
            rate = copied / max(time.monotonic() - started, 1e-9) / 1e6
            report(f"shard {number} of {len(missing)}: {copied / 1e6:,.1f} MB, {rate:,.0f} MB a second")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(manifest.shards)} shards cannot be staged: {'; '.join(sorted(failed))}",
            path=manifest_path,
            remedy="delete these shards and run the workflow again: `embed` makes only them anew",
        )
    with replace_when_done(out / manifest_path.name) as temporary:
        shutil.copyfile(manifest_path, temporary)
    return manifest


def _check_space(out: Path, missing: list[Shard]) -> None:
    needed, free = sum(shard.bytes for shard in missing), shutil.disk_usage(out).free
    if needed > free:
        raise ReadcladeError(
            f"{out} has {free / 1e9:,.1f} GB free, but the shards need {needed / 1e9:,.1f} GB",
            remedy="free some space, or stage to another file system",
        )


def _copy_shard(shard: Shard, source: Path, out: Path) -> str | None:
    """Copy one shard; return None, or what is wrong with it."""
    problem = None
    for _ in range(_ATTEMPTS):
        try:
            with replace_when_done(out / shard.file) as temporary:
                checksum = _copy_and_hash(source / shard.file, temporary)
                if checksum != shard.sha256:
                    # Raised inside the block, so that the copy is removed.
                    raise ValueError(
                        f"{shard.file} has the checksum {checksum[:12]}..., expected {shard.sha256[:12]}..."
                    )
            return None
        except FileNotFoundError:
            return f"{shard.file} is missing"
        except ValueError as error:
            problem = str(error)
    return problem


def _copy_and_hash(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while block := reader.read(_BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()
