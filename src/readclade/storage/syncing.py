"""The way back: copy the results to S3 (or another disk), each file verified, only what is not there already.

The receipt, a list of all files with their checksums, is written last, at the target and here: where it stands, all
files stand.
"""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from readclade.errors import InputError
from readclade.storage.files import hash_file, write_atomically
from readclade.storage.locations import find, get_sha256, is_s3, join, upload_file, write_bytes

_log = logging.getLogger(__name__)

RECEIPT = "receipt.json"


@dataclass(frozen=True)
class SyncedFile:
    """One file of the results.

    Attributes:
        path: relative to the folder of the results, and to the target.
        bytes: its size.
        sha256: its checksum.
    """

    path: str
    bytes: int
    sha256: str


def sync_results(folder: Path, target: str, receipt: Path, streams: int = 4) -> list[SyncedFile]:
    """Copy all files below a folder to a target, and write the receipt.

    Files at the target that the folder does not have are left alone; the receipt does not list them.

    Args:
        target: s3://bucket/prefix, or a folder on another disk.
        receipt: where the receipt is written here.
        streams: files at the same time, >= 1.

    Raises:
        InputError: there is nothing to copy, or the target cannot be written; what was copied is found by the next run.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise InputError("holds no file", path=folder, remedy="run the workflow to its end first")
    with ThreadPoolExecutor(streams) as pool:
        done = list(pool.map(lambda path: _sync_file(path, folder, target), paths))
    files = [file for file, _ in done]
    text = json.dumps({"target": target, "files": [asdict(file) for file in files]}, indent=1) + "\n"
    write_bytes(join(target, RECEIPT), text.encode())
    write_atomically(receipt, text)
    copied = [file for file, was_copied in done if was_copied]
    _log.info(
        f"{len(copied)} of {len(files)} files copied ({sum(file.bytes for file in copied) / 1e6:,.1f} MB), the others"
        f" were there already; {join(target, RECEIPT)} lists them"
    )
    return files


def _sync_file(path: Path, folder: Path, target: str) -> tuple[SyncedFile, bool]:
    """Copy one file unless it is there with its checksum; return it, and whether it was copied."""
    name = path.relative_to(folder).as_posix()
    file = SyncedFile(name, path.stat().st_size, hash_file(path))
    location = join(target, name)
    there = find(location)
    if there is not None and there.size == file.bytes:
        sha256 = there.sha256 if is_s3(location) else get_sha256(location)
        if sha256 == file.sha256:
            return file, False
    upload_file(path, location, file.sha256)
    return file, True
