"""The embeddings of a few fragments, from shards on disk or on S3."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from readclade.errors import InputError
from readclade.shards.manifest import Manifest
from readclade.storage import locations


def read_vectors(manifest: Manifest, folder: str, ids: np.ndarray) -> np.ndarray:
    """Return the embeddings (n, d) float64 of the fragments whose ids, sorted, are given.

    Args:
        folder: of the shards, or their prefix on S3, from which only the pages that are needed come.

    Raises:
        InputError: a shard is missing or not of the manifest's form.
    """
    vectors = np.zeros((len(ids), manifest.d))
    for shard in manifest.shards:
        begin, end = np.searchsorted(ids, [shard.first_fragment, shard.first_fragment + shard.rows])
        if begin == end:
            continue
        path = locations.join(folder, shard.file)
        try:
            with locations.open_read(path) as stream, pq.ParquetFile(stream) as file:
                if file.metadata.num_rows != shard.rows:
                    raise _refuse(f"holds {file.metadata.num_rows:,} fragments instead of {shard.rows:,}", path)
                first = shard.first_fragment
                for number in range(file.num_row_groups):
                    rows = file.metadata.row_group(number).num_rows
                    low, high = np.searchsorted(ids, [first, first + rows])
                    if low < high:
                        column = file.read_row_group(number, columns=["embedding"]).column(0).combine_chunks()
                        matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(rows, manifest.d)
                        vectors[low:high] = matrix[ids[low:high] - first]
                    first += rows
        except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
            raise _refuse(f"cannot be read as a shard: {error}", path) from None
    return vectors


def _refuse(message: str, path: str) -> InputError:
    remedy = "run `embed` for this sample; deleting the file makes it run again"
    return InputError(message, path=path, remedy=remedy)
