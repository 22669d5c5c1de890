"""Staging: give the MPI job a folder with a sample's manifest and, beside it, every shard whole and verified.

Three ways lead to the same folder: `copy` brings the shards from another disk or S3, `import` lets Lustre load them
from the S3 bucket that it is linked with, `in-place` takes them where they lie. The folder is made under a hidden name
and gets its own when every shard has the manifest's size and checksum: where it stands, all shards stand. What an
interrupted run has brought stays under the hidden name, and the next run goes on from there.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from readclade.errors import ConfigError, InputError, ReadcladeError, StorageError
from readclade.shards.lustre import DataRepository, restore_files
from readclade.shards.manifest import Manifest, Shard, read_manifest
from readclade.shards.store import get_location
from readclade.storage.files import remove_leftovers
from readclade.storage.locations import download_file, is_s3, join

_log = logging.getLogger(__name__)

WAYS = ("copy", "import", "in-place")
_ATTEMPTS = 2


def stage_shards(
    manifest_path: Path,
    out: Path,
    way: str = "copy",
    streams: int = 1,
    data_repository: DataRepository | None = None,
) -> Manifest:
    """Make the folder `out` with the manifest and its shards.

    Args:
        way: one of WAYS.
        streams: shards at the same time, >= 1.
        data_repository: what Lustre is linked with; `import` needs it.

    Raises:
        ConfigError: the way does not fit the place where the shards are.
        InputError: a shard is missing or does not have its checksum; names every such shard.
        StorageError: S3 refuses or fails.
        OSError: the source cannot be read or the target not written.
        ReadcladeError: the target has too little free space.
    """
    manifest = read_manifest(manifest_path)
    source = get_location(manifest, manifest_path)
    work = _open_work_folder(out, {shard.file for shard in manifest.shards})
    if way == "copy":
        failed = _copy(manifest, source, work, streams)
    else:
        folder = _find_local_folder(manifest, source, data_repository if way == "import" else None)
        failed = _link(manifest, folder, work, streams)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(manifest.shards)} shards cannot be staged: {'; '.join(sorted(failed))}",
            path=manifest_path,
            remedy="delete these shards and run the workflow again: `embed` makes only them anew",
        )
    replace(manifest, location=None).write(work / "manifest.json")
    work.rename(out)
    return manifest


def _open_work_folder(out: Path, names: set[str]) -> Path:
    """Return the hidden folder that shards are gathered in; what stands there already, or in `out`, is used again."""
    work = out.with_name(f".{out.name}.incomplete")
    if out.exists():
        shutil.rmtree(work, ignore_errors=True)
        out.rename(work)
    work.mkdir(parents=True, exist_ok=True)
    remove_leftovers(work)
    for path in work.iterdir():
        if path.name not in names:
            path.unlink()
    return work


def _copy(manifest: Manifest, source: str, work: Path, streams: int) -> list[str]:
    for shard in manifest.shards:
        if (work / shard.file).is_symlink():  # left by another way
            (work / shard.file).unlink()
    missing = [shard for shard in manifest.shards if not shard.is_intact(work)]
    _check_space(work, missing)
    _log.info(f"{len(manifest.shards) - len(missing)} of {len(manifest.shards)} shards are there already")
    return _run(missing, lambda shard: _copy_shard(shard, source, work), streams)


def _link(manifest: Manifest, folder: Path, work: Path, streams: int) -> list[str]:
    for shard in manifest.shards:
        (work / shard.file).unlink(missing_ok=True)
        # Relative, so that a moved working directory stays whole.
        (work / shard.file).symlink_to(os.path.relpath(folder / shard.file, os.path.realpath(work)))
    _log.info(f"{len(manifest.shards)} shards stand in {folder}; their checksums are compared")
    return _run(list(manifest.shards), lambda shard: _check_shard(shard, work), streams)


def _find_local_folder(manifest: Manifest, source: str, data_repository: DataRepository | None) -> Path:
    """Return the folder that the shards stand in; have Lustre load them first where they come from S3."""
    if data_repository is not None:
        folder = data_repository.find_folder(source)
        restore_files({folder / shard.file: shard.bytes for shard in manifest.shards})
        return folder
    if is_s3(source):
        raise ConfigError(
            f"{source} is on S3, where the ranks cannot read it in place",
            remedy="set `staging: copy` for the rule `stage` in the profile, or `import` where Lustre is linked to S3",
        )
    return Path(os.path.realpath(source))


def _run(shards: list[Shard], work: Callable[[Shard], str | None], streams: int) -> list[str]:
    """Do the work for every shard, several at a time; return what is wrong with the shards that failed."""
    started, done, failed = time.monotonic(), 0, []
    with ThreadPoolExecutor(streams) as pool:
        tasks = {pool.submit(work, shard): shard for shard in shards}
        for number, task in enumerate(as_completed(tasks), 1):
            if problem := task.result():
                failed.append(problem)
                continue
            done += tasks[task].bytes
            rate = done / max(time.monotonic() - started, 1e-9) / 1e6
            _log.info(f"shard {number} of {len(shards)}: {done / 1e6:,.1f} MB, {rate:,.0f} MB a second")
    return failed


def _check_space(folder: Path, missing: list[Shard]) -> None:
    needed, free = sum(shard.bytes for shard in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise ReadcladeError(
            f"{folder.parent} has {free / 1e9:,.1f} GB free, but the shards need {needed / 1e9:,.1f} GB",
            remedy="free some space, or stage to another file system",
        )


def _copy_shard(shard: Shard, source: str, work: Path) -> str | None:
    """Copy one shard; return None, or what is wrong with it."""
    location = join(source, shard.file)
    problem = None
    for _ in range(_ATTEMPTS):
        try:
            download_file(location, work / shard.file, shard.sha256)
            return None
        except StorageError:
            raise  # the store fails, not the shard
        except InputError as error:
            problem = f"{shard.file} {error.message}"
    return problem


def _check_shard(shard: Shard, work: Path) -> str | None:
    """Compare one shard with the manifest; return None, or what is wrong with it."""
    if not (work / shard.file).exists():
        return f"{shard.file} is missing"
    if not shard.is_complete(work):
        return f"{shard.file} has {(work / shard.file).stat().st_size:,} bytes, expected {shard.bytes:,}"
    return None if shard.is_intact(work) else f"{shard.file} has another checksum than the manifest says"
