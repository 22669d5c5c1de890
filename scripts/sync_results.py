"""Copy the results to S3 or another disk, each file verified; a second run copies only what is not there.

Example, from the repository root, after write_report.py:
    PYTHONPATH=src .venv/bin/python scripts/sync_results.py --results results --target backup/results \\
        --receipt logs/receipt.json

The receipt lists every file with its checksum; it is written last, here and as receipt.json at the target.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.storage.syncing import sync_results


def main() -> None:
    """Read the arguments and copy."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="folder of the results")
    parser.add_argument("--target", required=True, help="s3://BUCKET/PREFIX, or a folder")
    parser.add_argument("--receipt", required=True, type=Path, help="receipt to write")
    parser.add_argument("--streams", type=int, default=4, help="files at the same time (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.streams < 1:
        parser.error("--streams must be at least 1")
    start_log("sync")
    sync_results(arguments.results, arguments.target, arguments.receipt, arguments.streams)


if __name__ == "__main__":
    run(main)
