"""binning.tsv: a row for each assigned fragment, with taxids and without."""

import pyarrow as pa
import pyarrow.parquet as pq

from readclade.results.binning import open_binning, write_binning
from readclade.results.cami import read_binning


def test_write_binning_has_a_row_for_each_assigned_fragment(tmp_path):
    table = pa.table({"name": ["a", "b", "c"], "cluster": pa.array([1, -1, 0], pa.int32())})
    pq.write_table(table, tmp_path / "assignments.parquet")
    write_binning(tmp_path / "binning.tsv", "s", tmp_path / "assignments.parquet", ["666", ""])
    text = (tmp_path / "binning.tsv").read_text()
    assert text == "@Version:0.9.1\n@SampleID:s\n@@SEQUENCEID\tBINID\tTAXID\na\tc2\t\nc\tc1\t666\n"
    assert read_binning(tmp_path / "binning.tsv", "s").taxids == {"a": "", "c": "666"}


def test_open_binning_without_taxids_has_no_such_column(tmp_path):
    with open_binning(tmp_path / "binning.tsv", "s") as add:
        add(["a", "b"], [0, -1])
        add(["c"], [11])
    assert (tmp_path / "binning.tsv").read_text() == "@Version:0.9.1\n@SampleID:s\n@@SEQUENCEID\tBINID\na\tc1\nc\tc12\n"
