"""lshvec: hashing against an oracle, the model's file, the training, and what is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save

from readclade.embedders.lshvec import Hasher, Model, Training, make_hyperplanes, read_model, write_model
from readclade.embedders.lshvec_training import take_reads as take_reads_of
from readclade.embedders.lshvec_training import train_model
from readclade.embedders.protocol import get_embedder
from readclade.errors import ConfigError, InputError
from readclade.inputs.tables import Lane
from readclade.letters import CODES
from readclade.reads.summary import summarise_reads

COMPLEMENT = str.maketrans("ACGT", "TGCA")
SMALL = Training(k=6, bits=7, bases=20_000, epochs=1, seed=3, dimensions=8)


def find_word(kmer: str, hyperplanes: np.ndarray) -> int:
    """Return the word of a k-mer by the definition: the smaller bucket of both strands."""
    buckets = []
    for strand in (kmer, kmer.translate(COMPLEMENT)[::-1]):
        scores = sum(hyperplanes[i, "ACGT".index(base)].astype(int) for i, base in enumerate(strand))
        buckets.append(sum(1 << bit for bit, score in enumerate(scores) if score > 0))
    return min(buckets)


def find_words(read: str, hyperplanes: np.ndarray) -> list[int]:
    k = len(hyperplanes)
    kmers = [read[i : i + k] for i in range(len(read) - k + 1)]
    return [find_word(kmer, hyperplanes) for kmer in kmers if "N" not in kmer]


def draw_read(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@pytest.fixture(scope="module")
def model() -> Model:
    vectors = np.random.default_rng(1).integers(-99, 99, (128, 8)).astype(np.float32) / 2**16
    return Model(SMALL, make_hyperplanes(6, 7, 3), vectors)


@pytest.fixture(scope="module")
def reads_paths(tmp_path_factory, take_reads, write_fastq):
    """Return reads.json of a sample of pairs in three shards, and of one of long reads."""
    folder = tmp_path_factory.mktemp("samples")
    mates = [write_fastq(folder / f"{i}.fq", take_reads(f"pairs_{i}.fastq.gz", 100)) for i in (1, 2)]
    long = write_fastq(folder / "long.fq", take_reads("long.fastq.gz", 10))
    summarise_reads("pairs", "illumina", [Lane(*mates)], folder / "pairs", 12_000)
    summarise_reads("long", "ont", [Lane(long, None)], folder / "long", 10**9)
    return [folder / "pairs/reads.json", folder / "long/reads.json"]


@pytest.mark.parametrize(("k", "bits"), [(4, 4), (5, 9), (8, 12), (15, 14), (31, 20)])
def test_hash_reads_equals_the_definition(k, bits):
    hyperplanes = make_hyperplanes(k, bits, 5)
    reads = [draw_read(90), "", draw_read(k, 1), draw_read(k - 1, 2), "N" * 40, draw_read(k, 3) + "N" + draw_read(k, 4)]
    words, ends = Hasher(hyperplanes).hash_reads(pa.array(reads))
    assert words.dtype == np.int32
    assert np.diff(ends).tolist() == [91 - k, 0, 1, 0, 0, 2]
    for i, read in enumerate(reads):
        assert words[ends[i] : ends[i + 1]].tolist() == find_words(read, hyperplanes)


@pytest.mark.parametrize("k", [8, 15, 31])
def test_hash_reads_reverse_complement_gives_the_same_words_backwards(k):
    hasher = Hasher(make_hyperplanes(k, 16, 0))
    read = draw_read(300)
    words = [hasher.hash_reads(pa.array([strand]))[0] for strand in (read, read.translate(COMPLEMENT)[::-1])]
    assert len(np.unique(words[0])) > 100
    np.testing.assert_array_equal(words[0], words[1][::-1])


def test_hash_reads_similar_kmers_share_words_more_often():
    hasher = Hasher(make_hyperplanes(15, 12, 0))
    rng = np.random.default_rng(0)
    kmers = rng.choice(list("ACGT"), (2000, 15))
    changed = kmers.copy()
    changed[:, 7] = np.array(list("CGTA"))[CODES[kmers[:, 7].astype("S1").view(np.uint8)]]
    words, one_off, others = (
        hasher.hash_reads(pa.array(["".join(kmer) for kmer in part]))[0] for part in (kmers, changed, kmers[::-1])
    )
    assert (words == one_off).mean() > 0.05
    assert (words == others).mean() < 0.01


def test_make_hyperplanes_depends_on_the_seed_and_is_centred():
    first = make_hyperplanes(8, 12, 0)
    np.testing.assert_array_equal(first, make_hyperplanes(8, 12, 0))
    assert (first != make_hyperplanes(8, 12, 1)).any()
    assert np.abs(first.sum(axis=1)).max() <= 2  # rounding


def test_embed_is_the_mean_over_the_words_of_both_mates(tmp_path, model):
    vectors = model.vectors.copy()
    vectors[::5] = 0  # words that training has not seen
    write_model(tmp_path / "m.safetensors", replace(model, vectors=vectors))
    embedder = get_embedder("lshvec", {"model": str(tmp_path / "m.safetensors")})
    sequences, mates = [draw_read(50), "ACGT", draw_read(40, 8)], [draw_read(30, 9), draw_read(20, 7), "NNNNNNN"]
    found = embedder.embed(pa.array(sequences), pa.array(mates))
    for row, pair in zip(found, zip(sequences, mates, strict=True), strict=True):
        words = [word for read in pair for word in find_words(read, model.hyperplanes) if word % 5]
        np.testing.assert_array_equal(row, vectors[words].astype(float).mean(axis=0).astype(np.float32))


def test_model_round_trip_keeps_every_bit(tmp_path, model):
    path = tmp_path / "models/m.safetensors"
    write_model(path, model)
    found = read_model(path)
    assert found.training == model.training
    np.testing.assert_array_equal(found.hyperplanes, model.hyperplanes)
    np.testing.assert_array_equal(found.vectors, model.vectors)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    first = path.read_bytes()
    write_model(path, found)
    assert path.read_bytes() == first


def test_revision_and_parameters_name_the_model(tmp_path, model):
    paths = [str(tmp_path / f"{i}.safetensors") for i in range(2)]
    write_model(paths[0], model)
    write_model(paths[1], replace(model, vectors=-model.vectors))
    first, second = (get_embedder("lshvec", {"model": path}) for path in paths)
    assert first.revision != second.revision
    assert first.parameters["sha256"] != second.parameters["sha256"]
    # Where the model lies decides nothing.
    (tmp_path / "moved").mkdir()
    moved = Path(paths[0]).rename(tmp_path / "moved/0.safetensors")
    assert get_embedder("lshvec", {"model": str(moved)}).parameters == first.parameters


def test_read_model_truncated_anywhere_is_refused(tmp_path, model):
    path = tmp_path / "m.safetensors"
    write_model(path, model)
    whole = path.read_bytes()
    for length in (0, 4, 8, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is truncated or no") as caught:
            read_model(path)
        assert "train_lshvec.py" in caught.value.remedy


def make_file(training: dict | None, **tensors: np.ndarray) -> bytes:
    return save(tensors, None if training is None else {"readclade-lshvec": json.dumps(training)})


def test_read_model_of_another_form_is_refused(tmp_path, model):
    good = {"hyperplanes": model.hyperplanes, "vectors": model.vectors}
    training = vars(SMALL)
    bad = model.vectors.copy()
    bad[3, 3] = np.nan
    for data, message in [
        (make_file(None, **good), "is no model of lshvec"),
        (make_file({"k": 6}, vectors=model.vectors), "does not fit its own parameters"),
        (make_file({"kk": 6}, **good), "is no model of lshvec"),
        (make_file([6], **good), "is no model of lshvec"),
        (make_file(training | {"k": 99}, **good), "is no model of lshvec"),
        (make_file(training | {"k": 7}, **good), r"hyperplanes int32 \(6, 4, 7\).* in place of .*\(7, 4, 7\)"),
        (make_file(training | {"bits": 8}, **good), "does not fit its own parameters"),
        (make_file(training | {"dimensions": 9}, **good), r"in place of .*vectors float32 \(128, 9\)"),
        (make_file(training, vectors=model.vectors), "does not fit its own parameters"),
        (make_file(training, **good, more=model.vectors), "does not fit its own parameters"),
        (make_file(training, **good | {"vectors": model.vectors.astype(np.float64)}), "vectors float64"),
        (make_file(training, **good | {"vectors": bad}), "no finite numbers"),
        (make_file(training, **good | {"vectors": 0 * model.vectors}), "all zero"),
        (b"GIF89a" * 99, "is truncated or no safetensors file"),
    ]:
        (tmp_path / "m.safetensors").write_bytes(data)
        with pytest.raises(InputError, match=message) as caught:
            read_model(tmp_path / "m.safetensors")
        assert "train_lshvec.py" in caught.value.remedy


def test_read_model_that_cannot_be_read(tmp_path):
    for path, reason in [(tmp_path / "none", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(InputError, match=f"cannot be read: {reason}"):
            read_model(path)


@pytest.mark.parametrize(("name", "value"), [("k", 3), ("k", 32), ("bits", 21), ("bases", 0), ("seed", -1), ("k", 8.0)])
def test_training_refuses_values_out_of_range(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value}") as caught:
        Training(**{name: value})
    assert "a whole number from" in caught.value.remedy


def test_take_reads_ends_with_the_fragment_that_fills_the_bases(reads_paths, take_reads):
    firsts, seconds = ([sequence for _, sequence, _ in take_reads(f"pairs_{i}.fastq.gz", 100)] for i in (1, 2))
    for bases, fragments in [(1, 1), (300, 1), (301, 2), (15_000, 50), (10**9, 100)]:
        columns = [column.to_pylist() for column in take_reads_of(reads_paths[0], bases)]
        assert [read for column in columns[::2] for read in column] == firsts[:fragments]
        assert [read for column in columns[1::2] for read in column] == seconds[:fragments]


def test_train_model_gives_every_word_of_the_sample_a_vector(reads_paths):
    model = train_model(reads_paths, SMALL)
    seen = set()
    for path in reads_paths:
        for column in take_reads_of(path, SMALL.bases // 2):
            seen |= {word for read in column.to_pylist() for word in find_words(read, model.hyperplanes)}
    assert set(np.flatnonzero(model.vectors.any(axis=1))) == seen
    np.testing.assert_array_equal(model.vectors, np.round(model.vectors * 2**16) / 2**16)
    assert (train_model(reads_paths, replace(SMALL, seed=4)).vectors != model.vectors).any()
    assert (train_model(reads_paths, replace(SMALL, epochs=2)).vectors != model.vectors).any()
    assert (train_model(reads_paths[:1], SMALL).vectors != model.vectors).any()


def test_train_lshvec_in_two_processes_gives_the_same_bytes(repository, reads_paths, tmp_path):
    options = ["--k", "6", "--bits", "7", "--bases", "60000", "--epochs", "1"]
    for seed in ("1", "2"):
        subprocess.run(
            [
                sys.executable,
                "scripts/train_lshvec.py",
                "--reads",
                *reads_paths,
                *options,
                "--out",
                tmp_path / f"{seed}.safetensors",
            ],
            cwd=repository,
            env=os.environ | {"PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            check=True,
        )
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    assert read_model(tmp_path / "1.safetensors").training == Training(6, 7, 60_000, 1)


def test_train_model_without_any_kmer(tmp_path, write_fastq):
    lane = Lane(write_fastq(tmp_path / "r.fq", [("a", "ACGTA", "IIIII"), ("b", "ACNACGTA", "IIIIIIII")]), None)
    summarise_reads("s", "ont", [lane], tmp_path, 10**6)
    with pytest.raises(InputError, match="hold no 6 known letters in a row") as caught:
        train_model([tmp_path / "reads.json"], SMALL)
    assert "smaller k" in caught.value.remedy


def test_train_model_without_gensim(reads_paths, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ConfigError, match="gensim") as caught:
        train_model(reads_paths, SMALL)
    assert "Python 3.11 to 3.13" in caught.value.remedy
    assert "make networks" in caught.value.remedy


def test_train_model_of_reads_that_changed(tmp_path, write_fastq, take_reads):
    records = take_reads("long.fastq.gz", 4)
    lane = Lane(write_fastq(tmp_path / "r.fq", records), None)
    summarise_reads("s", "ont", [lane], tmp_path, 10**9)
    write_fastq(tmp_path / "r.fq", records[:3])
    with pytest.raises(InputError, match="is not the file that `fetch` looked at"):
        train_model([tmp_path / "reads.json"], replace(SMALL, bases=10**9))


def test_embedding_does_without_gensim(repository, tmp_path, model):
    write_model(tmp_path / "m", model)
    code = (
        "import sys, readclade.embedders.protocol as e; e.get_embedder('lshvec', {'model': sys.argv[1]});"
        " sys.exit('gensim' in sys.modules)"
    )
    environment = {"PYTHONPATH": str(repository / "src")}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], env=environment, check=True)
