"""Lustre's link with S3: which folder shows a prefix of a bucket, and loading what it shows before ranks read it.

A file that came from the data repository has a name and a size at once, but its data only when they are asked for:
`lfs hsm_restore` asks for them ahead, and `lfs hsm_state` tells which files are still "released". Source: the Lustre
operations manual, chapter "Hierarchical Storage Management", and the FSx for Lustre user guide, "Preloading files".
"""

import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.storage.s3_client import SCHEME

_log = logging.getLogger(__name__)

# Bits of a file's state, from Lustre's lustre_user.h.
_RELEASED, _LOST = 0x04, 0x40
_FILES_PER_CALL = 100  # a command line must not grow without bound
_POLL_SECONDS = 2.0
_PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class DataRepository:
    """A prefix on S3, and the folder on Lustre that shows what lies below it.

    Attributes:
        prefix: such as s3://bucket/shards, without a slash at the end.
        folder: such as /fsx/shards.
    """

    prefix: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> "DataRepository":
        """Return what PREFIX=FOLDER says.

        Raises:
            ConfigError: it has another form.
        """
        prefix, _, folder = text.partition("=")
        if not prefix.startswith(SCHEME) or not folder.startswith("/"):
            raise ConfigError(
                f"data repository '{text}' cannot be used",
                remedy="write s3://BUCKET/PREFIX=/FOLDER, as the file system's data-repository association links them",
            )
        return cls(prefix.rstrip("/"), Path(folder))

    def find_folder(self, location: str) -> Path:
        """Return the folder on Lustre that shows a location on S3.

        Raises:
            ConfigError: the location is not below the prefix.
        """
        if location != self.prefix and not location.startswith(f"{self.prefix}/"):
            raise ConfigError(
                f"{location} is not below {self.prefix}, which {self.folder} is linked with",
                remedy="let `embed` write its shards below the linked prefix, or set `staging: copy` in the profile",
            )
        return self.folder / location[len(self.prefix) :].lstrip("/")


def restore_files(sizes: dict[Path, int], patience: float = _PATIENCE_SECONDS) -> None:
    """Have Lustre load files from its data repository; return when all their data are there.

    Where `lfs hsm_restore` is refused, the reads that verify the files will load them: slower, and as right.

    Args:
        sizes: bytes of each file.
        patience: seconds without any progress after which the wait is given up.

    Raises:
        ConfigError: there is no `lfs` here.
        InputError: a file does not appear, is lost in the repository, or does not arrive.
        ReadcladeError: Lustre has too little free space.
    """
    if shutil.which("lfs") is None:
        raise ConfigError(
            "there is no `lfs` command, so this is no client of Lustre",
            remedy="install the Lustre client, or set `staging: copy` for the rule `stage` in the profile",
        )
    _wait(lambda: [path for path in sizes if not path.exists()], "have not been imported", sizes, patience)
    released = _find_released(list(sizes))
    needed = sum(sizes[path] for path in released)
    if not released:
        _log.info(f"{len(sizes)} of {len(sizes)} shards are loaded already")
        return
    folder = released[0].parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ReadcladeError(
            f"{folder} has {free / 1e9:,.1f} GB free, but the shards need {needed / 1e9:,.1f} GB",
            remedy="release files that are not needed (`lfs hsm_release`), or enlarge the file system",
        )
    for batch in _make_batches(released):
        done = subprocess.run(["lfs", "hsm_restore", *map(str, batch)], capture_output=True, text=True)
        if done.returncode != 0:
            _log.info(f"lfs hsm_restore is refused ({done.stderr.strip()[:300]}); reading the files loads them instead")
            return
    _wait(lambda: _find_released(released), "have not been loaded", sizes, patience)


def _wait(find_open: Callable[[], list[Path]], problem: str, sizes, patience: float) -> None:
    """Wait until no file is open any more; tell about progress, and give up where there is none."""
    total, started = sum(sizes.values()), time.monotonic()
    left, changed = None, started
    while still := find_open():
        if left is None or len(still) < len(left):
            changed = time.monotonic()
            done = total - sum(sizes[path] for path in still)
            _log.info(f"{len(still)} shards to load: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB are there")
        left = still
        if time.monotonic() - changed > patience:
            raise InputError(
                f"{len(still)} shards {problem} for {patience:,.0f} s, such as {still[0].name}",
                path=still[0].parent,
                remedy="check the file system's data-repository association (`lfs hsm_action FILE` tells what runs),"
                " then run the workflow again",
            )
        time.sleep(_POLL_SECONDS)
    if left:
        _log.info(f"all {total / 1e6:,.1f} MB are there after {time.monotonic() - started:.1f} s")


def _make_batches(paths: list[Path]) -> list[list[Path]]:
    return [paths[begin : begin + _FILES_PER_CALL] for begin in range(0, len(paths), _FILES_PER_CALL)]


def _find_released(paths: list[Path]) -> list[Path]:
    """Return the files whose data are not on Lustre."""
    found = []
    for batch in _make_batches(paths):
        done = subprocess.run(["lfs", "hsm_state", *map(str, batch)], capture_output=True, text=True)
        states = dict(re.findall(r"^(.*): \(0x([0-9a-fA-F]+)\)", done.stdout, re.MULTILINE))
        for path in batch:
            if str(path) not in states:
                raise InputError(
                    f"`lfs hsm_state` says nothing about it: {done.stderr.strip()[:300] or 'no reason given'}",
                    path=path,
                    remedy="check that this folder is on Lustre, or set `staging: in-place` in the profile",
                )
            state = int(states[str(path)], 16)
            if state & _LOST:
                raise InputError(
                    "is lost in the data repository",
                    path=path,
                    remedy="delete this shard and run the workflow again: `embed` makes only it anew",
                )
            if state & _RELEASED:
                found.append(path)
    return found
