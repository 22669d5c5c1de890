"""Copy a sample's shards and manifest to the file system of the MPI job, verified by checksum.

Example, from the repository root, after embed_fragments.py:
    PYTHONPATH=src .venv/bin/python scripts/stage_shards.py --manifest shards/pairs/manifest.json --out staged/pairs

A second run copies only what is missing or damaged.
"""

from pathlib import Path

from readclade.cli import make_parser, make_reporter, run
from readclade.staging import stage_shards


def main() -> None:
    """Read the arguments and stage."""
    parser = make_parser(__doc__)
    parser.add_argument("--manifest", required=True, type=Path, help="manifest.json beside the shards")
    parser.add_argument("--out", required=True, type=Path, help="folder to copy into")
    parser.add_argument("--streams", type=int, default=1, help="copies at the same time (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.streams < 1:
        parser.error("--streams must be at least 1")
    report = make_reporter(f"stage {arguments.out.name}")
    stage_shards(arguments.manifest, arguments.out, arguments.streams, report)


if __name__ == "__main__":
    run(main)
