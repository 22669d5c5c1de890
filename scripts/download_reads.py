"""Bring the lanes of one sample here that are on the network: https addresses, and runs of ENA or SRA.

Example, from the repository root; with paths only, there is nothing to bring:
    PYTHONPATH=src .venv/bin/python scripts/download_reads.py --sample pairs --platform illumina \\
        --lane demo/reads/pairs_1.fastq.gz demo/reads/pairs_2.fastq.gz --out downloads/pairs

A network lane is `--lane https://HOST/reads.fastq.gz#md5=...` or `--lane ERR2223563`. Writes the files, and lanes.json,
which fetch_reads.py takes. What lies there whole is not brought again, and a broken transfer goes on where it stopped.
READCLADE_ENA_URL names another server than ENA's, REQUESTS_CA_BUNDLE a certificate authority of your own.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.downloads.lanes import bring_lanes
from readclade.inputs.lanes import add_lane_options, get_lanes, write_lanes


def main() -> None:
    """Read the arguments and download."""
    parser = make_parser(__doc__)
    parser.add_argument("--sample", required=True, help="name of the sample")
    parser.add_argument("--platform", required=True, choices=["illumina", "ont", "pacbio"])
    add_lane_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    arguments = parser.parse_args()
    lanes = get_lanes(parser, arguments).lanes
    log = start_log(f"download {arguments.sample}")
    table = bring_lanes(lanes, arguments.platform, arguments.out.absolute())
    write_lanes(arguments.out / "lanes.json", arguments.sample, table)
    log.info(f"{len(table.lanes)} lanes are here")


if __name__ == "__main__":
    run(main)
