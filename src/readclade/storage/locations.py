"""One interface to local paths and s3://bucket/key: where a file lies is its location, a string, and all is said there.

A location is written whole or not at all: a local file under a temporary name that is renamed, an object by a request
or a multipart upload that S3 makes visible when it is complete.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from readclade.errors import InputError
from readclade.storage import s3
from readclade.storage.files import hash_file, remove_leftovers, replace_when_done
from readclade.storage.s3 import ObjectInfo
from readclade.storage.s3_client import SCHEME, get_status, split_url
from readclade.storage.s3_reader import ObjectReader, read_blocks, read_object

_COPY_BYTES = 256 << 10  # what is hashed and written is then still in a core's cache
_FLUSH_BYTES = 8 << 20
_MOST_LISTED = 5000  # objects of a prefix that are listed to find a few of them: five requests


def is_s3(location: str | os.PathLike[str]) -> bool:
    """Return whether a location is a URL of S3 rather than a path."""
    return str(location).startswith(SCHEME)


def join(folder: str | os.PathLike[str], name: str) -> str:
    """Return the location of a name in a folder, which is a prefix on S3."""
    return f"{str(folder).rstrip('/')}/{name}" if is_s3(folder) else os.path.join(folder, name)


def get_folder(location: str | os.PathLike[str]) -> str:
    """Return the folder, or prefix, that a location lies in."""
    return str(location).rpartition("/")[0] if is_s3(location) else os.path.dirname(os.path.abspath(location))


def find(location: str | os.PathLike[str], patience: float | None = None) -> ObjectInfo | None:
    """Return size and version of a file, or None where there is none.

    Args:
        patience: seconds for which S3 is tried again; None for the environment's (`s3_client.get_patience`).

    Raises:
        InputError: S3 refuses, has no such bucket, or cannot be reached.
    """
    if is_s3(location):
        return s3.find_object(str(location), patience)
    try:
        status = os.stat(location)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return ObjectInfo(status.st_size, str(status.st_mtime_ns))


def list_sizes(folder: str | os.PathLike[str], patience: float | None = None) -> dict[str, int]:
    """Return the size in bytes of each file right in a folder, by name, from one listing; nothing where it is missing.

    Temporary files are left out.
    """
    if is_s3(folder):
        names = s3.list_objects(join(folder, ""), patience)
        return {name: info.size for name, info in names if name and "/" not in name}
    try:
        with os.scandir(folder) as entries:
            return {e.name: e.stat().st_size for e in entries if e.is_file() and not e.name.endswith(".tmp")}
    except FileNotFoundError:
        return {}


class Lookup:
    """Finds many files as they stand at one time; the objects of one prefix of S3 are asked for together.

    Where a prefix holds very many objects or may not be listed, each file is asked for by itself.

    Args:
        patience: seconds for which S3 is tried again; None for the environment's.
    """

    def __init__(self, patience: float | None = None):
        self._patience = patience
        self._folders: dict[str, dict[str, ObjectInfo] | None] = {}

    def find(self, location: str) -> ObjectInfo | None:
        """Return size and version of a file, or None where there is none.

        Raises:
            InputError: as `find` does.
        """
        folder, _, name = location.rpartition("/")
        if not is_s3(location) or not split_url(location)[1]:
            return find(location, self._patience)
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        objects = self._folders[folder]
        return find(location, self._patience) if objects is None else objects.get(name)

    def _list(self, folder: str) -> dict[str, ObjectInfo] | None:
        try:
            listed = list(islice(s3.list_objects(f"{folder}/", self._patience, "/"), _MOST_LISTED + 1))
        except InputError as error:
            if get_status(error) != 403:
                raise
            return None  # who may read may not always list; wrong credentials are told by asking for the file
        return dict(listed) if len(listed) <= _MOST_LISTED else None


def open_read(location: str | os.PathLike[str], etag: str | None = None) -> io.BufferedReader:
    """Open a file for reading; the stream seeks.

    Args:
        etag: on S3, the version that it must be; None for any.

    Raises:
        InputError: it is on S3 and cannot be read. A local file's errors are OSErrors.
    """
    if is_s3(location):
        return io.BufferedReader(ObjectReader(str(location), etag), 1 << 20)
    return open(location, "rb")


def stop_reading_ahead(stream: BinaryIO, end: int) -> None:
    """Tell a stream of `open_read` that what lies from an offset on will not be read."""
    raw = getattr(stream, "raw", None)
    if isinstance(raw, ObjectReader):
        raw.stop = end


def get_read_error(stream: BinaryIO) -> InputError | None:
    """Return what went wrong below a stream of `open_read`, where a library in between hides it; None if nothing."""
    return getattr(getattr(stream, "raw", None), "error", None)


def read_bytes(location: str | os.PathLike[str]) -> bytes:
    """Return the content of a small file, which may be replaced meanwhile: `progress.json` is, while actors begin."""
    if is_s3(location):
        return read_object(str(location))
    return Path(location).read_bytes()


def write_bytes(location: str | os.PathLike[str], data: bytes) -> None:
    """Write a small file that is never seen half written."""
    if is_s3(location):
        s3.put_bytes(str(location), data)
        return
    with replace_when_done(Path(location)) as temporary:
        temporary.write_bytes(data)


def upload_file(path: str | os.PathLike[str], location: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Copy a local file to a location, whole and verified; return its SHA-256.

    Args:
        sha256: checksum of the file where it is known.
    """
    sha256 = hash_file(path) if sha256 is None else sha256
    if is_s3(location):
        s3.upload_file(Path(path), str(location), sha256)
    elif download_file(path, Path(location)) != sha256:
        raise InputError("changed while it was copied", path=path, remedy="run the command again")
    return sha256


def download_file(location: str | os.PathLike[str], path: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Copy a file to a local path, which appears when it is whole; return its SHA-256.

    Args:
        sha256: the checksum that it must have, if known.

    Raises:
        InputError: it cannot be read, or has another checksum; nothing is left under `path`.
    """
    digest = hashlib.sha256()
    written = flushed = 0
    with replace_when_done(Path(path)) as temporary, open(temporary, "wb") as writer:
        for block in _read_blocks(location):
            digest.update(block)
            written += writer.write(block)
            if written - flushed >= _FLUSH_BYTES and hasattr(os, "posix_fadvise"):  # which macOS lacks
                # Lets the disk begin on these pages, so that the end waits for the last ones only.
                os.posix_fadvise(writer.fileno(), flushed, written - flushed, os.POSIX_FADV_DONTNEED)
                flushed = written
        if sha256 is not None and digest.hexdigest() != sha256:
            raise InputError(
                f"has the checksum {digest.hexdigest()[:12]}..., expected {sha256[:12]}...",
                path=location,
                remedy="make this file anew",
            )
        writer.flush()
    return digest.hexdigest()


def get_sha256(location: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file by reading it whole."""
    if not is_s3(location):
        return hash_file(location)
    digest = hashlib.sha256()
    for block in read_blocks(str(location), _COPY_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _read_blocks(location: str | os.PathLike[str]) -> Iterator[bytes]:
    if is_s3(location):
        yield from read_blocks(str(location), _COPY_BYTES)
        return
    try:
        file = open_read(location)
    except FileNotFoundError:
        raise InputError("does not exist", path=location, remedy="correct the path") from None
    with file:
        while block := file.read(_COPY_BYTES):
            yield block


def delete(location: str | os.PathLike[str]) -> None:
    """Delete a file; one that does not exist is no error."""
    if is_s3(location):
        s3.delete_object(str(location))
    else:
        Path(location).unlink(missing_ok=True)


def prepare_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder ready to be written: remove what interrupted runs left of it; none may be at work there."""
    if is_s3(folder):
        s3.abort_uploads(join(folder, ""))
    else:
        Path(folder).mkdir(parents=True, exist_ok=True)
        remove_leftovers(Path(folder))
