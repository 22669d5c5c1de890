"""Samples that have no results, and why: the first stage whose result is missing, and what its log says."""

from pathlib import Path

from readclade.inputs.tables import Sample
from readclade.report.samples import Folders

_MOST_WORDS = 400  # letters of a reason


def find_failures(samples: list[Sample], folders: Folders) -> dict[str, str]:
    """Return why samples have no results, by name; those with all results are not there."""
    found = {sample.name: _find_failure(sample, folders) for sample in samples}
    return {name: reason for name, reason in found.items() if reason is not None}


def _find_failure(sample: Sample, folders: Folders) -> str | None:
    results = folders.results / sample.name
    needed = [
        ("fetch", folders.reads / sample.name / "reads.json"),
        ("embed", folders.shards / sample.name / "manifest.json"),
        ("cluster", results / "cluster/clusters.h5"),
        ("label", results / "taxa.tsv"),
        *([("evaluate", results / "evaluation.tsv")] if sample.truth else []),
    ]
    for stage, path in needed:
        if path.exists():
            continue
        before = {"fetch": ("download", "clean"), "cluster": ("stage",)}.get(stage, ())
        for name in (stage, *reversed(before)):
            if reason := _read_error(folders.logs / name / f"{sample.name}.log"):
                return f"{name}: {reason}"
        return f"{stage}: did not run to its end"
    return None


def _read_error(log: Path) -> str | None:
    """Return the last error of a log with its remedy, in one line."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    begins = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    if not begins:
        return None
    message = lines[begins[-1]].removeprefix("error: ")
    remedies = [line.strip() for line in lines[begins[-1] + 1 :][:3] if line.strip().startswith("remedy: ")]
    return "; ".join([message, *remedies[:1]])[:_MOST_WORDS]
