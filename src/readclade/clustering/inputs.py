"""The job's data: the shards of its manifests, and what one rank holds of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from readclade.clustering.links.sequences import Sequences, encode_sequences
from readclade.errors import InputError
from readclade.shards.manifest import Manifest, Shard, read_manifest
from readclade.shards.parquet import get_embeddings, read_shard


@dataclass(frozen=True)
class Entry:
    """One shard of the job.

    Attributes:
        offset: what is added to a fragment's id in its sample, so that ids differ over all samples of the job.
    """

    manifest: Manifest
    folder: Path
    shard: Shard
    offset: int


@dataclass(frozen=True)
class LocalFragments:
    """The n fragments of one rank's shards.

    Attributes:
        bases: (n,) int64.
        known: (n,) bool, marks the fragments whose embedding says something.
        error_rates: (n,) float32, NaN where unknown.
        sequences: of the same fragments.
    """

    bases: np.ndarray
    known: np.ndarray
    error_rates: np.ndarray
    sequences: Sequences


def list_entries(manifests: list[Path]) -> list[Entry]:
    """Return the shards of all manifests in order.

    Raises:
        InputError: a manifest cannot be used, or is of another platform or embedding than the first.
    """
    entries: list[Entry] = []
    offset = 0
    first = None
    for path in manifests:
        manifest = read_manifest(path)
        first = first or manifest
        if (manifest.embedder, manifest.d) != (first.embedder, first.d):
            raise InputError(
                f"was embedded otherwise than {manifests[0]}, so that the vectors cannot be compared",
                path=path,
                remedy="cluster the samples one by one, or embed them with one projection",
            )
        if manifest.platform != first.platform:
            raise InputError(
                f"is of platform {manifest.platform}, but {manifests[0]} of {first.platform}: such reads are linked"
                " in different ways",
                path=path,
                remedy="cluster samples of different platforms one by one",
            )
        entries += [Entry(manifest, Path(path).parent, shard, offset) for shard in manifest.shards]
        offset += manifest.fragments
    if not entries:
        raise InputError("holds no shards", path=manifests[0], remedy="run `embed` again")
    return entries


def load_fragments(entries: list[Entry]) -> LocalFragments:
    """Read the shards of one rank, but for the embeddings, which are only looked at.

    Raises:
        InputError: a shard is missing, damaged, of another form, or holds embeddings that are no numbers.
    """
    count = sum(entry.shard.rows for entry in entries)
    error_rates, known = np.empty(count, np.float32), np.empty(count, bool)

    def read() -> Iterator[pa.Table]:
        for rows, entry, table in _read(entries, ["sequence", "mate", "error_rate", "embedding"]):
            error_rates[rows] = table.column("error_rate").to_numpy()
            known[rows] = _get_embeddings(entry, table).any(axis=1)
            yield table
            del table  # before the next one comes

    sequences = encode_sequences(read())
    return LocalFragments(sequences.lengths, known, error_rates, sequences)


def load_embeddings(entries: list[Entry], d: int) -> np.ndarray:
    """Return (n, d) float16, as exact as `embed` made them, the embeddings in the shards of one rank.

    Raises:
        InputError: as `load_fragments`.
    """
    embeddings = np.empty((sum(entry.shard.rows for entry in entries), d), np.float16)
    for rows, entry, table in _read(entries, ["embedding"]):
        embeddings[rows] = _get_embeddings(entry, table)
    return embeddings


def load_names(entries: list[Entry]) -> pa.LargeStringArray:
    """Return the names of the fragments of one rank.

    Raises:
        InputError: as `load_fragments`.
    """
    columns = [table.column("name").cast(pa.large_string()) for _, _, table in _read(entries, ["name"])]
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.large_string()).combine_chunks()


def _read(entries: list[Entry], columns: list[str]) -> Iterator[tuple[slice, Entry, pa.Table]]:
    """Yield shard by shard which of the rank's rows it holds, and these rows."""
    end = 0
    for entry in entries:
        rows = slice(end, end + entry.shard.rows)
        yield rows, entry, read_shard(entry.manifest, entry.shard, entry.folder, columns)
        end = rows.stop
        # Else Arrow keeps the memory of a shard or two for good.
        pa.default_memory_pool().release_unused()


def _get_embeddings(entry: Entry, table: pa.Table) -> np.ndarray:
    with np.errstate(over="ignore"):
        embeddings = get_embeddings(table, entry.manifest.d).astype(np.float16)
    if not np.isfinite(embeddings).all():
        raise InputError(
            "holds embeddings that are no numbers", path=entry.folder / entry.shard.file, remedy="run `embed` again"
        )
    return embeddings
