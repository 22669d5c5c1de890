"""The reads of each cluster as FASTQ."""

import gzip

import numpy as np
import pyarrow as pa
import pytest

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads.plan import load_reads
from readclade.reads.summary import summarise_reads
from readclade.results.assignments import make_rows, open_assignments
from readclade.results.bins import write_bins


def write_pairs(folder):
    """Write three read pairs and return what `fetch` finds of them."""
    for mate in (1, 2):
        text = "".join(f"@r{i}/{mate}\n{'ACGT' * mate}\n+\n{'IIII' * mate}\n" for i in range(3))
        (folder / f"{mate}.fastq").write_text(text)
    lane = Lane(str(folder / "1.fastq"), str(folder / "2.fastq"))
    summarise_reads("s", "illumina", [lane], folder / "reads", 100)
    return load_reads(folder / "reads/reads.json")


def write_clusters(path, names, clusters):
    with open_assignments(path) as add:
        nothing = np.zeros(len(names))
        add(
            make_rows(
                np.arange(len(names)), pa.chunked_array([names]), np.arange(len(names)), clusters, nothing, nothing
            )
        )


def test_write_bins_keeps_mates_together_and_leaves_out_the_unassigned(tmp_path):
    reads = write_pairs(tmp_path)
    write_clusters(tmp_path / "assignments.parquet", ["r0", "r1", "r2"], np.array([11, -1, 0]))
    counts = write_bins(reads, tmp_path / "assignments.parquet", tmp_path / "bins")
    assert counts == {"c12.fastq.gz": 1, "c1.fastq.gz": 1}
    assert sorted(path.name for path in (tmp_path / "bins").iterdir()) == ["c1.fastq.gz", "c12.fastq.gz"]
    with gzip.open(tmp_path / "bins/c1.fastq.gz", "rt") as file:
        assert file.read() == "@r2/1\nACGT\n+\nIIII\n@r2/2\nACGTACGT\n+\nIIIIIIII\n"


def test_write_bins_refuses_other_reads(tmp_path):
    reads = write_pairs(tmp_path)
    write_clusters(tmp_path / "assignments.parquet", ["r0", "other", "r2"], np.array([0, 0, 0]))
    with pytest.raises(InputError, match="has 'other' where the reads have 'r1'"):
        write_bins(reads, tmp_path / "assignments.parquet", tmp_path / "bins")
    assert not (tmp_path / "bins").exists()
