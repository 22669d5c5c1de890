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

_COLUMNS = ["sequence", "mate", "error_rate", "embedding"]


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
        embeddings: (n, d) float16, as exact as `embed` makes them.
        bases: (n,) int64.
        known: (n,) bool, marks the fragments whose embedding says something.
        error_rates: (n,) float32, NaN where unknown.
        sequences: of the same fragments.
    """

    embeddings: np.ndarray
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


def load_fragments(entries: list[Entry], d: int) -> LocalFragments:
    """Read the shards of one rank.

    Raises:
        InputError: a shard is missing, damaged, of another form, or holds embeddings that are no numbers.
    """
    count = sum(entry.shard.rows for entry in entries)
    embeddings, error_rates = np.empty((count, d), np.float16), np.empty(count, np.float32)
    known = np.empty(count, bool)

    def read_all() -> Iterator[pa.Table]:
        end = 0
        for entry in entries:
            table = read_shard(entry.manifest, entry.shard, entry.folder, _COLUMNS)
            rows = slice(end, end := end + len(table))
            with np.errstate(over="ignore"):
                embeddings[rows] = get_embeddings(table, d)
            if not np.isfinite(embeddings[rows]).all():
                raise InputError(
                    "holds embeddings that are no numbers",
                    path=entry.folder / entry.shard.file,
                    remedy="run `embed` again",
                )
            known[rows] = embeddings[rows].any(axis=1)
            error_rates[rows] = table.column("error_rate").to_numpy()
            yield table

    sequences = encode_sequences(read_all())
    return LocalFragments(embeddings, sequences.lengths, known, error_rates, sequences)
