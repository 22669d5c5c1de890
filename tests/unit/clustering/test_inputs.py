"""What a rank reads of its shards."""

import numpy as np
import pyarrow as pa
import pytest

from readclade.clustering.inputs import Entry, load_embeddings, load_fragments
from readclade.errors import InputError
from readclade.reads.batch import Batch
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import write_shard


def make_entries(folder, embeddings: np.ndarray, sizes: list[int]) -> list[Entry]:
    """Write reads ACGT, ACGTA, ... as shards of the given sizes."""
    reads = ["ACGT" + "A" * number for number in range(len(embeddings))]
    shards, begin = [], 0
    for size in sizes:
        rows = slice(begin, begin + size)
        batch = Batch(begin, *[pa.array(reads[rows])] * 2, None, np.arange(begin, begin + size, dtype=np.float32), 1)
        path = folder / f"shard-{begin:05d}.parquet"
        shards.append(write_shard(path, [(batch, embeddings[rows])], embeddings.shape[1]))
        begin += size
    manifest = Manifest("sample", "ont", {}, embeddings.shape[1], "0" * 64, tuple(shards))
    return [Entry(manifest, folder, shard, 0) for shard in shards]


def test_shards_are_joined_and_embeddings_stay_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    embeddings = (rng.normal(0, 1, (9, 3)) * 10.0 ** rng.integers(-7, 4, (9, 3))).astype(np.float16).astype(np.float32)
    embeddings[[2, 8]] = 0
    entries = make_entries(tmp_path, embeddings, [4, 1, 4])
    found = load_embeddings(entries, 3)
    assert found.dtype == np.float16
    assert np.array_equal(found.astype(np.float32), embeddings)
    local = load_fragments(entries)
    assert np.flatnonzero(~local.known).tolist() == [2, 8]
    assert local.error_rates.tolist() == list(range(9))
    assert local.bases.tolist() == local.sequences.lengths.tolist() == list(range(4, 13))


def test_a_rank_without_shards_has_no_fragments():
    local = load_fragments([])
    assert load_embeddings([], 3).shape == (0, 3)
    assert len(local.sequences) == len(local.known) == len(local.error_rates) == len(local.bases) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_embeddings_that_are_no_numbers_are_refused_by_file(tmp_path, value):
    embeddings = np.ones((4, 2), np.float32)
    embeddings[3, 1] = value
    entries = make_entries(tmp_path, embeddings, [2, 2])
    for load in (load_fragments, lambda entries: load_embeddings(entries, 2)):
        with pytest.raises(InputError, match=r"shard-00002\.parquet: holds embeddings that are no numbers"):
            load(entries)
