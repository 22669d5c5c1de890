"""Bring a sample's shards to the file system of the MPI job, verified by checksum.

Example, from the repository root, after embed_fragments.py:
    PYTHONPATH=src .venv/bin/python scripts/stage_shards.py --manifest shards/pairs/manifest.json --out staged/pairs

--way copy copies from a disk or S3, import has Lustre load the shards from the bucket that it is linked with, in-place
verifies them where they lie. A second run brings only what is missing or damaged.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.shards.lustre import DataRepository
from readclade.shards.staging import WAYS, stage_shards


def main() -> None:
    """Read the arguments and stage."""
    parser = make_parser(__doc__)
    parser.add_argument("--manifest", required=True, type=Path, help="manifest.json of the shards")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--way", choices=WAYS, default="copy", help="default: %(default)s")
    parser.add_argument("--streams", type=int, default=1, help="shards at the same time (default: %(default)s)")
    parser.add_argument(
        "--data-repository", default="none", help="for import: s3://BUCKET/PREFIX=/FOLDER, as Lustre is linked with S3"
    )
    arguments = parser.parse_args()
    if arguments.streams < 1:
        parser.error("--streams must be at least 1")
    repository = DataRepository.parse(arguments.data_repository) if arguments.way == "import" else None
    start_log(f"stage {arguments.out.name}")
    stage_shards(arguments.manifest, arguments.out, arguments.way, arguments.streams, repository)


if __name__ == "__main__":
    run(main)
