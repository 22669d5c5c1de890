"""Shards: every fragment once whatever the files look like, and Parquet as the contract has it."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads import fragments as fragments_module
from readclade.reads.batch import Batch
from readclade.reads.fragments import read_batches
from readclade.reads.plan import ReadPlan
from readclade.reads.summary import summarise_reads
from readclade.shards.manifest import Manifest, Shard
from readclade.shards.parquet import get_embeddings, read_shard, write_shard
from readclade.storage.files import hash_file

COMPRESSIONS = ["plain", "gzip", "members", "bgzf", "bzip2", "pbzip2", "zstd", "pzstd"]
LAYOUTS = ["single", "paired", "interleaved"]

# ---- each fragment once, in order, from its byte range


def make_records(rng: random.Random, count: int, suffix: str) -> list[tuple[str, str, str, bool]]:
    """Return (name, sequence, qualities, whether the third line repeats the name)."""
    records = []
    for number in range(count):
        comment = rng.choice(["", " ", " length=7 /1", "\tx", " " + "c" * rng.randint(0, 300)])
        length = rng.choice([0, 1, 2, 75, 150, 150, 5000, rng.randint(0, 20_000)])
        sequence = "".join(rng.choices("ACGTNacgtn", k=length))
        qualities = "".join(rng.choices("@+!~I5", k=length))  # '@' and '+' look like the beginning of other lines
        stem = f"{'x' * (number % 50)}{number}"
        records.append((f"{stem}{suffix}{comment}", sequence, qualities, rng.random() < 0.3))
    return records


def to_fastq(rng: random.Random, records) -> bytes:
    end = rng.choice(["\n", "\r\n"])
    text = "".join(
        f"@{name}{end}{sequence}{end}+{name if repeats else ''}{end}{qualities}{end}"
        for name, sequence, qualities, repeats in records
    )
    if rng.random() < 0.5 and records[-1][1]:
        text = text[: -len(end)]
    return text.encode()


def get_error_rate(*qualities: str) -> float:
    errors = [10 ** (-(ord(letter) - 33) / 10) for letter in "".join(qualities)]
    return sum(errors) / len(errors) if errors else float("nan")


def read_all(reads: ReadPlan, folder: Path) -> list[tuple]:
    """Return (fragment, name, sequence, mate, error rate) of all shards, and check the batches against the plan."""
    rows = []
    for index, plan in enumerate(reads.shards):
        assert plan.first_fragment == len(rows)
        bases = 0
        for batch in read_batches(reads, index, folder):
            count = len(batch.names)
            assert batch.first_fragment == len(rows)
            mates = [None] * count if batch.mates is None else batch.mates.to_pylist()
            fragments = range(batch.first_fragment, batch.first_fragment + count)
            columns = (fragments, batch.names.to_pylist(), batch.sequences.to_pylist(), mates, batch.error_rates)
            rows += zip(*columns, strict=True)
            bases += batch.bases
        assert len(rows) == plan.first_fragment + plan.fragments
        assert bases == plan.bases
    return rows


def assert_fuzzed(
    folder: Path, compress, seed: int, layout: str, compression: str, counts: list[int], shard_bases: int
):
    rng = random.Random(seed)
    lanes, expected, seen = [], [], set()
    for number, count in enumerate(counts):
        convention = rng.choice([("/1", "/2"), ("", "")])
        records = make_records(rng, count, convention[0])
        mates = make_records(rng, count, convention[1])
        one, two = folder / f"{number}_1.fq", folder / f"{number}_2.fq"
        if layout == "paired":
            one.write_bytes(compress(to_fastq(rng, records), compression))
            two.write_bytes(compress(to_fastq(rng, mates), compression))
        else:
            pairs = zip(records, mates, strict=True)
            data = to_fastq(rng, records if layout == "single" else [record for pair in pairs for record in pair])
            one.write_bytes(compress(data, compression))
        lanes.append(Lane(str(one), {"single": None, "paired": str(two), "interleaved": "interleaved"}[layout]))
        for (name, sequence, qualities, _), (_, mate, mate_qualities, _) in zip(records, mates, strict=True):
            name = name.split()[0]
            if layout != "single":
                name = name.removesuffix("/1")
            if name in seen:
                name += f"~{len(expected)}"
            seen.add(name)
            paired = (mate.upper(), mate_qualities) if layout != "single" else (None, "")
            expected.append((len(expected), name, sequence.upper(), paired[0], get_error_rate(qualities, paired[1])))
    reads = summarise_reads("sample", "ont", lanes, folder / "out", shard_bases)
    found = read_all(reads, folder / "out")
    assert [row[:4] for row in found] == [row[:4] for row in expected]
    np.testing.assert_allclose([row[4] for row in found], [row[4] for row in expected], rtol=1e-6)
    return reads


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_read_batches_of_all_shards_give_every_fragment_once(tmp_path, compress, layout, compression, seed):
    reads = assert_fuzzed(tmp_path, compress, seed, layout, compression, [30, 1, 12], 20_000)
    assert len(reads.shards) >= 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_read_batches_one_fragment_per_shard(tmp_path, compress, layout):
    # A shard of one base ends with the first fragment that has any.
    reads = assert_fuzzed(tmp_path, compress, 7, layout, "members", [20], 1)
    assert len(reads.shards) > 12


@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_read_batches_small_batches_continue_within_a_shard(tmp_path, compress, monkeypatch, compression):
    monkeypatch.setattr(fragments_module, "_BATCH_BASES", 3000)
    monkeypatch.setattr("readclade.reads.scan._BATCH_BASES", 3000)
    for layout in LAYOUTS:
        folder = tmp_path / layout
        folder.mkdir()
        assert_fuzzed(folder, compress, 11, layout, compression, [40], 100_000)


@pytest.mark.parametrize("compression", ["plain", "gzip", "bgzf"])
def test_read_batches_records_longer_than_the_parsers_buffer(tmp_path, write_fastq, compression):
    """The parser reads 1 MiB at a time, so that these records span several of its blocks, or only just one."""
    base = "ACGTTGCA" * 400_000
    lengths = [10, (1 << 20) - 5, 3_000_000, 0, 524_287, 524_288, 7, 2_100_000, 150]
    records = [(f"r{number}", base[:length], "I" * length) for number, length in enumerate(lengths)]
    lane = Lane(write_fastq(tmp_path / "reads", records, compression), None)
    reads = summarise_reads("sample", "ont", [lane], tmp_path / "out", 600_000)
    assert len(reads.shards) == 5
    found = read_all(reads, tmp_path / "out")
    assert [row[1:3] for row in found] == [record[:2] for record in records]


def test_read_batches_demo_pairs_equal_the_files(tmp_path, write_fastq, take_reads):
    records, mates = take_reads("pairs_1.fastq.gz", 500), take_reads("pairs_2.fastq.gz", 500)
    lane = Lane(write_fastq(tmp_path / "1.fq.gz", records, "gzip"), write_fastq(tmp_path / "2.fq.gz", mates, "members"))
    reads = summarise_reads("sample", "illumina", [lane], tmp_path / "out", 10_000)
    found = read_all(reads, tmp_path / "out")
    assert [row[1] for row in found] == [f"pairs.{number:06d}" for number in range(1, 501)]
    assert [row[2:4] for row in found] == [(a[1], b[1]) for a, b in zip(records, mates, strict=True)]


# ---- reads that changed after fetch


def change_file(path: Path, compress, change: str):
    data = path.read_bytes()
    if change == "deleted":
        path.unlink()
    elif change == "emptied":
        path.write_bytes(b"")
    elif change == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif change == "flipped byte":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :])
    elif change == "other reads":
        path.write_bytes(compress(b"@other\nACGT\n+\nIIII\n" * 5000, "plain" if data[:1] == b"@" else "gzip"))
    elif change == "no FASTQ":
        path.write_bytes(compress(b">a\n" + b"ACGT" * 50_000, "plain" if data[:1] == b"@" else "gzip"))


CHANGES = ["deleted", "emptied", "truncated", "flipped byte", "other reads", "no FASTQ"]


@pytest.mark.parametrize(
    ("compression", "change"),
    # A change inside a zstd file does not matter here: shards are read from the copy that `fetch` made.
    [(compression, change) for compression in COMPRESSIONS[:-2] for change in CHANGES]
    + [("zstd", "deleted")]
    + [(compression, change) for compression in COMPRESSIONS[1:] for change in ("no index", "cut index")],
)
def test_read_batches_changed_reads_are_refused(tmp_path, compress, write_fastq, take_reads, compression, change):
    path = tmp_path / "reads.fastq"
    write_fastq(path, take_reads("long.fastq.gz", 40), compression)
    reads = summarise_reads("sample", "ont", [Lane(str(path), None)], tmp_path / "out", 20_000)
    suffix = {"bzip2": "bzi", "pbzip2": "bzi", "zstd": "gz", "pzstd": "gz"}.get(compression, "gzi")
    index = tmp_path / f"out/index/lane1_1.{suffix}"
    if change == "no index":
        index.unlink()
    elif change == "cut index":
        index.write_bytes(index.read_bytes()[:-100])
    else:
        change_file(path, compress, change)
    with pytest.raises(InputError, match="is not the file that `fetch` looked at: ") as caught:
        read_all(reads, tmp_path / "out")
    assert caught.value.path in {str(path), str(index)}
    assert caught.value.line is None  # it would count from the shard's beginning
    assert caught.value.remedy == "run `fetch` again"
    assert "\n" not in caught.value.message


def test_read_batches_changed_mates_name_the_second_file(tmp_path, write_fastq, take_reads):
    fq1 = write_fastq(tmp_path / "1.fq", take_reads("pairs_1.fastq.gz", 40))
    fq2 = write_fastq(tmp_path / "2.fq", take_reads("pairs_2.fastq.gz", 40))
    reads = summarise_reads("sample", "illumina", [Lane(fq1, fq2)], tmp_path / "out", 2000)
    Path(fq2).write_bytes(Path(fq2).read_bytes()[:5000])
    with pytest.raises(InputError, match="is not the file that `fetch` looked at") as caught:
        read_all(reads, tmp_path / "out")
    assert caught.value.path == fq2


# ---- Parquet


@pytest.fixture
def batches(tmp_path, write_fastq, take_reads, monkeypatch) -> list[Batch]:
    """Return several batches of real pairs."""
    monkeypatch.setattr(fragments_module, "_BATCH_BASES", 30_000)
    fq1 = write_fastq(tmp_path / "1.fq", take_reads("pairs_1.fastq.gz", 250))
    fq2 = write_fastq(tmp_path / "2.fq", take_reads("pairs_2.fastq.gz", 250))
    reads = summarise_reads("sample", "illumina", [Lane(fq1, fq2)], tmp_path / "reads", 1 << 30)
    found = list(read_batches(reads, 0, tmp_path / "reads"))
    assert [len(batch.names) for batch in found] == [100, 100, 50]
    return found


def embed(batch: Batch) -> np.ndarray:
    """Return embeddings that tell fragment and column."""
    fragments = np.arange(batch.first_fragment, batch.first_fragment + len(batch.names))
    return (fragments[:, None] / 8 + np.arange(5) / 1024).astype(np.float16).astype(np.float32)


def embed_all(batches):
    """Return the batches, each with its embeddings."""
    return ((batch, embed(batch)) for batch in batches)


def describe(shard: Shard) -> Manifest:
    return Manifest("sample", "illumina", {}, 5, "0" * 64, (shard,))


def test_write_shard_file_is_as_the_contract_says(tmp_path, batches):
    path = tmp_path / "out/shard-00000.parquet"
    write_shard(path, embed_all(batches), 5)
    schema = pq.read_schema(path)
    assert schema.names == ["fragment", "name", "sequence", "mate", "error_rate", "embedding"]
    types = [pa.int64(), pa.string(), pa.string(), pa.string(), pa.float32(), pa.list_(pa.float32(), 5)]
    assert schema.types == types
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups == 3
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
        assert {column.compression for column in columns} == {"ZSTD"}
        *_, element = columns
        assert element.path_in_schema == "embedding.list.element"
        assert element.physical_type == "FLOAT"
        assert "BYTE_STREAM_SPLIT" in element.encodings
        assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(element.encodings)
        assert columns[0].statistics.min == group * 100  # engines can skip row groups


def test_write_shard_values_are_those_of_the_batches(tmp_path, batches):
    path = tmp_path / "shard-00000.parquet"
    shard = write_shard(path, embed_all(batches), 5)
    frame = pd.read_parquet(path)
    assert frame["fragment"].tolist() == list(range(250))
    assert frame["name"].tolist() == [name for batch in batches for name in batch.names.to_pylist()]
    assert frame["sequence"].tolist() == [read for batch in batches for read in batch.sequences.to_pylist()]
    assert frame["mate"].tolist() == [mate for batch in batches for mate in batch.mates.to_pylist()]
    np.testing.assert_array_equal(frame["error_rate"], np.concatenate([batch.error_rates for batch in batches]))
    np.testing.assert_array_equal(np.stack(frame["embedding"]), np.concatenate([embed(batch) for batch in batches]))
    assert shard == Shard(path.name, 250, 250 * 300, path.stat().st_size, hash_file(path), 0)


def test_write_shard_single_reads_have_empty_mates(tmp_path, write_fastq, take_reads):
    path = write_fastq(tmp_path / "reads", [*take_reads("long.fastq.gz", 5), ("empty", "", "")])
    reads = summarise_reads("sample", "ont", [Lane(path, None)], tmp_path / "reads.out", 1 << 30)
    write_shard(tmp_path / "shard.parquet", embed_all(read_batches(reads, 0, tmp_path)), 5)
    table = pq.read_table(tmp_path / "shard.parquet")
    assert table["mate"].to_pylist() == [""] * 6
    assert table.column("mate").null_count == table.column("error_rate").null_count == 0
    assert np.isnan(table["error_rate"].to_numpy()[5])


def test_write_shard_twice_gives_the_same_bytes(tmp_path, batches):
    shards = [write_shard(tmp_path / folder / "shard.parquet", embed_all(batches), 5) for folder in ("a", "b")]
    assert shards[0] == shards[1]


def test_write_shard_later_first_fragment_is_kept(tmp_path, batches):
    shard = write_shard(tmp_path / "shard.parquet", embed_all(batches[1:]), 5)
    assert (shard.first_fragment, shard.rows) == (100, 150)


@pytest.mark.parametrize("failing", [0, 1])
def test_write_shard_failure_leaves_nothing(tmp_path, batches, failing):
    out = tmp_path / "out"

    def fail():
        yield from embed_all(batches[:failing])
        raise MemoryError

    with pytest.raises(MemoryError):
        write_shard(out / "shard.parquet", fail(), 5)
    assert list(out.iterdir()) == []


def test_write_shard_failing_reads_leave_nothing(tmp_path, batches):
    def iterate():
        yield batches[0]
        raise InputError("changed")

    with pytest.raises(InputError, match="changed"):
        write_shard(tmp_path / "out/shard.parquet", embed_all(iterate()), 5)
    assert list((tmp_path / "out").iterdir()) == []


def test_read_shard_gives_the_columns_asked_for(tmp_path, batches):
    shard = write_shard(tmp_path / "shard.parquet", embed_all(batches), 5)
    table = read_shard(describe(shard), shard, tmp_path, ["embedding", "fragment"])
    assert table.column_names == ["embedding", "fragment"]
    embeddings = get_embeddings(table, 5)
    assert embeddings.shape == (250, 5)
    np.testing.assert_array_equal(embeddings, np.concatenate([embed(batch) for batch in batches]))
    for whole in (table, table.combine_chunks()):
        np.testing.assert_array_equal(get_embeddings(whole.slice(7, 9), 5), embeddings[7:16])
    assert get_embeddings(table.slice(0, 0), 5).shape == (0, 5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("flip", "is damaged: its size or checksum"),
        ("truncate", "is damaged"),
        ("empty", "is damaged"),
        ("delete", "is missing"),
    ],
)
def test_read_shard_damaged_after_embedding_is_named(tmp_path, batches, damage, message):
    path = tmp_path / "shard-00003.parquet"
    shard = write_shard(path, embed_all(batches), 5)
    data = path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:999] + bytes([data[999] ^ 1]) + data[1000:])
    elif damage == "delete":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "truncate" else b"")
    with pytest.raises(InputError, match=message) as caught:
        read_shard(describe(shard), shard, tmp_path, ["name"])
    assert caught.value.path == str(path)
    assert "only this shard is made anew" in caught.value.remedy


def test_read_shard_of_another_form_is_refused(tmp_path, batches):
    shard = write_shard(tmp_path / "shard.parquet", embed_all(batches), 5)
    manifest = Manifest("sample", "illumina", {}, 6, "0" * 64, (shard,))
    with pytest.raises(InputError, match=r"column embedding is fixed_size_list<.*>\[5\], expected .*\[6\]") as caught:
        read_shard(manifest, shard, tmp_path, ["embedding"])
    assert caught.value.remedy.endswith("run `embed` again")
