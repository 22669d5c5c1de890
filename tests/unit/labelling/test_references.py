"""The reference index: tiles, vectors, and the files it refuses."""

import gzip
import hashlib
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from readclade.embedders.protocol import get_embedder
from readclade.errors import InputError
from readclade.labelling.references import (
    check_embedder,
    choose_tiles,
    cut_tiles,
    index_references,
    read_index,
    read_records,
)

LINEAGE = "d__Bacteria;p__P;c__C;o__O;f__F;g__G;s__G s"


@pytest.fixture
def write_table(tmp_path):
    """Return a function that writes FASTA files and the table that lists them, with taxids from 1 on."""

    def write(*contents: bytes):
        lines = ["accession\tfasta\ttaxid\tlineage"]
        for number, content in enumerate(contents, 1):
            (tmp_path / f"{number}.fa").write_bytes(content)
            lines.append(f"A{number}\t{number}.fa\t{number}\t{LINEAGE}{number}")
        (tmp_path / "references.tsv").write_text("\n".join(lines) + "\n")
        return tmp_path / "references.tsv"

    return write


def make_sequence(length: int, seed: int = 0) -> bytes:
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(seed).integers(0, 4, length)].tobytes()


@pytest.mark.parametrize(
    ("length", "tiles"),
    [
        (1, [(0, 1)]),
        (499, [(0, 499)]),
        (1000, [(0, 1000)]),
        (1499, [(0, 1499)]),
        (1500, [(0, 1000), (1000, 1500)]),
        (3200, [(0, 1000), (1000, 2000), (2000, 3200)]),
    ],
)
def test_cut_tiles_joins_a_short_rest_to_its_neighbour(length, tiles):
    assert cut_tiles(length) == tiles


@pytest.mark.parametrize("count", [2000, 2001, 2009, 2500, 100_000])
def test_choose_tiles_keeps_evenly_spaced_runs(count):
    kept = choose_tiles(count)
    assert len(kept) <= 2000
    assert kept[0] == 0
    assert kept[-1] == count - 1
    assert np.all(np.diff(kept) > 0)
    assert np.diff(kept).max() <= 2 * count / 200


def test_index_references_holds_the_unprojected_vector_of_every_tile(write_table, tmp_path):
    first, second = make_sequence(2300), make_sequence(700, 1)
    table = write_table(b">x one\n" + first.lower() + b"\n>y\n" + second + b"\n", b">z\r\n" + first + b"\r\n")
    index_references(table, "kmer", {"k": 4}, tmp_path / "index.parquet", threads=2)
    rows = pq.read_table(tmp_path / "index.parquet")
    assert rows["reference"].to_pylist() == [0, 0, 0, 1, 1]
    assert rows["record"].to_pylist() == ["x", "x", "y", "z", "z"]
    assert rows["position"].to_pylist() == [0, 1000, 0, 0, 1000]
    assert rows["bases"].to_pylist() == [1000, 1300, 700, 1000, 1300]
    pieces = [first[:1000], first[1000:], second, first[:1000], first[1000:]]
    expected = get_embedder("kmer", {"k": 4}).embed(pa.array([piece.decode() for piece in pieces]))
    np.testing.assert_array_equal(np.array(rows["vector"].to_pylist(), np.float32), expected)


def test_read_index_returns_what_was_indexed(write_table, tmp_path):
    content = b">x\n" + make_sequence(1200) + b"\n"
    index_references(write_table(content), "kmer", {"k": 5}, tmp_path / "index.parquet")
    index = read_index(tmp_path / "index.parquet")
    assert index.embedder == {"name": "kmer", "revision": "1", "parameters": {"k": 5}}
    assert index.tile_bp == 1000
    (reference,) = index.references
    assert (reference.accession, reference.taxid, reference.bases, reference.tiles) == ("A1", 1, 1200, 1)
    assert reference.lineage == ("Bacteria", "P", "C", "O", "F", "G", "G s1")
    assert reference.sha256 == hashlib.sha256(content).hexdigest()
    ((number, vectors, bases),) = index.iterate_vectors()
    assert (number, vectors.shape, bases.tolist()) == (0, (1, 512), [1200])


def test_read_records_turns_ambiguous_letters_into_n_and_u_into_t(tmp_path):
    path = tmp_path / "x.fa.gz"
    path.write_bytes(gzip.compress(b">x\nacgtRYKMswbdhvNnUu\n"))
    assert list(read_records(str(path))) == [("x", b"ACGTNNNNNNNNNNNNTT")]


def test_index_references_leaves_out_tiles_of_unknown_letters(write_table, tmp_path):
    table = write_table(b">x\n" + make_sequence(1000) + 1000 * b"N" + make_sequence(900) + 100 * b"N" + b"\n")
    index_references(table, "kmer", {"k": 4}, tmp_path / "index.parquet")
    rows = pq.read_table(tmp_path / "index.parquet")
    assert rows["position"].to_pylist() == [0, 2000]
    assert rows["bases"].to_pylist() == [1000, 900]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sequence"),
        (b">x\n>y\n", "holds no sequence"),
        (b"@r\nACGT\n+\nIIII\n", "is not FASTA: it begins with '@'"),
        (b"ACGT\n", "is not FASTA: it begins with 'A'"),
        (b">p\nMKLVE\n", "record 'p' holds 'L', which is no nucleotide"),
        (b">x\n\xff\xfe\n", "record 'x' holds '\ufffd', which is no nucleotide"),
        (gzip.compress(b">x\n" + make_sequence(100_000))[:9000], "truncated or damaged"),
        (b">x\nNNNNNNNNNN\n", "holds no stretch of known letters"),
    ],
)
def test_index_references_refuses(content, message, write_table, tmp_path):
    table = write_table(b">x\nACGTACGT\n", content)
    with pytest.raises(InputError) as caught:
        index_references(table, "kmer", {"k": 4}, tmp_path / "index.parquet")
    assert caught.value.path == str(tmp_path / "2.fa")
    assert message in caught.value.message
    assert caught.value.remedy
    assert not (tmp_path / "index.parquet").exists()


def test_read_records_refuses_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_records(str(tmp_path / "none.fa")))


def test_read_index_refuses_what_is_no_index(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_index(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name in ("text.parquet", "other.parquet"):
        with pytest.raises(InputError, match="is no index of references"):
            read_index(tmp_path / name)


@pytest.mark.parametrize(("key", "value"), [("name", "other"), ("revision", "2"), ("parameters", {"k": 5})])
def test_check_embedder_names_what_differs(key, value, write_table, tmp_path):
    index_references(write_table(b">x\nACGTACGT\n"), "kmer", {"k": 4}, tmp_path / "index.parquet")
    index = read_index(tmp_path / "index.parquet")
    check_embedder(index, index.embedder | {"projection": {}}, tmp_path / "manifest.json")
    with pytest.raises(InputError, match=f"with {key} ") as caught:
        check_embedder(index, index.embedder | {key: value}, tmp_path / "manifest.json")
    assert str(value) in caught.value.message
    assert "manifest.json" in caught.value.message


def test_script_reports_and_writes(write_table, tmp_path, repository):
    table = write_table(b">x\n" + make_sequence(5000) + b"\n")
    command = [sys.executable, repository / "scripts/index_references.py", "--references", table, "--out", "i.parquet"]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 references, 5 tiles" in done.stderr
    (tmp_path / "1.fa").write_bytes(b"")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1.fa: holds no sequence" in done.stderr
    assert "Traceback" not in done.stderr
