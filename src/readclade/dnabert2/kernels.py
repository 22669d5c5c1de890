"""The parts of DNABERT-2 between its matrix products, each as one kernel for a GPU.

On a GPU the products take so little time that what stands between them takes twice as long when torch moves every
intermediate through memory: with these kernels the network reaches 0.63 of the rate of large matrix products, without
them 0.37 (an H200 in bfloat16, docs/log/). They compute in float32, return what
`readclade.dnabert2.operations.PlainOperations` returns to the rounding of half precision, and give the same bits in
every run: no sum depends on how the work is divided.

Source: softmax in blocks as in FlashAttention (Dao et al. 2022, arXiv 2205.14135), algorithm 1.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

_ROOT_HALF = tl.constexpr(0.7071067811865476)
_BLOCK = 64  # queries and keys; reads of 150 bases have 35 tokens


@triton.jit
def _attend(
    qkv, lengths, slopes, out, tokens, scale, heads: tl.constexpr, size: tl.constexpr, block: tl.constexpr
):  # one program for a block of queries of one head of one sequence
    pair, part = tl.program_id(0), tl.program_id(1)
    sequence, head = (pair // heads).to(tl.int64), pair % heads
    length, slope = tl.load(lengths + sequence), tl.load(slopes + head)
    stride: tl.constexpr = 3 * heads * size
    queries, dims = part * block + tl.arange(0, block), tl.arange(0, size)
    base = qkv + sequence * tokens * stride + head * size
    query = tl.load(base + queries[:, None] * stride + dims, mask=(queries < length)[:, None], other=0)
    total, norm = tl.zeros([block, size], tl.float32), tl.zeros([block], tl.float32)
    highest = tl.full([block], -1e30, tl.float32)
    for start in range(0, length, block):
        keys = start + tl.arange(0, block)
        known = keys < length
        place = base + heads * size + keys * stride
        key = tl.load(place[None, :] + dims[:, None], mask=known[None, :], other=0)
        value = tl.load(place[:, None] + heads * size + dims, mask=known[:, None], other=0)
        distance = tl.abs((queries[:, None] - keys[None, :]).to(tl.float32))
        scores = tl.where(known[None, :], tl.dot(query, key) * scale - slope * distance, -float("inf"))
        now = tl.maximum(highest, tl.max(scores, 1))
        weights, decay = tl.exp(scores - now[:, None]), tl.exp(highest - now)
        total = total * decay[:, None] + tl.dot(weights.to(value.dtype), value)
        norm, highest = norm * decay + tl.sum(weights, 1), now
    mixed = tl.where((queries < length)[:, None], total / norm[:, None], 0)
    place = out + (sequence * tokens + queries)[:, None] * heads * size + head * size + dims
    tl.store(place, mixed, mask=(queries < tokens)[:, None])


@triton.jit
def _add_and_normalise(x, other, weight, bias, out, epsilon, size: tl.constexpr, block: tl.constexpr):
    column = tl.arange(0, block)  # one program for a row
    inside = column < size
    place = tl.program_id(0).to(tl.int64) * size + column
    row = tl.load(x + place, mask=inside, other=0).to(tl.float32)
    row += tl.load(other + place, mask=inside, other=0).to(tl.float32)
    row = tl.where(inside, row - tl.sum(row) / size, 0)
    row *= tl.rsqrt(tl.sum(row * row) / size + epsilon)
    row *= tl.load(weight + column, mask=inside, other=0).to(tl.float32)
    row += tl.load(bias + column, mask=inside, other=0).to(tl.float32)
    tl.store(out + place, row, mask=inside)


@triton.jit
def _gate(halves, out, count, size: tl.constexpr, block: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    first = halves + place // size * size + place
    activation = tl.load(first, mask=inside, other=0).to(tl.float32)
    gate = tl.load(first + size, mask=inside, other=0).to(tl.float32)
    tl.store(out + place, activation * (0.5 + 0.5 * tl.math.erf(activation * _ROOT_HALF)) * gate, mask=inside)


class FusedOperations:
    """What `readclade.dnabert2.operations.PlainOperations` does, on a GPU and in half precision.

    Args:
        slopes: (heads,) float32.
        lengths: (batch,) int32, tokens of each sequence before its padding.
    """

    def __init__(self, slopes: Tensor, lengths: Tensor):
        self._slopes, self._lengths = slopes, lengths

    def attend(self, qkv: Tensor) -> Tensor:
        """Return (batch, tokens, hidden), rows of padding 0, from (batch, tokens, 3, heads, size)."""
        batch, tokens, _, heads, size = qkv.shape
        out = qkv.new_empty(batch, tokens, heads * size)
        grid = batch * heads, triton.cdiv(tokens, _BLOCK)
        _attend[grid](qkv, self._lengths, self._slopes, out, tokens, size**-0.5, heads, size, _BLOCK)
        return out

    def add_and_normalise(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return norm(x + other); all (batch, tokens, hidden)."""
        out, size = torch.empty_like(x), x.shape[-1]
        rows = x.numel() // size
        _add_and_normalise[(rows,)](
            x, other, norm.weight, norm.bias, out, norm.eps, size, triton.next_power_of_2(size), num_warps=1
        )
        return out

    def gate(self, halves: Tensor) -> Tensor:
        """Return (batch, tokens, size), gelu(a) * b, from (batch, tokens, 2 * size), a and then b."""
        size = halves.shape[-1] // 2
        out = halves.new_empty(*halves.shape[:-1], size)
        _gate[(triton.cdiv(out.numel(), 1024),)](halves, out, out.numel(), size, 1024)
        return out
