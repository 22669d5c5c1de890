"""Print the main figures of a run's samples, and where its report is.

Example, from the repository root, after `make demo`:
    PYTHONPATH=src .venv/bin/python scripts/show_summary.py demo/run/results
"""

from pathlib import Path

from readclade.cli import make_parser, run
from readclade.errors import InputError
from readclade.results.tables import read_rows


def main() -> None:
    """Read the arguments and print."""
    parser = make_parser(__doc__)
    parser.add_argument("results", type=Path, help="folder of the results")
    results = parser.parse_args().results
    for name in ("summary.tsv", "report.html"):
        if not (results / name).is_file():
            raise InputError("does not exist", path=results / name, remedy="run the workflow to its end")
    for row in read_rows(results / "summary.tsv", ("sample", "metric", "value"), "report"):
        print(row["sample"], row["metric"], row["value"], sep="\t")
    print(f"report: {(results / 'report.html').absolute()}")


if __name__ == "__main__":
    run(main)
