"""binning.tsv, the cluster of every assigned fragment as CAMI's tools read it: its one writer.

`cami` reads this file as it does those of other tools, and knows where its form is described.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from readclade.results.assignments import iterate_names
from readclade.results.names import get_cluster_name
from readclade.storage.files import replace_when_done

VERSION = "0.9.1"


@contextmanager
def open_binning(
    path: Path, sample: str, taxids: Sequence[str] | None = None
) -> Iterator[Callable[[Iterable[str], Iterable[int]], None]]:
    """Begin a binning file, and yield what appends rows to it, given names and clusters; -1 has no row.

    Args:
        taxids: by cluster, "" where it has none; None for a file without the column TAXID.
    """
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"@Version:{VERSION}\n@SampleID:{sample}\n")
        file.write("@@SEQUENCEID\tBINID\n" if taxids is None else "@@SEQUENCEID\tBINID\tTAXID\n")

        def add(names: Iterable[str], clusters: Iterable[int]) -> None:
            for name, cluster in zip(names, clusters, strict=True):
                if cluster >= 0:
                    taxid = "" if taxids is None else f"\t{taxids[cluster]}"
                    file.write(f"{name}\t{get_cluster_name(cluster)}{taxid}\n")

        yield add


def write_binning(path: Path, sample: str, assignments: Path, taxids: Sequence[str]) -> None:
    """Write a binning file with one row for each assigned fragment.

    Args:
        assignments: assignments.parquet of the cluster stage.
        taxids: by cluster, "" where it has none.
    """
    with replace_when_done(path) as temporary, open_binning(temporary, sample, taxids) as add:
        for names, clusters in iterate_names(assignments):
            add(names, clusters.tolist())
