"""Compare the clusters of one sample, and their names, with the known origin of its reads.

Example, from the repository root, after label_clusters.py:
    PYTHONPATH=src .venv/bin/python scripts/evaluate_clusters.py --sample pairs --truth demo/truth/pairs.tsv.gz \\
        --binning results/pairs/binning.tsv --assignments results/pairs/cluster/assignments.parquet \\
        --taxa results/pairs/taxa.tsv --references demo/references.tsv --out results/pairs/evaluation.tsv \\
        --genomes results/pairs/genomes.tsv --strata results/pairs/strata.tsv

Writes a table of metric and value, one with a row for each true genome, and one by length and abundance.
docs/evaluation.md defines what they hold.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.evaluation.job import evaluate_clusters


def main() -> None:
    """Read the arguments and compare."""
    parser = make_parser(__doc__)
    parser.add_argument("--sample", required=True, help="name of the sample in the truth")
    parser.add_argument("--truth", required=True, type=Path, help="CAMI binning file with the true origin")
    parser.add_argument("--binning", required=True, type=Path, help="binning.tsv of the sample")
    parser.add_argument("--assignments", required=True, type=Path, help="assignments.parquet of the clusters")
    parser.add_argument("--taxa", type=Path, help="taxa.tsv of the sample")
    parser.add_argument("--references", type=Path, help="table of reference genomes")
    parser.add_argument("--out", required=True, type=Path, help="table of figures to write")
    parser.add_argument("--genomes", type=Path, help="table with a row for each true genome to write")
    parser.add_argument("--strata", type=Path, help="table of figures by length and abundance to write")
    arguments = parser.parse_args()
    start_log(f"evaluate {arguments.sample}")
    evaluate_clusters(
        arguments.sample,
        arguments.truth,
        arguments.binning,
        arguments.assignments,
        arguments.out,
        arguments.taxa,
        arguments.references,
        arguments.genomes,
        arguments.strata,
    )


if __name__ == "__main__":
    run(main)
