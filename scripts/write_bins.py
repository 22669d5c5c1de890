"""Write the reads of each cluster to a FASTQ file of its own.

Example, from the repository root, after cluster_fragments.py:
    PYTHONPATH=src .venv/bin/python scripts/write_bins.py --reads reads/pairs/reads.json \\
        --assignments results/pairs/cluster/assignments.parquet --out results/pairs/bins

The workflow does this where the configuration says `bins: true`. Mates stand one after the other in a file.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.reads.plan import load_reads
from readclade.results.bins import write_bins


def main() -> None:
    """Read the arguments and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--reads", required=True, type=Path, help="reads.json of the sample")
    parser.add_argument("--assignments", required=True, type=Path, help="assignments.parquet of the sample")
    parser.add_argument("--out", required=True, type=Path, help="folder of the bins")
    arguments = parser.parse_args()
    counts = write_bins(load_reads(arguments.reads), arguments.assignments, arguments.out)
    start_log("bins").info(f"{sum(counts.values()):,} fragments in {len(counts)} files")


if __name__ == "__main__":
    run(main)
