"""assignments.parquet: every reader finds what the writer wrote, and names a file that is damaged."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from readclade.errors import InputError
from readclade.results.assignments import (
    SCHEMA,
    iterate_groups,
    iterate_names,
    make_rows,
    open_assignments,
    read_assignments,
)

NAMES = ["a", "b", "c", "d", "e"]
GROUPS = np.array([0, 0, 2, 3, 4])
CLUSTERS = np.array([0, 0, 1, 1, -1])


@pytest.fixture
def path(tmp_path):
    rows = make_rows(np.arange(5), pa.chunked_array([NAMES]), GROUPS, CLUSTERS, np.full(5, 0.5), np.full(5, np.nan))
    with open_assignments(tmp_path / "assignments.parquet") as add:
        add(rows.slice(0, 2))
        add(rows.slice(2))
    return tmp_path / "assignments.parquet"


def test_written_table_has_the_schema(path):
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert table["fragment"].to_pylist() == list(range(5))
    assert table["distance"].to_pylist() == [0.5] * 5


def test_open_assignments_refuses_rows_that_lack_a_column(tmp_path, path):
    rows = pq.read_table(path).drop_columns(["margin"])
    with pytest.raises(ValueError, match="names"), open_assignments(tmp_path / "other.parquet") as add:
        add(rows)


def test_iterators_return_all_fragments_in_order(path):
    (names, clusters), *more = iterate_names(path)
    assert (names, clusters.tolist(), more) == (NAMES, CLUSTERS.tolist(), [])
    ((clusters, groups),) = iterate_groups(path)
    assert (clusters.tolist(), groups.tolist()) == (CLUSTERS.tolist(), GROUPS.tolist())
    assert clusters.dtype == groups.dtype == np.int64


def test_read_assignments_counts_genomes_by_cluster(path):
    truth = (pa.array(["e", "c", "b", "a"]), np.array([1, 1, 0, 0]))
    found = read_assignments(path, 5, 2, np.array([1, 4]), truth)
    assert found.clusters.tolist() == [0, -1]
    assert found.is_linked
    assert found.confusion.tolist() == [[2, 0, 0], [0, 1, 1]]
    assert read_assignments(path, 5, 2, np.array([], np.int64), None).confusion is None


def test_read_assignments_refuses_other_fragments_and_clusters(path):
    with pytest.raises(InputError, match="holds 5 fragments, but the shards 6"):
        read_assignments(path, 6, 2, np.array([0]), None)
    with pytest.raises(InputError, match="names a cluster that is not one of the 1"):
        read_assignments(path, 5, 1, np.array([0]), None)


@pytest.mark.parametrize("damage", ["missing", "text", "column"])
def test_every_reader_names_a_damaged_file(path, damage):
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("text")
    else:
        pq.write_table(pq.read_table(path).drop_columns(["cluster"]), path)
    readers = [iterate_names, iterate_groups, lambda path: [read_assignments(path, 5, 2, np.array([0]), None)]]
    for read in readers:
        with pytest.raises(InputError, match="cannot be read as a table of fragments") as caught:
            list(read(path))
        assert caught.value.path == str(path)
        assert "run `cluster`" in caught.value.remedy
