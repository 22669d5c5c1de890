"""The lanes of one sample as files that can be read, and the JSON file that says so: `lanes.json`.

The table of samples may name addresses, runs, and reads that want cleaning. `download` and `clean` turn such lanes into
files, and say in `lanes.json` which files these are and where they come from; the next stage reads that in place of the
table's entries.
"""

import argparse
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from readclade.errors import InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.storage.files import write_atomically


@dataclass
class LaneTable:
    """Hold the lanes of a sample.

    Attributes:
        lanes: files, by absolute paths or as S3 objects.
        origins: of each lane, what it was made from: dicts with "path" or "url", "sha256" and "bytes".
        cleaning: what cleaning did, None where nothing was cleaned.
    """

    lanes: list[Lane]
    origins: list[list[dict]] = field(default_factory=list)
    cleaning: dict | None = None


def add_lane_options(parser: argparse.ArgumentParser) -> None:
    """Add --lane and --lanes, of which one is needed, to a parser."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--lane",
        action="append",
        nargs="+",
        metavar="FASTQ",
        help="one file of single reads, two files of mates, or one file and the word 'interleaved'; once per lane",
    )
    group.add_argument("--lanes", type=Path, metavar="FILE", help="lanes.json of download_reads.py or clean_reads.py")


def get_lanes(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> LaneTable:
    """Return the lanes that the arguments name; leave with a message where one has more than two files."""
    if arguments.lanes is not None:
        return read_lanes(arguments.lanes)
    if any(len(lane) > 2 for lane in arguments.lane):
        parser.error("a --lane takes one or two files")

    # Ray's workers read these files too, and work in another folder.
    def locate(name: str) -> str:
        return os.path.abspath(name) if os.path.isfile(name) and name != INTERLEAVED else name

    lanes = [list(map(locate, lane)) for lane in arguments.lane]
    return LaneTable([Lane(lane[0], lane[1] if len(lane) == 2 else None) for lane in lanes])


def write_lanes(path: Path, sample: str, table: LaneTable) -> None:
    """Write `lanes.json`, atomically; files below its folder are named relative to it, with their sizes."""
    folder = path.parent.resolve()

    def relate(file: str | None) -> str | None:
        if file is None or file == INTERLEAVED or not Path(file).is_relative_to(folder):
            return file
        return str(Path(file).relative_to(folder))

    lanes = [
        {"fq1": relate(lane.fq1), "fq2": relate(lane.fq2), "origins": origins}
        for lane, origins in zip(table.lanes, table.origins, strict=True)
    ]
    own = [file for lane in table.lanes for file in lane.paths if relate(file) != file]
    content = {"sample": sample, "lanes": lanes, "files": {relate(file): os.path.getsize(file) for file in own}}
    if table.cleaning is not None:
        content["cleaning"] = table.cleaning
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_lanes(path: Path) -> LaneTable:
    """Read `lanes.json`.

    Raises:
        InputError: it is missing or not of this form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        lanes = _find_lanes(content, Path(path).absolute().parent)
        return LaneTable(lanes, [lane["origins"] for lane in content["lanes"]], content.get("cleaning"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot be read: {error!r}", path=path, remedy="remove it, so that the next run makes it again"
        ) from None


def _find_lanes(content: dict, folder: Path) -> list[Lane]:
    """Return the lanes that `lanes.json` in a folder holds."""

    def find(file: str) -> str:
        return file if file == INTERLEAVED or "://" in file else str(folder / file)

    files = [(lane["fq1"], lane["fq2"]) for lane in content["lanes"]]
    return [Lane(find(fq1), None if fq2 is None else find(fq2)) for fq1, fq2 in files]


def has_lost_files(path: Path) -> bool:
    """Return whether a file of `lanes.json` is missing, or one that it lists as its own is of another size."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if any((path.parent / name).stat().st_size != size for name, size in content["files"].items()):
            return True
        # Lanes with nothing to clean stay where they were.
        lanes = _find_lanes(content, path.parent)
        return not all(os.path.isfile(file) for lane in lanes for file in lane.paths if "://" not in file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
