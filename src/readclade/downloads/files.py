"""Files brought here over https: a broken transfer goes on where it stopped, and only a whole file gets its name.

Beside a file `x` lies `x.json`, what is known of it; until it is whole it is `x.part`, with `x.part.json`.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests

from readclade.downloads.requests import PATIENCE, Broken, Patience, open_url, persist
from readclade.errors import InputError
from readclade.formats import format_bytes, format_duration
from readclade.inputs.addresses import hide_query
from readclade.reads.compression import MAGIC_BYTES, find_compression
from readclade.storage.files import write_atomically

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """Name a file to bring: its address, and what it must turn out to be, None where that is not known."""

    url: str
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None


def fetch_file(source: Source, path: Path, patience: Patience = PATIENCE) -> dict:
    """Bring a file to `path`, unless it lies there whole already.

    Args:

    Returns:
        url (without query), bytes, md5, sha256 of the file, and the time at which it came.

    Raises:
        InputError: it cannot be brought, or is not what it must be. What has come of it stays, and the next call goes
            on from there, unless it was wrong.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = _read_json(_add_suffix(path, ".json"))
    if path.is_file() and known.get("bytes") == path.stat().st_size:
        found = _describe(path)
        if all(known.get(key) == found[key] for key in found) and not _find_difference(found, source):
            _log.info(f"{path.name}: is here already")
            return known
    part = _add_suffix(path, ".part")
    for is_last in (False, True):
        persist(
            lambda: _transfer(source, part, patience),
            source.url,
            patience,
            lambda: part.stat().st_size if part.exists() else 0,
        )
        found = _describe(part)
        difference = _find_difference(found, source)
        if not difference:
            break
        part.unlink()
        if is_last:
            raise InputError(
                f"came twice with {difference}; it was not kept",
                path=hide_query(source.url),
                remedy="compare the checksum in the table with the source's; where a proxy or mirror stands between, "
                "look at what it delivers",
            )
        _log.info(f"{path.name}: has {difference}; once more from the beginning")
    _check_content(part, source.url)
    date = datetime.now(UTC).replace(microsecond=0).isoformat()
    record = {"url": hide_query(source.url), **found, "downloaded": date}
    write_atomically(_add_suffix(path, ".json"), json.dumps(record, indent=1) + "\n")
    os.replace(part, path)
    _add_suffix(part, ".json").unlink(missing_ok=True)
    return record


def check_space(folder: Path, size: int) -> None:
    """Refuse to begin what cannot be finished.

    Raises:
        InputError: fewer than `size` bytes are free where `folder` lies.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"{format_bytes(size)} are still to come, but only {format_bytes(free)} are free",
            path=folder,
            remedy="make room there, or run in a folder on a larger disk",
        )


def _transfer(source: Source, part: Path, patience: Patience) -> None:
    """Bring what is missing of a file; return when all of it is there."""
    state_path = _add_suffix(part, ".json")
    state = _read_json(state_path)
    begin = part.stat().st_size if part.exists() else 0
    has_checksum = source.md5 or source.sha256
    # Without proof that the file there is still the same, its second half must not be added to this first half.
    if state.get("url") != _hash(source.url) or not (state.get("validator") or has_checksum):
        begin = 0
    if begin and begin == state.get("size"):
        return
    headers = {"Range": f"bytes={begin}-"} if begin else {}
    if begin and state.get("validator"):
        headers["If-Range"] = state["validator"]
    with open_url(source.url, headers, patience) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise Broken("the server's file is shorter than what has come of it")
        if response.status_code == 206:
            first, total = _read_content_range(response.headers.get("Content-Range", ""))
            if first != begin:
                part.unlink(missing_ok=True)
                raise Broken("the server sent another part than it was asked for")
        else:
            begin, total = 0, _read_length(response)
        _check_size(source, total)
        check_space(part.parent, 0 if total is None else total - begin)
        state = {"url": _hash(source.url), "validator": _get_validator(response), "size": total}
        write_atomically(state_path, json.dumps(state) + "\n")
        progress = _Progress(part.name.removesuffix(".part"), begin, total)
        try:
            with open(part, "ab" if begin else "wb") as out:
                # Whatever has come is written: a connection that stalls must not take a part of a block with it.
                while block := response.raw.read1(_BLOCK_BYTES, decode_content=False):
                    out.write(block)
                    progress.add(len(block))
                end = out.tell()
        except OSError as error:
            raise InputError(
                f"cannot be written: {error.strerror or error}",
                path=part,
                remedy="make room there; what has come is kept and goes on from there",
            ) from None
    if total is not None and end != total:
        raise Broken(f"the connection ended after {end:,} of {total:,} bytes")


def _check_size(source: Source, total: int | None) -> None:
    if source.size is not None and total is not None and total != source.size:
        raise InputError(
            f"has {total:,} bytes at the server, but should have {source.size:,}",
            path=hide_query(source.url),
            remedy="the file there was changed or is incomplete: ask its source, or download it by other means and "
            "give its path",
        )


def _read_content_range(value: str) -> tuple[int | None, int | None]:
    """Return the first byte and the whole size of `bytes 5-9/10`."""
    try:
        unit, _, rest = value.partition(" ")
        span, _, total = rest.partition("/")
        return (int(span.partition("-")[0]), int(total)) if unit == "bytes" else (None, None)
    except ValueError:
        return None, None


def _read_length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _get_validator(response: requests.Response) -> str | None:
    """Return what proves later that the file is the same: If-Range takes strong entity tags and dates only."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


class _Progress:
    """Tell every few seconds how much has come, how fast, and for how long it will go on."""

    def __init__(self, name: str, begin: int, total: int | None):
        self._name, self._begin, self._total = name, begin, total
        self._size = begin
        self._started = self._told = time.monotonic()
        if begin:
            _log.info(f"{name}: goes on from {format_bytes(begin)}")

    def add(self, size: int) -> None:
        self._size += size
        now = time.monotonic()
        if now - self._told < 5:
            return
        self._told = now
        rate = (self._size - self._begin) / (now - self._started)
        text = f"{self._name}: {format_bytes(self._size)}"
        if self._total is not None:
            text += f" of {format_bytes(self._total)}"
        text += f", {format_bytes(int(rate))} a second"
        if self._total is not None and rate:
            text += f", {format_duration((self._total - self._size) / rate)} left"
        _log.info(text)


def _check_content(part: Path, url: str) -> None:
    """Refuse what begins neither as FASTQ nor as a compressed file, such as the login page of a network."""
    with open(part, "rb") as file:
        head = file.read(MAGIC_BYTES)
    if not head.startswith(b"@") and not find_compression(head):
        part.unlink()
        raise InputError(
            f"is not FASTQ: it begins with {head!r}" if head else "is empty",
            path=hide_query(url),
            remedy="open the address in a browser: a network's login page, or a page about the file, can stand there",
        )


def _describe(path: Path) -> dict:
    """Return the size and both checksums of a file, read once."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            md5.update(block)
            sha256.update(block)
        return {"bytes": file.tell(), "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def _find_difference(found: dict, source: Source) -> str:
    """Say in words what a file is and should not be; "" where all is well."""
    for key, name, wanted in (
        ("bytes", "size", source.size),
        ("md5", "MD5", source.md5),
        ("sha256", "SHA-256", source.sha256),
    ):
        if wanted is not None and found[key] != wanted:
            return f"{name} {found[key]} in place of {wanted}"
    return ""


def _add_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _hash(url: str) -> str:
    """Return what tells URLs apart without telling what a query holds."""
    return hashlib.sha256(url.partition("#")[0].encode()).hexdigest()
