"""Where the shards of a sample lie, a folder or a prefix on S3, and which of them are there."""

from concurrent.futures import ThreadPoolExecutor
from os import PathLike

from readclade.shards.manifest import Manifest, Shard
from readclade.storage import locations
from readclade.storage.locations import is_s3

_QUESTIONS = 16  # to S3 at the same time


def get_location(manifest: Manifest, path: str | PathLike[str]) -> str:
    """Return the folder or prefix of the shards of a manifest that was read from `path`."""
    return manifest.location or locations.get_folder(path)


def list_lost(manifest: Manifest, folder: str | PathLike[str], patience: float | None = None) -> list[Shard]:
    """Return the shards that are missing or of the wrong size, from one listing of the folder; no content is read."""
    sizes = locations.list_sizes(folder, patience)
    return [shard for shard in manifest.shards if sizes.get(shard.file) != shard.bytes]


def list_intact(manifest: Manifest, folder: str | PathLike[str]) -> list[Shard]:
    """Return the shards that are there with their size and checksum.

    A local file is read. On S3 the checksum is the one that the uploader put beside the object: S3 compared the bytes
    when they came, and an object that somebody else wrote over has another or none. Staging compares the bytes again.
    """
    lost = {shard.file for shard in list_lost(manifest, folder)}
    there = [shard for shard in manifest.shards if shard.file not in lost]
    with ThreadPoolExecutor(_QUESTIONS if is_s3(folder) else 1) as pool:
        checksums = pool.map(lambda shard: _get_checksum(locations.join(folder, shard.file)), there)
        return [shard for shard, checksum in zip(there, checksums, strict=True) if checksum == shard.sha256]


def _get_checksum(location: str) -> str | None:
    if not is_s3(location):
        return locations.get_sha256(location)
    info = locations.find(location)
    return None if info is None else info.sha256
