"""One suite for every embedder: what the protocol promises, whatever the model."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from readclade.embedders.lshvec import Model, Training, make_hyperplanes
from readclade.embedders.lshvec import write_model as write_lshvec
from readclade.embedders.options import add_embedder_options, get_embedder_parameters
from readclade.embedders.protocol import EMBEDDERS, Embedder, get_embedder
from readclade.errors import ConfigError
from readclade.inputs.schemas import load_schema

COMPLEMENT = str.maketrans("ACGT", "TGCA")
SUITE = ["kmer", "lshvec", "dnabert2", "dnabert-s", "dnabert2 by short windows"]

# What a vector may change by where nothing may change: kmer and lshvec add exactly, a network sums in another order.
TOLERANCE = {"kmer": 0, "lshvec": 0}
NETWORK_TOLERANCE = 2e-6


def write_model(folder: Path) -> str:
    """Write the model files of a network of two layers with random weights; return the folder."""
    data = Path(__file__).parents[2] / "data/dnabert2"
    for source, name in [
        ("tiny.config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("tiny.weights.safetensors", "model.safetensors"),
    ]:
        shutil.copy(data / source, folder / name)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> str:
    """Return the path of a model of lshvec whose words have random vectors."""
    path = tmp_path_factory.mktemp("words") / "model.safetensors"
    training = Training()
    steps = np.random.default_rng(0).integers(-(2**16), 2**16, (2**training.bits, training.dimensions))
    hyperplanes = make_hyperplanes(training.k, training.bits, training.seed)
    write_lshvec(path, Model(training, hyperplanes, (steps / 2**16).astype(np.float32)))
    return str(path)


@pytest.fixture(scope="module", params=SUITE)
def options(request, model, words) -> tuple[str, dict]:
    """Return the name and the parameters of an embedder."""
    if request.param == "lshvec":
        return "lshvec", {"model": words}
    parameters = {"weights": model, "precision": "float32"}
    if request.param == "dnabert2 by short windows":
        return "dnabert2", parameters | {"window_bp": 64}
    return request.param, {} if request.param == "kmer" else parameters


@pytest.fixture(scope="module")
def embedder(options) -> Embedder:
    return get_embedder(*options)


def assert_same(embedder: Embedder, found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE.get(embedder.name, NETWORK_TOLERANCE))


@pytest.fixture(scope="module")
def pairs(take_reads) -> tuple[pa.StringArray, pa.StringArray]:
    reads = [[sequence for _, sequence, _ in take_reads(f"pairs_{mate}.fastq.gz", 60)] for mate in (1, 2)]
    reads[0][5] = reads[0][5][:70] + "N" * 10 + reads[0][5][80:]
    return pa.array(reads[0]), pa.array(reads[1])


def reverse_complement(strings: pa.StringArray) -> pa.StringArray:
    return pa.array([string.as_py().translate(COMPLEMENT)[::-1] for string in strings])


def test_suite_and_configuration_have_every_embedder():
    assert {name.partition(" ")[0] for name in SUITE} == set(EMBEDDERS)
    assert set(load_schema("config")["properties"]["embedder"]["properties"]["name"]["enum"]) == set(EMBEDDERS)


def test_options_of_the_scripts_make_the_embedder(options, embedder):
    name, parameters = options
    parser = argparse.ArgumentParser()
    add_embedder_options(parser)
    words = [f"--{key.replace('_', '-')}={value}" for key, value in parameters.items()]
    again = get_embedder(name, get_embedder_parameters(parser.parse_args(["--embedder", name, *words])))
    assert (again.name, again.parameters) == (embedder.name, embedder.parameters)


def test_attributes_describe_the_embedder(embedder):
    assert embedder.name in EMBEDDERS
    assert isinstance(embedder.revision, str)
    assert embedder.revision
    assert json.loads(json.dumps(embedder.parameters)) == embedder.parameters
    assert embedder.dim >= 1
    assert isinstance(embedder.is_composition, bool)
    assert embedder.fit_fragments >= 1000
    assert not any("/" in str(value) for value in embedder.parameters.values())  # no path


def test_embed_shape_and_values(embedder, pairs):
    for mates in (None, pairs[1]):
        vectors = embedder.embed(pairs[0], mates)
        assert vectors.shape == (len(pairs[0]), embedder.dim)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        if embedder.is_composition:
            assert (vectors >= 0).all()
            np.testing.assert_allclose(vectors.sum(axis=1), 1, rtol=1e-5)


def test_embed_tells_fragments_and_mates_apart(embedder, pairs):
    alone, paired = embedder.embed(pairs[0]), embedder.embed(*pairs)
    assert len(np.unique(alone, axis=0)) == len(alone)
    assert (alone != paired).any(axis=1).all()


def test_embed_twice_gives_the_same_bits(embedder, options, pairs):
    again = get_embedder(*options)
    np.testing.assert_array_equal(embedder.embed(*pairs), again.embed(*pairs))


def test_embed_reverse_complement_gives_the_same_vector(embedder, pairs):
    assert_same(embedder, embedder.embed(reverse_complement(pairs[0])), embedder.embed(pairs[0]))
    # A fragment seen from its other strand has its mates exchanged.
    turned = embedder.embed(reverse_complement(pairs[1]), reverse_complement(pairs[0]))
    assert_same(embedder, turned, embedder.embed(*pairs))


@pytest.mark.parametrize("sizes", [[1] * 60, [59, 1], [0, 13, 0, 47, 0]])
def test_embed_split_into_other_batches_gives_the_same_vectors(embedder, pairs, sizes):
    parts, begin = [], 0
    for size in sizes:
        parts.append(embedder.embed(pairs[0].slice(begin, size), pairs[1].slice(begin, size)))
        begin += size
    assert_same(embedder, np.concatenate(parts), embedder.embed(*pairs))


def test_embed_sliced_arrays_are_read_from_their_offset(embedder, pairs):
    # The two arrays begin at different offsets of their buffers.
    sequences = pa.concat_arrays([pa.array(["TTTTTTTTTT"] * 3), pairs[0]]).slice(3)
    mates = pa.concat_arrays([pa.array(["GG", ""]), pairs[1], pa.array(["A" * 99])]).slice(2, len(sequences))
    assert (sequences.offset, mates.offset) == (3, 2)
    np.testing.assert_array_equal(embedder.embed(sequences, mates), embedder.embed(*pairs))


def test_embed_order_follows_the_fragments(embedder, pairs):
    order = np.random.default_rng(1).permutation(len(pairs[0]))
    found = embedder.embed(pairs[0].take(order), pairs[1].take(order))
    assert_same(embedder, found, embedder.embed(*pairs)[order])


def test_embed_lower_case_is_upper_case(embedder, pairs):
    lower = pa.array([string.as_py().lower() for string in pairs[0]])
    np.testing.assert_array_equal(embedder.embed(lower), embedder.embed(pairs[0]))


def test_embed_long_read_among_short_ones(embedder, pairs):
    long = "".join(string.as_py() for string in pairs[0]) * 11
    assert len(long) > 90_000
    vectors = embedder.embed(pa.concat_arrays([pairs[0][:3], pa.array([long])]))
    assert np.isfinite(vectors).all()
    assert_same(embedder, vectors[3], embedder.embed(pa.array([long]))[0])
    assert_same(embedder, vectors[:3], embedder.embed(pairs[0][:3]))


def test_embed_empty_batch(embedder):
    none = pa.array([], pa.string())
    for mates in (None, none):
        vectors = embedder.embed(none, mates)
        assert vectors.shape == (0, embedder.dim)
        assert vectors.dtype == np.float32


@pytest.mark.parametrize("read", ["", "A", "NNN", "N" * 200])
def test_embed_read_that_says_nothing_gives_nan(embedder, pairs, read):
    reads = pa.array([read, pairs[0][0].as_py(), read])
    for mates in (None, pa.array([read, "", read])):
        vectors = embedder.embed(reads, mates)
        assert np.isnan(vectors[[0, 2]]).all()
        assert_same(embedder, vectors[1], embedder.embed(pairs[0][:1])[0])


def test_embed_all_reads_empty(embedder):
    empty = pa.array(["", ""])
    assert np.isnan(embedder.embed(empty)).all()
    assert np.isnan(embedder.embed(empty, empty)).all()


def test_get_embedder_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="there is no embedder 'kmers'") as caught:
        get_embedder("kmers", {})
    for name in EMBEDDERS:
        assert name in caught.value.remedy


def test_get_embedder_passes_parameters_on():
    assert get_embedder("kmer", {"k": 5}).dim == 512


def test_kmer_does_without_torch(repository):
    code = "import sys, readclade.embedders.protocol as e; e.get_embedder('kmer', {}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(repository / "src")}, check=True)


@pytest.mark.parametrize(
    ("name", "package"),
    [("dnabert2", "torch"), ("dnabert-s", "tokenizers"), ("dnabert2", "safetensors"), ("lshvec", "safetensors")],
)
def test_get_embedder_without_a_package_of_networks_names_the_remedy(repository, words, name, package):
    code = (
        "import sys, readclade.embedders.protocol as e; from readclade.errors import ConfigError\n"
        f"sys.modules['{package}'] = None\n"  # as if it were not installed
        "try: e.get_embedder(sys.argv[1], {'model': sys.argv[2]} if sys.argv[1] == 'lshvec' else {})\n"
        "except ConfigError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, name, words], env={"PYTHONPATH": str(repository / "src")}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert f"{package}, which the embedder {name} needs, is not installed" in run.stdout
    assert "remedy: run `make networks`, or `make networks-gpu`" in run.stdout


def test_get_embedder_with_a_module_of_its_own_missing_keeps_its_traceback(monkeypatch):
    monkeypatch.delitem(sys.modules, "readclade.embedders.dnabert", raising=False)
    monkeypatch.setitem(sys.modules, "readclade.embedders.windows", None)
    with pytest.raises(ModuleNotFoundError, match=r"readclade\.embedders\.windows"):
        get_embedder("dnabert2", {})
