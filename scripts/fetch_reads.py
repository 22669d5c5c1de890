"""Validate and summarise the reads of one sample, and divide them into shards.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python scripts/fetch_reads.py --sample pairs --platform illumina \\
        --lane demo/reads/pairs_1.fastq.gz demo/reads/pairs_2.fastq.gz --out reads/pairs

Writes reads.json (counts, lengths, GC, qualities, shard ranges) and the seek indexes of gzip files. Local files are
read in place and never copied.
"""

from pathlib import Path

from readclade.cli import make_parser, make_reporter, run
from readclade.reads import summarise_reads
from readclade.tables import Lane


def main() -> None:
    """Read the arguments and fetch."""
    parser = make_parser(__doc__)
    parser.add_argument("--sample", required=True, help="name of the sample")
    parser.add_argument("--platform", required=True, choices=["illumina", "ont", "pacbio"])
    parser.add_argument(
        "--lane",
        required=True,
        action="append",
        nargs="+",
        metavar="FASTQ",
        help="one file of single reads, two files of mates, or one file and the word 'interleaved'; once per lane",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    parser.add_argument("--shard-bases", type=int, default=64_000_000, help="bases per shard (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads for the seek indexes (default: %(default)s)")
    arguments = parser.parse_args()
    if any(len(lane) > 2 for lane in arguments.lane):
        parser.error("a --lane takes one or two files")
    if arguments.shard_bases < 1:
        parser.error("--shard-bases must be at least 1")
    lanes = [Lane(lane[0], lane[1] if len(lane) == 2 else None) for lane in arguments.lane]
    report = make_reporter(f"fetch {arguments.sample}")
    result = summarise_reads(
        arguments.sample,
        arguments.platform,
        lanes,
        arguments.out,
        arguments.shard_bases,
        arguments.threads,
        report,
    )
    report(f"{result['fragments']:,} fragments, {result['bases']:,} bases, {len(result['shards'])} shards")


if __name__ == "__main__":
    run(main)
