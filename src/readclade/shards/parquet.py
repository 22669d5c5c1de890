"""Shards: Parquet files of fragments, their sequences and their embeddings."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from readclade.errors import InputError
from readclade.reads.batch import Batch
from readclade.shards.manifest import Manifest, Shard
from readclade.storage.files import hash_file, replace_when_done


def get_schema(d: int) -> pa.Schema:
    """Return the columns of a shard whose embeddings have d values."""
    return pa.schema(
        [
            pa.field("fragment", pa.int64(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
            pa.field("sequence", pa.string(), nullable=False),
            pa.field("mate", pa.string(), nullable=False),
            pa.field("error_rate", pa.float32(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), d), nullable=False),
        ]
    )


def write_shard(path: Path, embedded: Iterable[tuple[Batch, np.ndarray]], d: int) -> Shard:
    """Write the batches of one shard; the file appears under its name only when it is whole.

    Args:
        embedded: batches of n fragments, each with its (n, d) float32 embeddings.
    """
    schema = get_schema(d)
    rows = bases = 0
    first_fragment = None
    with replace_when_done(path) as temporary:
        with pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=False,
            column_encoding={
                "fragment": "DELTA_BINARY_PACKED",
                "name": "DELTA_BYTE_ARRAY",
                "embedding.list.element": "BYTE_STREAM_SPLIT",
            },
        ) as writer:
            for batch, embeddings in embedded:
                count = len(batch.names)
                columns = [
                    pa.array(np.arange(batch.first_fragment, batch.first_fragment + count)),
                    batch.names,
                    batch.sequences,
                    pa.repeat(pa.scalar(""), count) if batch.mates is None else batch.mates,
                    pa.array(batch.error_rates),
                    pa.FixedSizeListArray.from_arrays(
                        pa.array(embeddings.reshape(-1)), type=schema.field("embedding").type
                    ),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=count)
                first_fragment = batch.first_fragment if first_fragment is None else first_fragment
                rows += count
                bases += batch.bases
        size, checksum = temporary.stat().st_size, hash_file(temporary)
    assert first_fragment is not None  # no shard is planned without fragments
    return Shard(Path(path).name, rows, bases, size, checksum, first_fragment)


def read_shard(manifest: Manifest, shard: Shard, folder: Path, columns: list[str]) -> pa.Table:
    """Read columns of a shard whose size and checksum are as its manifest says.

    Raises:
        InputError: the shard is missing, damaged or of another form, by name.
    """
    path = Path(folder) / shard.file
    if not shard.is_intact(Path(folder)):
        raise InputError(
            "is missing" if not path.exists() else "is damaged: its size or checksum is not the manifest's",
            path=path,
            remedy="delete it and run the workflow again: only this shard is made anew",
        )
    table = pq.read_table(path, columns=columns)
    expected = get_schema(manifest.d)
    for name in columns:
        if table.schema.field(name).type != expected.field(name).type:
            raise InputError(
                f"column {name} is {table.schema.field(name).type}, expected {expected.field(name).type}",
                path=path,
                remedy="the manifest describes other shards: run `embed` again",
            )
    return table


def get_embeddings(table: pa.Table, d: int) -> np.ndarray:
    """Return the embedding column as (n, d) float32."""
    column = table.column("embedding").combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, d)
