"""The lanes of a sample, brought here: which address each entry stands for, and under which name its file lies."""

import hashlib
import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from readclade.downloads.ena import resolve_run
from readclade.downloads.files import Source, check_space, fetch_file
from readclade.downloads.requests import PATIENCE, Patience, fetch_text
from readclade.formats import format_bytes
from readclade.inputs.addresses import check_url, hide_query, is_downloaded, is_run, split_checksum
from readclade.inputs.lanes import LaneTable
from readclade.inputs.tables import INTERLEAVED, Lane

_log = logging.getLogger(__name__)


def bring_lanes(lanes: list[Lane], platform: str, folder: Path, patience: Patience = PATIENCE) -> LaneTable:
    """Download what is on the network, into `folder`; other lanes stay as they are.

    Args:
        lanes: entries of the table.
        platform: of the sample; a run that ENA knows as another one is refused.
        folder: absolute.

    Returns:
        The lanes as files.

    Raises:
        InputError: an entry cannot be resolved or brought.
    """
    folder.mkdir(parents=True, exist_ok=True)
    resolved = [_resolve(lane, platform, partial(fetch_text, patience=patience)) for lane in lanes]
    wanted = [(part, get_path(folder, part.url)) for parts in resolved for part in parts if isinstance(part, Source)]
    check_space(folder, sum(part.size or 0 for part, path in wanted if not path.exists()))
    table = LaneTable([])
    for lane, parts in zip(lanes, resolved, strict=True):
        paths, origins = [], []
        for part in parts:
            if isinstance(part, Source):
                paths.append(str(get_path(folder, part.url)))
                origins.append(fetch_file(part, Path(paths[-1]), patience))
                if is_run(lane.fq1):
                    origins[-1] = {"accession": lane.fq1, **origins[-1]}
            else:
                paths.append(part)
                origins.append({"path": part})
        mates = paths[1] if len(paths) == 2 else lane.fq2 if lane.fq2 == INTERLEAVED else None
        table.lanes.append(Lane(paths[0], mates))
        table.origins.append(origins)
    return table


def get_path(folder: Path, url: str) -> Path:
    """Return where the file behind an address lies: under its own name, made harmless, after a hash of all of it."""
    address = url.partition("#")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", unquote(urlsplit(address).path).rsplit("/", 1)[-1])[-100:]
    return folder / f"{hashlib.sha256(address.encode()).hexdigest()[:8]}_{name or 'reads'}"


def _resolve(lane: Lane, platform: str, fetch: Callable[[str], str]) -> list[Source | str]:
    """Return the files of a lane: sources on the network, paths as they are."""
    if not is_run(lane.fq1):
        return [_make_source(entry) if is_downloaded(entry) else entry for entry in lane.paths]
    run = resolve_run(lane.fq1, platform, lane.fq2 == INTERLEAVED, fetch)
    size = format_bytes(sum(file.size or 0 for file in run.files))
    _log.info(f"{run.accession}: {'pairs' if len(run.files) == 2 else 'one file'}, {size}")
    for file in run.unpaired:
        _log.info(
            f"{run.accession}: leaves out {hide_query(file.url)} ({format_bytes(file.size or 0)}), reads without "
            "their mates; give its address a row of its own to use them"
        )
    return list(run.files)


def _make_source(entry: str) -> Source:
    check_url(entry)
    address, checksum = split_checksum(entry)
    return Source(address, checksum.get("md5"), checksum.get("sha256"))
