"""What decides the bytes of a sample's shards, as a checksum, and the names of their files that follow from it.

On S3 a shard's name ends with its edition: an actor that outlived its driver cannot write over the shards of a later
run with other parameters, whenever it finishes.
"""

import hashlib
import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from readclade.code_files import find_sources
from readclade.reads.plan import ReadPlan
from readclade.shards.manifest import Manifest
from readclade.storage.files import hash_file
from readclade.storage.locations import is_s3

_MAKER = Path(__file__).parents[1] / "embedding/job.py"


def get_fingerprint(plan: ReadPlan, embedder: list[Any], d: int, **more: str) -> str:
    """Return the SHA-256 over all that decides the shards' content, and over what else tells requests apart.

    Args:
        embedder: its name, and what decides its vectors.
        d: most values an embedding may have.
    """
    decisive = {
        "lanes": [lane.sha256 for lane in plan.lanes],
        "shards": [asdict(shard) for shard in plan.shards],
        "repeated": plan.repeated,
        "embedder": embedder,
        "d": d,
        "code": [hash_file(path) for path in find_sources(_MAKER)],
    }
    return hashlib.sha256(json.dumps(decisive | more, sort_keys=True).encode()).hexdigest()


def get_edition(manifest: Manifest) -> str:
    """Return 12 hexadecimal digits that stand for the reads, the embedder and the projection."""
    decisive = json.dumps([manifest.fingerprint, manifest.embedder, manifest.d], sort_keys=True)
    return hashlib.sha256(decisive.encode()).hexdigest()[:12]


def get_shard_file(index: int, folder: str | PathLike[str], edition: str) -> str:
    """Return the file name of a shard in a folder."""
    return f"shard-{index:05d}-{edition}.parquet" if is_s3(folder) else f"shard-{index:05d}.parquet"


def is_stale(name: str, folder: str | PathLike[str], edition: str) -> bool:
    """Return whether a file in a folder of shards is a shard of another edition."""
    is_shard = name.startswith("shard-") and name.endswith(".parquet")
    return is_shard and not (is_s3(folder) and name.endswith(f"-{edition}.parquet"))
