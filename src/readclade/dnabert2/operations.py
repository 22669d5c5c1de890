"""What DNABERT-2 does between its matrix products: attention with ALiBi, the gate, LayerNorm of a sum.

By torch's own functions (`PlainOperations`), or on a GPU, where those would take most of the time, by fused kernels
(`readclade.dnabert2.kernels`).

Source: ALiBi (Press et al. 2021, arXiv 2108.12409), here symmetric; gated MLP "GEGLU" (Shazeer 2020, arXiv 2002.05202).
"""

import logging
import math
from functools import cache
from types import ModuleType
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def get_alibi_slopes(heads: int) -> list[float]:
    """Return the slope of each head's distance penalty.

    A power of two has the geometric series that starts and ends 2^(-8 / heads) ... 2^-8; any other number takes the
    series of the power of two below it, then every second member of the series of the power above it.

    Source: Press et al. 2021, section 3 and the reference implementation.
    """
    below = 2 ** int(math.log2(heads))
    series = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    return series + [2 ** (-4 * i / below) for i in range(1, 2 * (heads - below), 2)]


@cache  # copied to the device once, for a copy waits until the GPU has nothing to do
def _get_slopes(heads: int, device: torch.device) -> Tensor:
    return torch.tensor(get_alibi_slopes(heads), device=device)  # (heads,)


def get_alibi_bias(heads: int, tokens: int, lengths: Tensor | None, like: Tensor) -> Tensor:
    """Return (1, heads, tokens, tokens): -slope * |i - j|, of the type and on the device of `like`.

    With lengths it is (batch, heads, tokens, tokens), and -inf at keys that are padding.
    """
    slopes = _get_slopes(heads, like.device)  # (heads,)
    position = torch.arange(tokens, device=like.device)  # (tokens,)
    distance = (position[:, None] - position[None, :]).abs()  # (tokens, tokens)
    bias = (-slopes[:, None, None] * distance).to(like.dtype)[None]  # (1, heads, tokens, tokens)
    # torch's attention on GPUs copies, in every layer, a bias whose rows do not begin at multiples of 16.
    batch, width = 1 if lengths is None else len(lengths), -(-tokens // 16) * 16
    bias = like.new_empty(batch, heads, tokens, width)[..., :tokens].copy_(bias)  # (batch, heads, tokens, tokens)
    if lengths is not None:
        padded = position >= lengths[:, None]  # (batch, tokens)
        bias.masked_fill_(padded[:, None, None, :], -torch.inf)
    return bias


class Operations(Protocol):
    """What the network does between its matrix products, on tensors of one batch."""

    def attend(self, qkv: Tensor) -> Tensor:
        """Return (batch, tokens, hidden) from (batch, tokens, 3, heads, size), queries, keys and values."""
        ...

    def add_and_normalise(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return norm(x + other); all (batch, tokens, hidden)."""
        ...

    def gate(self, halves: Tensor) -> Tensor:
        """Return (batch, tokens, size), gelu(a) * b, from (batch, tokens, 2 * size), a and then b."""
        ...


class PlainOperations:
    """What the network does between its matrix products, by torch's own functions.

    Args:
        heads: of the attention.
        tokens: of each sequence, with its padding.
        lengths: (batch,) tokens of each sequence before its padding, or None where there is none.
        like: tensor of the type and on the device to compute in.
    """

    def __init__(self, heads: int, tokens: int, lengths: Tensor | None, like: Tensor):
        self._bias = get_alibi_bias(heads, tokens, lengths, like)

    def attend(self, qkv: Tensor) -> Tensor:
        """Return softmax(query key^T / sqrt(size) + bias) value, the heads side by side: (batch, tokens, hidden).

        On a CPU torch's fused kernel does without its bfloat16 instructions, which plain products use: twice as fast.

        Args:
            qkv: (batch, tokens, 3, heads, size), queries, keys and values.
        """
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, size)
        if query.device.type != "cpu" or query.dtype != torch.bfloat16:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias)  # as query
        else:
            scores = query / math.sqrt(query.shape[-1]) @ key.transpose(-1, -2)  # (batch, heads, tokens, tokens)
            mixed = (scores + self._bias).softmax(-1).nan_to_num(0) @ value  # as query; 0 where every key is hidden
        return mixed.transpose(1, 2).flatten(2)  # (batch, tokens, hidden)

    def add_and_normalise(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return norm(x + other); all (batch, tokens, hidden)."""
        return norm(x + other)

    def gate(self, halves: Tensor) -> Tensor:
        """Return (batch, tokens, size), gelu(a) * b, from (batch, tokens, 2 * size), a and then b."""
        activation, gate = halves.chunk(2, dim=-1)
        return F.gelu(activation) * gate


@cache
def find_kernels(device: torch.device) -> ModuleType | None:
    """Return the module of fused kernels where a GPU and what it takes to build kernels for it are there, else None."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device)[0] < 8:  # Triton is for no older ones
        return None
    try:
        from readclade.dnabert2 import kernels  # needs Triton, which torch brings along for GPUs only

        tiny = torch.zeros(1, 16, 3, 1, 16, dtype=torch.float16, device=device)
        one = torch.ones(1, dtype=torch.int32, device=device)
        kernels.FusedOperations(one.float(), one).attend(tiny)
    except Exception as error:  # of Triton, of the compiler, of the driver: a network without is only slower
        logging.getLogger(__name__).warning(
            "DNABERT-2 runs at half its speed: no kernels can be built for the GPU (%s). A C compiler may be missing.",
            error,
        )
        return None
    return kernels


def choose_operations(heads: int, lengths: Tensor | None, x: Tensor) -> Operations:
    """Return what a network does between its matrix products: fused where they can be, else plain.

    Args:
        heads: of the attention.
        lengths: (batch,) tokens of each sequence before its padding, or None where there is none.
        x: (batch, tokens, hidden), what the network begins with.
    """
    batch, tokens, hidden = x.shape
    size = hidden // heads
    fits = x.dtype != torch.float32 and size >= 16 and size & (size - 1) == 0
    if not fits or not x.numel() or (kernels := find_kernels(x.device)) is None:
        return PlainOperations(heads, tokens, lengths, x)
    if lengths is None:
        lengths = torch.full((batch,), tokens, device=x.device)
    return kernels.FusedOperations(_get_slopes(heads, x.device), lengths.int())
