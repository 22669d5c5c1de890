"""What passes between the machine that asks for shards and a cluster elsewhere that makes them.

Where the shards go to S3, `reads.json` and its indexes are put there too; else both ends must see one folder, and a
mark in it proves that they do. The FASTQ files stay where they are.
"""

from dataclasses import replace
from pathlib import Path

from readclade.errors import ConfigError
from readclade.reads.plan import load_reads
from readclade.shards import store
from readclade.shards.manifest import Manifest, read_manifest
from readclade.storage import locations

_MANIFEST = "manifest.json"


def offer_reads(reads_path: str, location: str) -> str:
    """Put `reads.json` and the indexes beside it where a cluster finds them; return where it finds them.

    Args:
        reads_path: `reads.json`, a path or on S3.
        location: of the shards. On S3, local reads are copied to `<location>.reads/`; else nothing is copied.
    """
    if locations.is_s3(reads_path) or not locations.is_s3(location):
        return reads_path
    target = f"{location}.reads"
    names = [name for lane in load_reads(reads_path).lanes for name in lane.indexes if name]
    for name in [*names, "reads.json"]:  # what names the others comes last
        locations.upload_file(locations.join(locations.get_folder(reads_path), name), locations.join(target, name))
    return locations.join(target, "reads.json")


def mark_folder(location: str, mark: str) -> None:
    """Leave a file in a local folder of shards, by which the cluster knows the folder; on S3 there is no need.

    Args:
        mark: its name, `.NAME.tmp`: what makes the shards takes it for a leftover and removes it.
    """
    if not locations.is_s3(location):
        Path(location).mkdir(parents=True, exist_ok=True)
        locations.write_bytes(locations.join(location, mark), b"")


def check_folder(location: str, mark: str) -> None:
    """Make sure, on the cluster, that a folder is the one that was marked.

    Raises:
        ConfigError: it is another folder of the same name, or there is none.
    """
    if not locations.is_s3(location) and locations.find(locations.join(location, mark)) is None:
        raise ConfigError(
            f"the cluster does not see the folder {location} of the machine that submitted this job",
            remedy="work in a folder that both see under the same path, or give s3://bucket/prefix for the shards"
            " (--store, the resource shard_store of the rule embed)",
        )


def read_whole_manifest(location: str) -> Manifest | None:
    """Return the manifest in a folder or prefix of shards, or None unless all that it lists is there.

    Raises:
        InputError: there is no manifest, or S3 refuses.
    """
    manifest = read_manifest(locations.join(location, _MANIFEST))
    return None if store.list_lost(manifest, location) else manifest


def write_pointer(manifest: Manifest, location: str, out: str) -> None:
    """Write the manifest of shards that lie elsewhere into `out`, with where they lie; nothing where they lie there."""
    if location != out:
        pointer = replace(manifest, location=location)
        if not locations.is_s3(out):
            Path(out).mkdir(parents=True, exist_ok=True)
        locations.write_bytes(locations.join(out, _MANIFEST), pointer.to_json().encode())
