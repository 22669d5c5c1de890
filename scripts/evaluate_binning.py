"""Score binning files of any origin, side by side, on the known origin of the reads.

Example, from the repository root, after label_clusters.py:
    PYTHONPATH=src .venv/bin/python scripts/evaluate_binning.py --truth demo/truth/pairs.tsv.gz \\
        --binning results/pairs/binning.tsv --references demo/references.tsv --out results/pairs/binnings.tsv

Writes a table of metric and one column for each binning; docs/evaluation.md defines the metrics. A fragment that a
binning lacks is unassigned.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.evaluation.job import evaluate_binnings


def main() -> None:
    """Read the arguments and score."""
    parser = make_parser(__doc__)
    parser.add_argument("--truth", required=True, type=Path, help="CAMI binning file with the true origin")
    parser.add_argument("--binning", required=True, type=Path, nargs="+", help="CAMI binning files to score")
    parser.add_argument("--sample", help="name of the sample, where a file holds several")
    parser.add_argument("--references", type=Path, help="table of reference genomes, which tells genera by taxid")
    parser.add_argument("--out", required=True, type=Path, help="table of figures to write")
    arguments = parser.parse_args()
    start_log("evaluate")
    evaluate_binnings(
        arguments.truth,
        arguments.binning,
        arguments.out,
        arguments.sample,
        arguments.references,
    )


if __name__ == "__main__":
    run(main)
