"""Shards: Parquet files of fragments, their sequences and their embeddings."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from readclade import fastq
from readclade.errors import InputError
from readclade.files import hash_file, replace_when_done
from readclade.kmer import get_letters
from readclade.manifest import Manifest, Shard
from readclade.tables import Lane

# One batch is one row group: large enough to compress well, small enough that an actor's memory stays bounded.
_BATCH_BASES = 8_000_000
_ERROR_OF_QUALITY = (10 ** (-(np.arange(256) - 33) / 10)).astype(np.float64)


@dataclass(frozen=True)
class Batch:
    """n fragments of a sample, in their order.

    Attributes:
        first_fragment: id of the first one.
        names: FASTQ names up to the first blank, without /1 and /2.
        sequences: upper-case reads of A, C, G, T, N.
        mates: their mates, or None for single reads.
        error_rates: (n,) float32, mean error probability of the bases; NaN without bases.
        bases: letters of all reads.
    """

    first_fragment: int
    names: pa.StringArray
    sequences: pa.StringArray
    mates: pa.StringArray | None
    error_rates: np.ndarray
    bases: int


@numba.njit(cache=True, nogil=True)
def _sum_errors(letters, offsets, errors, sums):
    for i in range(len(sums)):
        total = 0.0
        for position in range(offsets[i], offsets[i + 1]):
            total += errors[letters[position]]
        sums[i] += total


def read_batches(reads: dict, index: int, folder: Path) -> Iterator[Batch]:
    """Read the fragments of one planned shard from the FASTQ files, a bounded number of bases at a time.

    Args:
        reads: the content of `reads.json`.
        index: which of `reads["shards"]`.
        folder: where `reads.json` lies; the seek indexes are relative to it.

    Raises:
        InputError: the files are not those that `fetch` looked at.
    """
    plan = reads["shards"][index]
    described = reads["lanes"][plan["lane"]]
    lane = Lane(described["fq1"], described["fq2"])
    fragments = 0
    try:
        with ExitStack() as stack:
            streams = []
            for path, begin, end, seek_index in zip(
                lane.paths, plan["begin"], plan["end"], described["indexes"], strict=True
            ):
                seek_index = None if seek_index is None else str(folder / seek_index)
                streams.append(stack.enter_context(closing(fastq.open_range(path, begin, end, seek_index))))
            names, sequences, mates, qualities, mate_qualities = columns = [], [], [], [], []
            bases = 0
            for record, mate in fastq.iterate_fragments(streams, lane):
                names.append(fastq.get_fragment_name(record))
                sequences.append(record.sequence)
                qualities.append(record.qualities)
                bases += len(record.sequence)
                if mate is not None:
                    mates.append(mate.sequence)
                    mate_qualities.append(mate.qualities)
                    bases += len(mate.sequence)
                if bases >= _BATCH_BASES:
                    yield _make_batch(plan["first_fragment"] + fragments, *columns)
                    fragments += len(names)
                    for stream in streams:
                        stream.forget_before(fastq.get_lines_per_fragment(lane) * fragments)
                    for column in columns:
                        column.clear()
                    bases = 0
            if names:
                yield _make_batch(plan["first_fragment"] + fragments, *columns)
                fragments += len(names)
    except InputError as error:  # `fetch` has seen no such problem in these bytes
        raise _changed(error.path or lane.fq1, error.message) from None
    except (ValueError, RuntimeError, OSError) as error:  # rapidgzip, where the bytes do not fit the seek index
        raise _changed(lane.fq1, str(error).partition("\n")[0]) from None
    if fragments != plan["fragments"]:
        raise _changed(lane.fq1, f"found {fragments:,} fragments where there were {plan['fragments']:,}")


def _changed(path: str, what: str) -> InputError:
    return InputError(f"is not the file that `fetch` looked at: {what}", path=path, remedy="run `fetch` again")


def _make_batch(first_fragment: int, names, sequences, mates, qualities, mate_qualities) -> Batch:
    sums = np.zeros(len(names))
    bases = 0
    for column in (qualities, mate_qualities):
        if column:
            letters, offsets = get_letters(pa.array(column, pa.string()))
            _sum_errors(letters, offsets, _ERROR_OF_QUALITY, sums)
            bases = bases + np.diff(offsets)
    with np.errstate(invalid="ignore"):
        error_rates = (sums / bases).astype(np.float32)
    return Batch(
        first_fragment,
        pa.array(names, pa.string()),
        pc.ascii_upper(pa.array(sequences, pa.string())),
        pc.ascii_upper(pa.array(mates, pa.string())) if mates else None,
        error_rates,
        int(np.sum(bases)),
    )


def get_schema(d: int) -> pa.Schema:
    """Return the columns of a shard whose embeddings have d values."""
    return pa.schema(
        [
            pa.field("fragment", pa.int64(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
            pa.field("sequence", pa.string(), nullable=False),
            pa.field("mate", pa.string(), nullable=False),
            pa.field("error_rate", pa.float32(), nullable=False),
            pa.field("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False), d), nullable=False),
        ]
    )


def write_shard(path: Path, batches: Iterable[Batch], embed, d: int) -> Shard:
    """Embed and write the batches of one shard; the file appears under its name only when it is whole.

    Args:
        embed: function of a batch to (n, d) float32 embeddings.
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
            for batch in batches:
                embeddings = embed(batch)
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
