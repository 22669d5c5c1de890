"""The reads of each cluster as FASTQ, on request: `bins/<cluster>.fastq.gz`, mates one after the other."""

import shutil
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow.parquet as pq
from isal import igzip

from readclade.errors import InputError
from readclade.reads import fastq
from readclade.reads.plan import ReadPlan


def write_bins(plan: ReadPlan, assignments: Path, out: Path) -> dict[str, int]:
    """Stream the sample's FASTQ files once and deal its fragments out to one file per cluster.

    The folder appears under its name only when all files in it are whole. Unassigned fragments are in none.

    Args:
        plan: of the sample.
        assignments: assignments.parquet of the same sample.
        out: the folder to make; an older one is replaced.

    Returns:
        Fragments written, by file name.

    Raises:
        InputError: the files hold other fragments than the assignments.
    """
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    counts: dict[str, int] = {}
    try:
        with ExitStack() as stack:
            files = {}
            rows = _iterate_assignments(assignments)
            for record, mate in _iterate_fragments(plan):
                name, cluster = next(rows, (None, None))
                if name != fastq.get_fragment_name(record):
                    raise InputError(
                        f"has '{name}' where the reads have '{fastq.get_fragment_name(record)}'",
                        path=assignments,
                        remedy="the reads changed since they were clustered: run the workflow again",
                    )
                if cluster < 0:
                    continue
                file_name = f"c{cluster + 1}.fastq.gz"
                if file_name not in files:
                    files[file_name] = stack.enter_context(igzip.open(temporary / file_name, "wb"))
                    counts[file_name] = 0
                counts[file_name] += 1
                files[file_name].write(record.fastq_bytes())
                if mate is not None:
                    files[file_name].write(mate.fastq_bytes())
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return counts


def _iterate_assignments(path: Path):
    for batch in pq.ParquetFile(path).iter_batches(columns=["name", "cluster"]):
        yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)


def _iterate_fragments(plan: ReadPlan):
    for planned in plan.lanes:
        lane = planned.lane
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(fastq.open_stream(path, etag)))
                for path, etag in zip(lane.paths, planned.etags, strict=True)
            ]
            for number, fragment in enumerate(fastq.iterate_fragments(streams, lane), 1):
                yield fragment
                if number % 10_000 == 0:
                    for stream in streams:
                        stream.forget_before(fastq.get_lines_per_fragment(lane) * number)
