"""The network of DNABERT-2 and DNABERT-S: a BERT encoder with ALiBi in place of positions and a gated MLP.

Written from the published architecture so that no code from a model repository is ever executed. The modules bear the
names of the published weights, so that a file's keys are the module's own.

Source: DNABERT-2 (Zhou et al. 2023, arXiv 2306.15006).

In half precision (`network.to(torch.bfloat16)`) LayerNorm and softmax compute in float32 all the same: torch's kernels
round what they return, not what they sum. What stands between the matrix products, attention and gate among it, is in
`readclade.dnabert2.operations`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from readclade.dnabert2.operations import Operations, choose_operations
from readclade.dnabert2.weights import check_tensors, read_tensors
from readclade.errors import InputError

# Heads of the published files that say nothing about an embedding: the masked-language model's and BERT's pooler.
_IGNORED = ("cls.", "pooler.")


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; the defaults are DNABERT-2's. Names as in the published config.json."""

    vocab_size: int = 4096
    type_vocab_size: int = 2
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-12


class AttentionOutput(nn.Module):
    """The modules after the attention."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class Attention(nn.Module):
    """Multi-head self-attention with a penalty for distance, then LayerNorm(dense(attention) + x)."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.add_module("self", nn.ModuleDict({"Wqkv": nn.Linear(size, 3 * size)}))
        self.output = AttentionOutput(config)

    def forward(self, x: Tensor, operations: Operations) -> Tensor:
        """Attend from every token to every token; x: (batch, tokens, hidden)."""
        batch, tokens, hidden = x.shape
        qkv = self.get_submodule("self.Wqkv")(x)  # (batch, tokens, 3 * hidden)
        mixed = operations.attend(qkv.view(batch, tokens, 3, self.heads, hidden // self.heads))  # as x
        return operations.add_and_normalise(self.output.dense(mixed), x, self.output.LayerNorm)


class GatedMlp(nn.Module):
    """LayerNorm(wo(gelu(a) * b) + x), where a and b are the halves of one linear map of x."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor, operations: Operations) -> Tensor:
        """Map each token by itself; x: (batch, tokens, hidden)."""
        gated = operations.gate(self.gated_layers(x))  # (batch, tokens, intermediate)
        return operations.add_and_normalise(self.wo(gated), x, self.layernorm)


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.attention = Attention(config)
        self.mlp = GatedMlp(config)

    def forward(self, x: Tensor, operations: Operations) -> Tensor:
        """Return (batch, tokens, hidden) from the same."""
        return self.mlp(self.attention(x, operations), operations)


class Embeddings(nn.Module):
    """The modules before the layers."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Network(nn.Module):
    """The encoder, from token ids to one vector for each token."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, input_ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (batch, tokens, hidden) in the type of the weights.

        A token's vector depends on no padding: padded keys are hidden from every query, padded rows are exactly 0.

        Args:
            input_ids: (batch, tokens), any integer type.
            lengths: (batch,), any integer type, tokens of each sequence, what follows them is padding; None where
                there is none, which is faster.
        """
        table = self.embeddings.word_embeddings.weight  # (vocabulary, hidden)
        kind = self.embeddings.token_type_embeddings.weight[0]  # (hidden,): one sequence has one type
        x = self.embeddings.LayerNorm(F.embedding(input_ids.long(), table) + kind)  # (batch, tokens, hidden)
        operations = choose_operations(self.config.num_attention_heads, lengths, x)
        for layer in self.encoder.layer:
            x = layer(x, operations)  # (batch, tokens, hidden)
        if lengths is None:
            return x
        padded = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]  # (batch, tokens)
        return x.masked_fill(padded[:, :, None], 0)  # (batch, tokens, hidden)


def read_config(config: str | PathLike[str] | Mapping[str, Any]) -> NetworkConfig:
    """Return the sizes that a config.json, or what was read from one, states; DNABERT-2's where it states none.

    Raises:
        InputError: it cannot be read, is no JSON object, or describes a network that this is not.
    """
    path = None if isinstance(config, Mapping) else config
    values = config if isinstance(config, Mapping) else _read_object(config)
    sizes = {field.name: values[field.name] for field in fields(NetworkConfig) if field.name in values}
    for name, size in sizes.items():
        kind = float if name == "layer_norm_eps" else int
        if isinstance(size, bool) or not isinstance(size, (int, kind)) or size <= 0:
            raise InputError(f"{name} is {size!r}, not a positive number", path=path, remedy="use the model's own file")
    network = NetworkConfig(**sizes)
    if network.hidden_size % network.num_attention_heads:
        raise InputError(
            f"hidden_size {network.hidden_size} is not a multiple of num_attention_heads {network.num_attention_heads}",
            path=path,
            remedy="use the model's own config.json",
        )
    if values.get("hidden_act", "gelu") != "gelu":
        raise InputError(
            f"hidden_act is {values['hidden_act']!r}, but DNABERT-2 has gelu",
            path=path,
            remedy="use the config.json of DNABERT-2 or DNABERT-S",
        )
    return network


def _read_object(path: str | PathLike[str]) -> dict[str, Any]:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the path") from None
    except ValueError as error:
        raise InputError(f"is no JSON ({error})", path=path, remedy="download config.json again") from None
    if not isinstance(values, dict):
        raise InputError("holds no JSON object", path=path, remedy="give the model's own config.json")
    return values


def load(weights: str | PathLike[str], config: str | PathLike[str] | Mapping[str, Any]) -> Network:
    """Return the network with published weights, in float32 on the CPU and in eval mode.

    No gradients are recorded; call `requires_grad_()` to train it.

    Args:
        weights: .safetensors or .bin file; its keys may begin with `bert.` (DNABERT-2) or not (DNABERT-S).
        config: config.json, or a mapping with its keys; missing ones are DNABERT-2's.

    Raises:
        InputError: a file that cannot be read or is damaged, keys that are missing or unexpected, shapes that do not
            fit the configuration, values that are no finite numbers.
    """
    with torch.device("meta"):  # takes neither memory nor random numbers for weights that are replaced below
        network = Network(read_config(config))
    tensors = check_tensors(
        read_tensors(weights), {key: value.shape for key, value in network.state_dict().items()}, weights, _IGNORED
    )
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)
