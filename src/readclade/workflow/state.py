"""What an earlier run left, where Snakemake cannot see it by itself."""

from collections.abc import Iterable
from pathlib import Path

from readclade.errors import ReadcladeError
from readclade.inputs.tables import PARSE_PATIENCE_S
from readclade.shards import store
from readclade.shards.manifest import read_manifest
from readclade.storage.files import write_atomically


def is_damaged(path: Path) -> bool:
    """Return whether a manifest cannot be read, or lists a shard that is missing or of the wrong size.

    Raises:
        ReadcladeError: S3, where its shards lie, refuses or cannot be reached.
    """
    try:
        manifest = read_manifest(path)
    except ReadcladeError:
        return True
    return bool(store.list_lost(manifest, store.get_location(manifest, path), PARSE_PATIENCE_S))


def add_figures_to_benchmarks(samples: Iterable[str]) -> None:
    """Append the figures of `embed` to its benchmark files, which Snakemake writes when a job has ended."""
    for sample in samples:
        benchmark, figures = (Path(f"logs/embed/{sample}.{name}.tsv") for name in ("benchmark", "metrics"))
        if benchmark.is_file() and figures.is_file():
            rows, more = (path.read_text().splitlines() for path in (benchmark, figures))
            if len(rows) == len(more) and more[0] not in rows[0]:
                pairs = zip(rows, more, strict=True)
                write_atomically(benchmark, "".join(f"{row}\t{columns}\n" for row, columns in pairs))
