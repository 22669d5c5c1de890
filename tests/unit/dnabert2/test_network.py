"""The network against the original code's outputs, and what happens to weights and configurations that do not fit."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from readclade import dnabert2
from readclade.dnabert2.operations import get_alibi_slopes
from readclade.errors import InputError

DATA = Path(__file__).parents[2] / "data/dnabert2"
WEIGHTS, CONFIG = DATA / "tiny.weights.safetensors", DATA / "tiny.config.json"
CASES = ["one", "equal", "ragged", "long", "beyond512"]
KEY = "encoder.layer.1.mlp.wo.weight"


@pytest.fixture(scope="module")
def network() -> dnabert2.Network:
    return dnabert2.load(WEIGHTS, CONFIG)


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    with np.load(DATA / "tiny.reference.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file}


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return load_file(WEIGHTS)


def mean(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return hidden.float().sum(1) / lengths[:, None]


@pytest.mark.parametrize("case", CASES)
def test_network_agrees_with_the_original_code(network, reference, case):
    lengths = reference[f"{case}/attention_mask"].sum(1)
    hidden = network(reference[f"{case}/input_ids"], lengths)
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, reference[f"{case}/last_hidden"], rtol=0, atol=2e-5)
    torch.testing.assert_close(mean(hidden, lengths), reference[f"{case}/mean"], rtol=0, atol=2e-5)


def test_network_agrees_layer_by_layer(network, reference):
    found = []
    hooks = [layer.register_forward_hook(lambda *call: found.append(call[2])) for layer in network.encoder.layer]
    network(reference["one/input_ids"], reference["one/attention_mask"].sum(1))
    for hook in hooks:
        hook.remove()
    for i, hidden in enumerate(found):
        torch.testing.assert_close(hidden[0], reference[f"one/layer{i}"], rtol=0, atol=2e-5)
    assert len(found) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_network_in_half_precision_points_the_same_way(reference, case, dtype):
    half = dnabert2.load(WEIGHTS, CONFIG).to(dtype)
    lengths = reference[f"{case}/attention_mask"].sum(1)
    hidden = half(reference[f"{case}/input_ids"], lengths)
    assert hidden.dtype == dtype
    assert torch.cosine_similarity(mean(hidden, lengths), reference[f"{case}/mean"]).min() >= 0.999


def test_network_padded_rows_are_zero_and_change_nothing(network, reference):
    ids, mask = reference["ragged/input_ids"], reference["ragged/attention_mask"]
    lengths = mask.sum(1)
    assert (mask == (torch.arange(ids.shape[1]) < lengths[:, None])).all()  # padding follows the tokens
    hidden = network(ids, lengths)
    assert (hidden[mask == 0] == 0).all()
    wide = torch.nn.functional.pad(ids, (0, 40), value=77)
    torch.testing.assert_close(network(wide, lengths)[:, : ids.shape[1]], hidden, rtol=0, atol=2e-6)
    for i, length in enumerate(lengths):
        alone = network(ids[i : i + 1, :length])
        torch.testing.assert_close(hidden[i : i + 1, :length], alone, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64])
def test_network_takes_any_integer_type(network, reference, kind):
    lengths = reference["ragged/attention_mask"].sum(1).clamp(max=100)
    ids = reference["ragged/input_ids"] % 100
    expected = network(ids.long(), lengths)
    torch.testing.assert_close(network(ids.to(kind), lengths.to(kind)), expected, rtol=0, atol=0)


def test_network_sequence_without_any_token_is_zero(network):
    hidden = network(torch.tensor([[1, 9, 2], [3, 3, 3]]), torch.tensor([3, 0]))
    assert (hidden[1] == 0).all()
    assert torch.isfinite(hidden).all()


@pytest.mark.parametrize("shape", [(0, 5), (2, 0)])
def test_network_empty_batch(network, shape):
    empty = torch.zeros(shape, dtype=torch.int64)
    assert network(empty).shape == network(empty, torch.zeros(shape[0])).shape == (*shape, 48)


def test_network_real_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = dnabert2.Network(dnabert2.NetworkConfig())
    # The masked-language model's head: a dense layer, a LayerNorm, and one bias for each token.
    head = 768 * 768 + 768 + 2 * 768 + 4096
    assert sum(parameter.numel() for parameter in network.parameters()) + head == 117_074_176


def test_alibi_slopes():
    assert get_alibi_slopes(8) == [2.0**-i for i in range(1, 9)]
    expected = [2.0**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert get_alibi_slopes(12) == pytest.approx(expected, rel=1e-15)


def test_load_is_ready_to_use(network):
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_load_either_form_of_file_and_keys(network, reference, tensors, tmp_path, prefix, suffix, dtype):
    path = tmp_path / f"weights{suffix}"
    renamed = {
        prefix + key.removeprefix("bert."): value.to(dtype) for key, value in tensors.items() if "cls." not in key
    }
    renamed |= {f"{prefix}pooler.dense.weight": torch.zeros(48, 48), "cls.predictions.bias": torch.zeros(9)}
    save_file(renamed, path) if suffix == ".safetensors" else torch.save(renamed, path)
    loaded = dnabert2.load(path, json.loads(CONFIG.read_text()))
    assert next(loaded.parameters()).dtype == torch.float32
    ids = reference["one/input_ids"]
    torch.testing.assert_close(loaded(ids), network(ids), rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-2)


def expect(path, words, config=CONFIG):
    with pytest.raises(InputError, match=words) as caught:
        dnabert2.load(path, config)
    assert caught.value.remedy
    assert caught.value.path in (str(path), str(config))


def test_load_refuses_missing_and_unexpected_keys_by_name(tensors, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({key: value for key, value in tensors.items() if not key.endswith(KEY)}, path)
    expect(path, f"lacks {KEY}")
    save_file(tensors | {"bert.encoder.extra": torch.zeros(2)}, path)
    expect(path, "has unexpected encoder.extra")
    save_file(tensors | {KEY: tensors[f"bert.{KEY}"].clone()}, path)
    expect(path, f"holds '{KEY}' twice")
    # A plain BERT has other keys altogether: the message names some and counts the rest.
    save_file({f"bert.encoder.layer.{i}.attention.self.query.weight": torch.zeros(2, 2) for i in range(9)}, path)
    expect(path, r"lacks .* and 21 more and has unexpected .*query.weight.* and 4 more")


def test_load_refuses_shapes_that_do_not_fit():
    sizes = json.loads(CONFIG.read_text())
    expect(WEIGHTS, r"does not fit .*\(4096, 48\) in place of \(4096, 96\)", sizes | {"hidden_size": 96})
    expect(WEIGHTS, "lacks encoder.layer.2", sizes | {"num_hidden_layers": 3})


@pytest.mark.parametrize("value", [torch.full((48, 96), torch.nan), torch.zeros(48, 96, dtype=torch.int32)])
def test_load_refuses_values_that_are_no_finite_numbers(tensors, tmp_path, value):
    save_file(tensors | {f"bert.{KEY}": value}, tmp_path / "weights.safetensors")
    expect(tmp_path / "weights.safetensors", f"'{KEY}' holds something other than finite numbers")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("size", [0, 1, 7, 100, 5_000, 500_000, -1])
def test_load_refuses_truncated_weights(tensors, tmp_path, suffix, size):
    whole = tmp_path / f"whole{suffix}"
    save_file(tensors, whole) if suffix == ".safetensors" else torch.save(tensors, whole)
    path = tmp_path / f"part{suffix}"
    path.write_bytes(whole.read_bytes()[:size])
    expect(path, "truncated|damaged")


def test_load_refuses_other_files(tmp_path):
    expect(tmp_path / "none.safetensors", "No such file")
    expect(tmp_path / "tokenizer.json", "is no weights file by its name")
    pointer = tmp_path / "pytorch_model.bin"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    expect(pointer, "Git LFS pointer")
    torch.save([torch.zeros(2)], pointer)
    expect(pointer, "something other than tensors by name")


def test_load_never_runs_code_of_a_file(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"weights": Trap()}, tmp_path / "pytorch_model.bin")
    expect(tmp_path / "pytorch_model.bin", "holds more than tensors")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "no JSON object"),
        ('{"hidden_size": "48"}', "hidden_size is '48'"),
        ('{"num_hidden_layers": 0}', "num_hidden_layers is 0"),
        ('{"num_attention_heads": 7}', "not a multiple of num_attention_heads"),
        ('{"hidden_act": "relu"}', "hidden_act is 'relu'"),
    ],
)
def test_load_refuses_other_configurations(tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_text(text)
    expect(WEIGHTS, words, path)


def test_read_config_defaults_are_dnabert2s():
    assert dnabert2.read_config({}) == dnabert2.NetworkConfig(4096, 2, 768, 12, 12, 3072, 1e-12)
    assert dnabert2.read_config({"hidden_size": 96, "unknown": 1}).hidden_size == 96
