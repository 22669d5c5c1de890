"""The reference index: every genome cut into tiles of about 1,000 bp, and the vector of each.

The vectors are those of the embedder, not projected: one index serves every sample, whatever its projection, and a
larger window is the mean of neighbouring tiles. One Parquet file holds all; what made it and which genomes it covers
stand in the file's metadata, so that labelling can refuse an index that does not fit.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from Bio.SeqIO.FastaIO import SimpleFastaParser

from readclade.embedders.protocol import Embedder, get_embedder
from readclade.errors import InputError
from readclade.inputs.tables import Reference, read_references
from readclade.nucleotides import NUCLEOTIDES
from readclade.storage.files import hash_file, open_text, replace_when_done

_log = logging.getLogger(__name__)

TILE_BP = 1000
# A tile with fewer bases says too little; it is joined to the one before it.
_SHORTEST_BP = 500
# A genome of 5 Mb has more windows than its composition needs. Runs, not single tiles, so that larger windows can be
# pooled from neighbours.
MOST_TILES = 2000
_RUN_TILES = 10
_METADATA_KEY = "readclade"
_SPELLING = NUCLEOTIDES.tobytes()
_NO_BASES = b"*-"  # ends and gaps
_LETTER = f"[{re.escape(''.join(map(chr, np.flatnonzero(NUCLEOTIDES))))}*-]"


@dataclass(frozen=True)
class IndexedReference:
    """One genome of the index.

    Attributes:
        lineage: a name for each of `lineage.RANKS`, "" where it is unknown.
        bases: length of all its records.
        sha256: checksum of its FASTA file.
        tiles: how many of its tiles are in the index.
    """

    accession: str
    taxid: int
    lineage: tuple[str, ...]
    bases: int
    sha256: str
    tiles: int


@dataclass(frozen=True)
class ReferenceIndex:
    """What an index says of itself; the vectors are read genome by genome.

    Attributes:
        embedder: name, revision and parameters.
    """

    path: Path
    embedder: dict[str, Any]
    tile_bp: int
    references: tuple[IndexedReference, ...]

    def iterate_vectors(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (number of the reference, (n, D) float32 vectors, (n,) bases) for each one, in order."""
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["reference", "bases", "vector"])
                vectors = table.column("vector").combine_chunks()
                yield (
                    table.column("reference")[0].as_py(),
                    vectors.flatten().to_numpy().reshape(len(vectors), -1),
                    table.column("bases").to_numpy(),
                )


def read_records(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and sequence (A, C, G, T, N) of each record of a FASTA file, plain or gzip.

    Blank lines, comments (;), ends (*) and gaps (-) are passed over, and headers may be in any encoding.

    Raises:
        InputError: the file is missing, damaged, no FASTA, or holds letters that are no nucleotides.
    """
    remedy = "give the genome as FASTA of nucleotides, plain or gzip"
    with open_text(path, "utf-8-sig", "replace") as file:
        lines = (line for line in file if not line.startswith(";") and not line.isspace())
        first = next(lines, ">")
        if first[0] != ">":
            raise InputError(f"is not FASTA: it begins with {first[0]!r} instead of '>'", path=path, remedy=remedy)
        found = 0
        for title, sequence in SimpleFastaParser(chain([first], lines)):
            name = title.split(maxsplit=1)[0] if title.strip() else f"record {found + 1}"
            letters = sequence.encode("ascii", "replace").translate(_SPELLING, _NO_BASES)
            if 0 in letters:
                wrong = next(letter for letter in sequence if not re.match(_LETTER, letter))
                raise InputError(f"record '{name}' holds {wrong!r}, which is no nucleotide", path=path, remedy=remedy)
            found += bool(letters)
            if letters:
                yield name, letters
    if not found:
        raise InputError("holds no sequence", path=path, remedy=remedy)


def cut_tiles(length: int, tile_bp: int = TILE_BP) -> list[tuple[int, int]]:
    """Return (begin, end) of the tiles of a record; a last one that is too short belongs to the one before it."""
    begins = list(range(0, length, tile_bp))
    if len(begins) > 1 and length - begins[-1] < _SHORTEST_BP:
        begins.pop()
    return list(zip(begins, [*begins[1:], length], strict=True))


def choose_tiles(count: int, most: int = MOST_TILES) -> np.ndarray:
    """Return the numbers of the tiles to keep: all, or evenly spaced runs of neighbours, at most `most` tiles."""
    if count <= most:
        return np.arange(count)
    runs = max(1, most // _RUN_TILES)
    begins = np.arange(runs) * (count - _RUN_TILES) // max(1, runs - 1)
    return np.unique(begins[:, None] + np.arange(_RUN_TILES))[:most]


def embed_reference(number: int, reference: Reference, embedder: Embedder) -> tuple[pa.Table, IndexedReference]:
    """Cut and embed one genome; tiles without any signal (only N) are left out."""
    records = list(read_records(reference.fasta))
    tiles = [(i, *tile) for i, (_, sequence) in enumerate(records) for tile in cut_tiles(len(sequence))]
    kept = [tiles[i] for i in choose_tiles(len(tiles))]
    sequences = [records[i][1][begin:end] for i, begin, end in kept]
    vectors = embedder.embed(pa.array([sequence.decode("ascii") for sequence in sequences], pa.string()))
    known = np.flatnonzero(~np.isnan(vectors[:, 0]))
    if not len(known):
        raise InputError(
            "holds no stretch of known letters", path=reference.fasta, remedy="give a genome that is not all N"
        )
    table = pa.table(
        [
            pa.array(np.full(len(known), number, np.int32)),
            pa.array([records[kept[i][0]][0] for i in known], pa.string()),
            pa.array([kept[i][1] for i in known], pa.int64()),
            pa.array([len(sequences[i]) - sequences[i].count(b"N") for i in known], pa.int32()),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors[known].reshape(-1)), vectors.shape[1]),
        ],
        schema=_get_schema(vectors.shape[1]),
    )
    bases = sum(len(sequence) for _, sequence in records)
    sha256 = hash_file(reference.fasta)
    return table, IndexedReference(
        reference.accession, reference.taxid, tuple(reference.lineage), bases, sha256, len(known)
    )


def index_references(
    table: Path,
    embedder_name: str,
    parameters: Mapping[str, Any],
    out: Path,
    threads: int = 1,
) -> ReferenceIndex:
    """Embed every genome of the table of references into one Parquet file, a row group for each.

    Args:
        table: references.tsv.
        out: the file to write; it appears when it is whole.
        threads: genomes that are in memory, and in work, at a time.

    Raises:
        InputError: the table or a FASTA file cannot be used.
    """
    references = read_references(table)
    embedder = get_embedder(embedder_name, parameters)
    embedder_json = {"name": embedder.name, "revision": embedder.revision, "parameters": dict(embedder.parameters)}
    indexed: list[IndexedReference] = []
    numbered = enumerate(references)
    with (
        replace_when_done(out) as temporary,
        pq.ParquetWriter(temporary, _get_schema(embedder.dim), compression="zstd", use_dictionary=["record"]) as writer,
        ThreadPoolExecutor(threads) as pool,
    ):
        while batch := list(islice(numbered, threads)):
            for tiles, reference in pool.map(lambda item: embed_reference(item[0], item[1], embedder), batch):
                writer.write_table(tiles, row_group_size=len(tiles))
                indexed.append(reference)
            if len(indexed) % max(1, len(references) // 20) < len(batch) or len(indexed) == len(references):
                _log.info(f"{len(indexed):,} of {len(references):,} references")
        description = {
            "embedder": embedder_json,
            "tile_bp": TILE_BP,
            "references": [vars(reference) for reference in indexed],
        }
        writer.add_key_value_metadata({_METADATA_KEY: json.dumps(description)})
    return ReferenceIndex(out, embedder_json, TILE_BP, tuple(indexed))


def read_index(path: Path) -> ReferenceIndex:
    """Read what an index says of itself.

    Raises:
        InputError: the file is missing or no index of references.
    """
    remedy = "run `index_references` for the table of references"
    try:
        metadata = pq.read_metadata(path).metadata or {}
        value = json.loads(metadata[_METADATA_KEY.encode()])
        references = tuple(
            IndexedReference(**(reference | {"lineage": tuple(reference["lineage"])}))
            for reference in value["references"]
        )
        return ReferenceIndex(Path(path), value["embedder"], value["tile_bp"], references)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy=remedy) from None
    except (pa.ArrowInvalid, KeyError, ValueError, TypeError):
        raise InputError("is no index of references", path=path, remedy=remedy) from None


def check_embedder(index: ReferenceIndex, embedder: Mapping[str, Any], manifest: Path) -> None:
    """Refuse an index whose vectors are not comparable with a sample's.

    Args:
        embedder: the embedder of the sample's manifest.
        manifest: named in the error.

    Raises:
        InputError: name, revision or parameters differ.
    """
    for key in ("name", "revision", "parameters"):
        if index.embedder[key] != embedder[key]:
            raise InputError(
                f"was made by an embedder with {key} {index.embedder[key]!r}, but {manifest} by one with"
                f" {embedder[key]!r}",
                path=index.path,
                remedy="run `index_references` with the embedder of the sample",
            )


def _get_schema(dim: int) -> pa.Schema:
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
    return pa.schema(
        [
            pa.field("reference", pa.int32(), nullable=False),
            pa.field("record", pa.string(), nullable=False),
            pa.field("position", pa.int64(), nullable=False),
            pa.field("bases", pa.int32(), nullable=False),
            pa.field("vector", vector, nullable=False),
        ]
    )
