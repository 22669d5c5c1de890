"""The reads of each cluster as FASTQ, on request: `bins/<cluster>.fastq.gz`, mates one after the other."""

import shutil
from contextlib import ExitStack, closing
from pathlib import Path

from isal import igzip

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads import fastq
from readclade.results.assignments import iterate_names
from readclade.results.names import get_cluster_name


def write_bins(reads: dict, assignments: Path, out: Path) -> dict[str, int]:
    """Stream the sample's FASTQ files once and deal its fragments out to one file per cluster.

    The folder appears under its name only when all files in it are whole. Unassigned fragments are in none.

    Args:
        reads: the content of `reads.json`.
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
            rows = (
                row
                for names, clusters in iterate_names(assignments)
                for row in zip(names, clusters.tolist(), strict=True)
            )
            for record, mate in _iterate_fragments(reads):
                name, cluster = next(rows, (None, None))
                if name != fastq.get_fragment_name(record):
                    raise InputError(
                        f"has '{name}' where the reads have '{fastq.get_fragment_name(record)}'",
                        path=assignments,
                        remedy="the reads changed since they were clustered: run the workflow again",
                    )
                if cluster < 0:
                    continue
                file_name = f"{get_cluster_name(cluster)}.fastq.gz"
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


def _iterate_fragments(reads: dict):
    for described in reads["lanes"]:
        lane = Lane(described["fq1"], described["fq2"])
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(fastq.open_stream(path, etag)))
                for path, etag in zip(lane.paths, described["etags"], strict=True)
            ]
            for number, fragment in enumerate(fastq.iterate_fragments(streams, lane), 1):
                yield fragment
                if number % 10_000 == 0:
                    for stream in streams:
                        stream.forget_before(fastq.get_lines_per_fragment(lane) * number)
