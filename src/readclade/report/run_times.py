"""The time and memory that a stage took, as Snakemake's benchmark files have them."""

from pathlib import Path

from readclade.results.tables import read_rows


def read_run_time(path: Path) -> dict[str, float | None] | None:
    """Return seconds, cpu_seconds and peak_mb of a benchmark file of Snakemake, or None where there is none."""
    if not path.is_file():
        return None
    rows = read_rows(path, ("s",), path.parent.name)
    if not rows:
        return None
    keys = {"seconds": "s", "cpu_seconds": "cpu_time", "peak_mb": "max_rss"}
    return {name: _parse_number(rows[0].get(column, "")) for name, column in keys.items()}


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # NA or - for a job that was too short to be measured
        return None
