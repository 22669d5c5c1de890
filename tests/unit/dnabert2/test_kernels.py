"""The fused kernels against torch's own functions, on a GPU; and what happens where they cannot be built."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from readclade import dnabert2
from readclade.dnabert2 import operations

DATA = Path(__file__).parents[2] / "data/dnabert2"
on_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] < 8,
    reason="the kernels need a GPU of compute capability 8 or newer, and this machine has none",
)


@pytest.fixture
def draw():
    generator = torch.Generator("cuda").manual_seed(1)

    def draw(*shape, dtype=torch.bfloat16):
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    return draw


def make_operations(heads, tokens, lengths):
    """Return fused ones, and plain ones that compute in float32."""
    slopes = torch.tensor(operations.get_alibi_slopes(heads), device="cuda")
    fused = operations.find_kernels(torch.device("cuda")).FusedOperations(slopes, lengths)
    return fused, operations.PlainOperations(heads, tokens, lengths, torch.zeros(0, device="cuda"))


@on_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "size", "tokens"), [(12, 64, 35), (12, 64, 64), (3, 16, 1), (2, 32, 700)])
def test_fused_operations_agree_with_plain_ones(draw, dtype, heads, size, tokens):
    lengths = torch.tensor([tokens, max(tokens // 3, 1), 0, tokens], device="cuda", dtype=torch.int32)
    fused, plain = make_operations(heads, tokens, lengths)
    x, other, halves = (draw(4, tokens, factor * heads * size, dtype=dtype) for factor in (1, 1, 2))
    norm = torch.nn.LayerNorm(heads * size, 1e-12, device="cuda")
    norm.weight.data, norm.bias.data = draw(heads * size).float(), draw(heads * size).float()
    qkv = draw(4, tokens, 3, heads, size, dtype=dtype)
    half = norm.to(dtype)
    exact = torch.nn.LayerNorm(heads * size, 1e-12, device="cuda")
    exact.load_state_dict(half.state_dict())
    inside = torch.arange(tokens, device="cuda") < lengths[:, None]
    found, expected = fused.attend(qkv), plain.attend(qkv.float())
    assert (found[~inside] == 0).all()
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(found[inside].float(), expected[inside], rtol=0, atol=4 * epsilon)
    torch.testing.assert_close(fused.gate(halves).float(), plain.gate(halves.float()), rtol=epsilon, atol=1e-6)
    found, expected = (
        fused.add_and_normalise(x, other, half),
        plain.add_and_normalise(x.float(), other.float(), exact),
    )
    torch.testing.assert_close(found.float(), expected, rtol=epsilon, atol=epsilon)


@on_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("case", ["one", "equal", "ragged", "long", "beyond512"])
def test_network_on_a_gpu_agrees_with_the_original_code(case, dtype):
    """The tiny network's heads are too small for the kernels; this is the path of older GPUs."""
    network = dnabert2.load(DATA / "tiny.weights.safetensors", DATA / "tiny.config.json").to("cuda", dtype)
    with np.load(DATA / "tiny.reference.npz") as file:
        ids, mask, mean = (torch.from_numpy(file[f"{case}/{name}"]) for name in ("input_ids", "attention_mask", "mean"))
    lengths = mask.sum(1)
    found = network(ids.cuda(), lengths.cuda()).float().sum(1).cpu() / lengths[:, None]
    if dtype == torch.float32:
        torch.testing.assert_close(found, mean, rtol=0, atol=2e-5)
    assert torch.cosine_similarity(found, mean).min() >= 0.999


@on_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fused_network_points_where_the_exact_one_does(dtype):
    torch.manual_seed(0)
    exact = dnabert2.Network(dnabert2.NetworkConfig(num_hidden_layers=12)).eval().requires_grad_(False).cuda()
    ids = torch.randint(5, 4096, (40, 60), device="cuda")
    lengths = torch.randint(10, 61, (40,), device="cuda")
    half = dnabert2.Network(exact.config).eval().requires_grad_(False).cuda()
    half.load_state_dict(exact.state_dict())
    half = half.to(dtype)
    x = torch.zeros(1, 60, 768, dtype=dtype, device="cuda")
    assert type(operations.choose_operations(12, lengths, x)).__name__ == "FusedOperations"
    found, expected = (network(ids, lengths).float().sum(1) for network in (half, exact))
    assert torch.cosine_similarity(found, expected).min() >= 0.999
    again = half(ids, lengths).float().sum(1)
    assert torch.equal(found, again)
    alone = half(ids[:1, : lengths[0]]).float().sum(1)
    assert torch.cosine_similarity(found[:1], alone) >= 0.9999


def test_find_kernels_where_none_can_be_built_says_so_and_goes_on(monkeypatch, caplog):
    """The driver, Triton or the compiler is missing: all of them here, where the device is only said to be there."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with caplog.at_level(logging.WARNING):
        device = torch.device("cuda", 99)  # none has so many
        assert operations.find_kernels.__wrapped__(device) is None
    assert "no kernels can be built" in caplog.text


def test_find_kernels_for_older_gpus_and_processors(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert operations.find_kernels.__wrapped__(torch.device("cuda")) is None
    assert operations.find_kernels(torch.device("cpu")) is None
