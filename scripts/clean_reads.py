"""Clean the reads of one sample: adapters, low quality, simple repeats, and the reads of given genomes.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python scripts/clean_reads.py --sample long --platform ont \\
        --lane demo/reads/long.fastq.gz --mask-low-complexity --out cleaned/long/reads \\
        --lanes-out cleaned/long/lanes.json

Writes gzip files, mates in step, where something is cleaned, and lanes.json with the counts for fetch_reads.py.
--adapters and --min-quality cut short reads only, by cutadapt; --remove searches by minimap2 (mappy).
"""

import shutil
from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.inputs.lanes import add_lane_options, get_lanes, write_lanes
from readclade.reads.adapters import ADAPTERS
from readclade.reads.cleaning import AUTO, Cleaning, clean_lanes


def main() -> None:
    """Read the arguments and clean."""
    parser = make_parser(__doc__)
    parser.add_argument("--sample", required=True, help="name of the sample")
    parser.add_argument("--platform", required=True, choices=["illumina", "ont", "pacbio"])
    add_lane_options(parser)
    parser.add_argument("--adapters", choices=[AUTO, *ADAPTERS], help="cut these from short reads, or those found")
    parser.add_argument("--min-quality", type=int, default=0, help="cut bad ends by this quality (1 to 36)")
    parser.add_argument("--min-length", type=int, default=31, help="drop shorter cut reads (default: %(default)s)")
    parser.add_argument("--mask-low-complexity", action="store_true", help="turn simple repeats into N")
    parser.add_argument("--remove", metavar="FASTA", help="drop the reads of these genomes")
    parser.add_argument("--out", required=True, type=Path, help="folder of the cleaned reads; what is in it goes")
    parser.add_argument("--lanes-out", required=True, type=Path, help="lanes.json to write, above that folder")
    parser.add_argument("--threads", type=int, default=1, help="for the search (default: %(default)s)")
    arguments = parser.parse_args()
    if not 0 <= arguments.min_quality <= 36:
        parser.error("--min-quality must be from 0 to 36")
    if arguments.min_length < 1 or arguments.threads < 1:
        parser.error("--min-length and --threads must be at least 1")
    cleaning = Cleaning(
        arguments.adapters,
        arguments.min_quality,
        arguments.min_length,
        arguments.mask_low_complexity,
        arguments.remove,
    )
    out = arguments.out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    start_log(f"clean {arguments.sample}")
    lanes = get_lanes(parser, arguments)
    table = clean_lanes(lanes, arguments.platform, cleaning, out, arguments.threads)
    write_lanes(arguments.lanes_out, arguments.sample, table)


if __name__ == "__main__":
    run(main)
