"""Write the report, its summary and the RO-Crate from the results of all samples.

Example, from demo/run, after `make demo`:
    PYTHONPATH=../../src ../../.venv/bin/python ../../scripts/write_report.py --samples ../samples.tsv \\
        --config ../config.yaml --results results --reads reads --shards shards --logs logs \\
        --out results/report.html --crate results/ro-crate-metadata.json --summary results/summary.tsv
"""

import sys
from pathlib import Path

import yaml

from readclade.cli import make_parser, run, start_log
from readclade.errors import ConfigError
from readclade.report.page import write_report
from readclade.report.samples import Folders


def main() -> None:
    """Read the arguments and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--samples", required=True, type=Path, help="table of samples")
    parser.add_argument("--config", required=True, type=Path, help="configuration as YAML or JSON")
    parser.add_argument("--results", required=True, type=Path, help="folder of the results")
    parser.add_argument("--reads", required=True, type=Path, help="folder of what `fetch` wrote")
    parser.add_argument("--shards", required=True, type=Path, help="folder of the shards")
    parser.add_argument("--logs", required=True, type=Path, help="folder of the logs and benchmarks")
    parser.add_argument("--out", required=True, type=Path, help="report to write")
    parser.add_argument("--crate", required=True, type=Path, help="RO-Crate metadata to write")
    parser.add_argument("--summary", required=True, type=Path, help="table of figures to write")
    parser.add_argument("--processes", type=int, default=1, help="samples at a time (default: %(default)s)")
    parser.add_argument("--partial", action="store_true", help="leave out samples without results, and name them")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error("--processes must be at least 1")
    start_log("report")
    try:
        config = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{arguments.config}: cannot be read: {error}", remedy="give a YAML or JSON file") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{arguments.config}: holds no keys", remedy="give a configuration as in config/config.yaml")
    folders = Folders(arguments.results, arguments.reads, arguments.shards, arguments.logs)
    outputs = (arguments.out, arguments.crate, arguments.summary)
    failures = write_report(arguments.samples, config, folders, *outputs, arguments.processes, arguments.partial)
    for name, reason in failures.items():
        print(f"sample {name} has no results: {reason}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
