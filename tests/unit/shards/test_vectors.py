"""The embeddings of a few fragments, from shards of several row groups."""

import numpy as np
import pyarrow as pa
import pytest

from readclade.errors import InputError
from readclade.reads.batch import Batch
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import write_shard
from readclade.shards.vectors import read_vectors

D = 3


def make_batch(first: int, count: int) -> tuple[Batch, np.ndarray]:
    text = pa.array(["A"] * count)
    embeddings = np.repeat(np.arange(first, first + count, dtype=np.float32), D).reshape(count, D)
    return Batch(first, text, text, None, np.zeros(count, np.float32), count), embeddings


@pytest.fixture
def manifest(tmp_path):
    """Two shards: fragments 0 to 4 in two row groups, then 5 to 6."""
    groups = [make_batch(0, 2), make_batch(2, 3)]
    shards = [
        write_shard(tmp_path / "0.parquet", groups, D),
        write_shard(tmp_path / "1.parquet", [make_batch(5, 2)], D),
    ]
    return Manifest("s", "ont", {}, D, "0" * 64, tuple(shards))


@pytest.mark.parametrize("ids", [[], [0], [1, 2], [4, 5], [0, 3, 6], list(range(7))])
def test_read_vectors_returns_those_asked_for(manifest, tmp_path, ids):
    vectors = read_vectors(manifest, str(tmp_path), np.array(ids, np.int64))
    assert vectors.tolist() == [[number] * D for number in ids]


def test_read_vectors_opens_only_shards_that_are_needed(manifest, tmp_path):
    (tmp_path / "1.parquet").unlink()
    assert read_vectors(manifest, str(tmp_path), np.array([4])).tolist() == [[4] * D]
    with pytest.raises(InputError, match="cannot be read as a shard") as caught:
        read_vectors(manifest, str(tmp_path), np.array([4, 5]))
    assert "run `embed`" in caught.value.remedy


def test_read_vectors_refuses_a_shard_of_other_fragments(manifest, tmp_path):
    (tmp_path / "0.parquet").write_bytes((tmp_path / "1.parquet").read_bytes())
    with pytest.raises(InputError, match="holds 2 fragments instead of 5"):
        read_vectors(manifest, str(tmp_path), np.array([4]))
