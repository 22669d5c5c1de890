"""Files that exist whole or not at all, and text that may be compressed."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from readclade.errors import InputError


@contextmanager
def open_text(path: str | Path, encoding: str, errors: str = "strict") -> Iterator[TextIO]:
    """Open a text file, plain or gzip by its first bytes.

    Raises:
        InputError: it cannot be read, or its compression turns out to be damaged while the block reads.
    """
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        opened = gzip.open if is_gzip else open
        with opened(path, "rt", encoding=encoding, errors=errors) as file:
            yield file
    except OSError as error:  # gzip.BadGzipFile is one of them
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the path") from None
    except (EOFError, zlib.error) as error:
        raise InputError(
            f"the gzip data are truncated or damaged ({error})", path=path, remedy="download or copy the file again"
        ) from None


@contextmanager
def replace_when_done(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` when the block succeeds, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # a full disk is told by the call that writes, which knows no name
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a process left in a folder when it was killed; none may be at work there."""
    for path in Path(folder).glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is never seen half written."""
    with replace_when_done(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
