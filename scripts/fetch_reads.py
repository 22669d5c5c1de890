"""Validate and summarise the reads of one sample, and divide them into shards.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python scripts/fetch_reads.py --sample pairs --platform illumina \\
        --lane demo/reads/pairs_1.fastq.gz demo/reads/pairs_2.fastq.gz --out reads/pairs

Writes reads.json (counts, lengths, GC, qualities, shard ranges) and the seek indexes of compressed files. Local files
are read in place and never copied; lanes that were downloaded or cleaned are named by --lanes.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.inputs.lanes import add_lane_options, get_lanes
from readclade.reads.summary import summarise_reads


def main() -> None:
    """Read the arguments and fetch."""
    parser = make_parser(__doc__)
    parser.add_argument("--sample", required=True, help="name of the sample")
    parser.add_argument("--platform", required=True, choices=["illumina", "ont", "pacbio"])
    add_lane_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    parser.add_argument("--shard-bases", type=int, default=64_000_000, help="bases per shard (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads for the seek indexes (default: %(default)s)")
    arguments = parser.parse_args()
    table = get_lanes(parser, arguments)
    if arguments.shard_bases < 1:
        parser.error("--shard-bases must be at least 1")
    log = start_log(f"fetch {arguments.sample}")
    plan = summarise_reads(
        arguments.sample,
        arguments.platform,
        table.lanes,
        arguments.out,
        arguments.shard_bases,
        arguments.threads,
        table.origins,
        table.cleaning,
    )
    log.info(f"{plan.fragments:,} fragments, {plan.bases:,} bases, {len(plan.shards)} shards")


if __name__ == "__main__":
    run(main)
