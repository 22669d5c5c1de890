"""The reads of each cluster as FASTQ, on request: `bins/<cluster>.fastq.gz`, mates one after the other."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from isal import igzip

from readclade.errors import InputError
from readclade.reads.names import number
from readclade.reads.plan import ReadPlan
from readclade.reads.records import get_fragment_name, open_lane
from readclade.results.assignments import iterate_names
from readclade.results.names import get_cluster_name


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
            rows = (
                row
                for names, clusters in iterate_names(assignments)
                for row in zip(names, clusters.tolist(), strict=True)
            )
            repeated = plan.list_repeated(0, plan.fragments)
            for fragment, (record, mate) in enumerate(_iterate_fragments(plan)):
                name, cluster = next(rows, (None, None))
                expected = number(get_fragment_name(record, mate, plan.platform), fragment, repeated)
                if cluster is None or name != expected:
                    raise InputError(
                        f"has '{name}' where the reads have '{expected}'",
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


def _iterate_fragments(plan: ReadPlan):
    for planned in plan.lanes:
        with open_lane(planned.lane, planned.etags) as reader:
            yield from reader
