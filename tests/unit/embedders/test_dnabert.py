"""What is dnabert2's own: windows, strands, tokens, precision, and files of the model that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from readclade import dnabert2
from readclade.embedders.dnabert import DnabertEmbedder, choose_precision
from readclade.embedders.windows import cut_windows, load_tokenizer, make_batches, split_chunks, tokenize
from readclade.errors import ConfigError, InputError
from tests.unit.embedders.test_protocol import COMPLEMENT, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reads(take_reads) -> list[str]:
    return [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 40)]


def make(model, **parameters) -> DnabertEmbedder:
    return DnabertEmbedder("dnabert2", model, **({"precision": "float32"} | parameters))


def turn(read: str) -> str:
    return read.translate(COMPLEMENT)[::-1]


def test_embed_is_the_mean_over_all_tokens_of_all_windows_on_both_strands(model, reads):
    network = dnabert2.load(f"{model}/model.safetensors", f"{model}/config.json")
    tokenizer = load_tokenizer(f"{model}/tokenizer.json")
    pieces = [reads[0][:75], reads[0][75:], reads[1][:50], reads[1][50:100]]
    turned = turn(reads[0])[:75], turn(reads[0])[75:], turn(reads[1][:100])[:50], turn(reads[1][:100])[50:]
    tokens = torch.cat([network(torch.tensor([tokenizer.encode(text).ids]))[0] for text in (*pieces, *turned)])
    found = make(model, window_bp=80).embed(pa.array(reads[:1]), pa.array([reads[1][:100]]))
    np.testing.assert_allclose(found[0], tokens.mean(0), rtol=0, atol=2e-6)
    one = make(model, strands="one").embed(pa.array(reads[:1]))
    alone = network(torch.tensor([tokenizer.encode(reads[0]).ids]))[0].mean(0)
    np.testing.assert_allclose(one[0], alone, rtol=0, atol=2e-6)


def test_embed_one_strand_is_not_neutral(model, reads):
    """What `strands: both` is for: one strand of a read looks unlike the other."""
    one = make(model, strands="one")
    forward, back = one.embed(pa.array(reads)), one.embed(pa.array([turn(read) for read in reads]))
    assert np.abs(forward - back).max() > 0.05


@pytest.mark.parametrize("batch_tokens", [1, 40, 100_000])
def test_embed_batch_budget_changes_nothing(model, reads, batch_tokens):
    ragged = pa.array([read[: 20 + 3 * i] for i, read in enumerate(reads)])
    found = make(model, batch_tokens=batch_tokens).embed(ragged)
    np.testing.assert_allclose(found, make(model).embed(ragged), rtol=0, atol=2e-6)


def test_embed_letters_that_are_no_bases_are_one_unknown_each(model, reads):
    embedder = make(model)
    for letter in "Rn*-[ U":
        found = embedder.embed(pa.array([reads[0][:50] + letter + reads[0][50:]]))
        np.testing.assert_array_equal(found, embedder.embed(pa.array([reads[0][:50] + "N" + reads[0][50:]])))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_embed_in_half_precision_points_the_same_way(model, reads, precision):
    half, exact = (make(model, precision=value).embed(pa.array(reads)) for value in (precision, "float32"))
    assert half.dtype == np.float32
    cosine = (half * exact).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() >= 0.999


def test_choose_precision(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert choose_precision("float16", cpu) == torch.float16
    for capability, expected in [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, answer=capability: answer)
        assert choose_precision("auto", gpu) == expected
    for features, expected in [
        ({"avx2": True}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda answer=features: answer)
        assert choose_precision("auto", cpu) == expected


def test_revision_follows_the_files(model, tmp_path):
    shutil.copytree(model, tmp_path / "same")
    assert make(str(tmp_path / "same")).revision == make(model).revision
    config = tmp_path / "same/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"layer_norm_eps": 1e-6}))
    assert make(str(tmp_path / "same")).revision != make(model).revision


def test_make_embedder_from_a_bin_file_gives_the_same_vectors(model, reads, tmp_path):
    shutil.copytree(model, tmp_path / "bin")
    torch.save(load_file(f"{model}/model.safetensors"), tmp_path / "bin/pytorch_model.bin")
    (tmp_path / "bin/model.safetensors").unlink()
    found = make(str(tmp_path / "bin")).embed(pa.array(reads))
    np.testing.assert_array_equal(found, make(model).embed(pa.array(reads)))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"precision": "double"}, "precision is 'double'"),
        ({"strands": "two"}, "strands is 'two'"),
        ({"window_bp": 3}, "window_bp is 3"),
    ],
)
def test_make_embedder_refuses_other_values(model, parameters, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make(model, **parameters)
    assert caught.value.remedy


def test_make_embedder_refuses_a_tokenizer_that_does_not_fit(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is no tokenizer"):
        make(str(folder))
    tokenizer = json.loads(Path(model, "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    with pytest.raises(InputError, match="does not wrap a sequence"):
        make(str(folder))
    tokenizer["model"]["vocab"]["ACGTACGTACGTACGTACGT"] = 4096
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="has 4097 tokens, but the network 4096"):
        make(str(folder))


def test_cut_windows_equal_lengths_and_owners():
    reads = pa.array(["ACGT" * 5, "", "ACG", "NNNNNNACGT"])
    windows = cut_windows([reads], 8, both_strands=False)
    assert sorted(zip(windows.fragments.tolist(), windows.texts, strict=True)) == [
        (0, "ACGTAC"),
        (0, "CGTACGT"),
        (0, "GTACGTA"),
        (3, "NACGT"),
    ]
    assert [len(text) for text in windows.texts] == [7, 7, 6, 5]


def test_cut_windows_same_for_a_read_and_its_reverse_complement():
    read = "ACGTTGCAAGGCATTCAGGATCCANTGAC"
    both = [cut_windows([pa.array([text])], 7, both_strands=True).texts for text in (read, turn(read))]
    assert sorted(both[0]) == sorted(both[1])


def test_tokenize_real_tokenizer(model):
    tokenizer = load_tokenizer(f"{model}/tokenizer.json")
    ids, lengths = tokenize(tokenizer, ["ACGTNNACGT", "N", "ACGT" * 700])
    assert ids[:13].tolist() == [1, 5, 6, 1049, 0, 0, 5, 6, 1049, 2, 1, 0, 2]
    assert lengths.tolist() == [10, 3, len(ids) - 13]
    assert [len(part) for part in tokenize(tokenizer, [])] == [0, 0]
    # Published example of the tokenizer: A TCGA TCGG CTAA GCTTA GC.
    tokens = [tokenizer.id_to_token(i) for i in tokenize(tokenizer, ["ATCGATCGGCTAAGCTTAGC"])[0]]
    assert tokens == ["[CLS]", "A", "TCGA", "TCGG", "CTAA", "GCTTA", "GC", "[SEP]"]


def test_make_batches_hold_the_budget_and_every_sequence():
    ids = [list(range(10, 10 + length)) for length in (3, 9, 1, 4, 4, 30, 2)]
    seen = []
    for rows, tokens in make_batches(np.concatenate(ids), np.array([len(sequence) for sequence in ids]), 12, pad=3):
        assert tokens.size <= 12 or len(rows) == 1
        for row, sequence in zip(rows, tokens, strict=True):
            seen.append(int(row))
            assert sequence.tolist() == ids[row] + [3] * (len(sequence) - len(ids[row]))
    assert sorted(seen) == list(range(len(ids)))


def test_split_chunks_cover_everything_once():
    texts = ["A" * length for length in (50, 9, 8, 1, 1)]
    chunks = list(split_chunks(texts, 10))
    assert [texts[chunk] for chunk in chunks] == [texts[:1], texts[1:2], texts[2:5]]
    assert list(split_chunks([], 10)) == []
