"""The embedders dnabert2 and dnabert-s: the mean over a fragment's tokens of what the network makes of them."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from readclade import dnabert2
from readclade.errors import ConfigError, InputError
from readclade.files import hash_file
from readclade.hub import MODELS, find_model
from readclade.windows import LEAST_BASES, cut_windows, load_tokenizer, make_batches, split_chunks, tokenize

_VERSION = "2"  # raise it when the same weights would give another vector
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Where the rate levels off: on a CPU as long as a layer's activations stay in the cache, on a GPU once it is full.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}
# Tokenizing runs this many batches ahead of the network; 4 is less than the bases of a token (4.65).
_BATCHES_AHEAD, _BASES_PER_TOKEN = 8, 4


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that the network computes in.

    `auto` is bfloat16 on GPUs of compute capability 8 and newer and on CPUs with instructions for it (where there are
    none it was 200 times slower than float32), float16 on older GPUs, else float32.
    """
    if precision != "auto":
        return _PRECISIONS[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    features = torch.cpu.get_capabilities()
    return torch.bfloat16 if features.get("amx_bf16") or features.get("avx512_bf16") else torch.float32


class DnabertEmbedder:
    """Masked mean over all tokens of a fragment, [CLS] and [SEP] of each window included.

    A fragment's vector is the sum of the token vectors of all its windows (of both mates, on both strands) divided by
    their number. Promised of it: in float32 it depends on the other fragments of a batch, on padding and on the number
    of threads by about 1e-6 at most; with `strands` both, a fragment and its reverse complement (mates exchanged) have
    the same vector to the same precision. In half precision such differences reach a few 1e-3.

    Args:
        name: dnabert2 or dnabert-s.
        weights: folder of the model's files; None: the pinned revision, downloaded once.
        precision: auto, float32, bfloat16 or float16; see `choose_precision`.
        window_bp: longer reads are cut into windows. 2,400 bases are some 512 tokens, the length that DNABERT-2's
            configuration starts from; the network takes longer ones at a cost that grows with the square.
        strands: both (the default) or one. The network is not neutral to the strand, yet sequencers read either at
            random: from one strand alone, two reads of one place may differ for that reason only. Both costs twice the
            time.
        device: of torch; None: a GPU where there is one.
        batch_tokens: most tokens of a batch, padding included; None: a value that suits the device.

    Raises:
        ConfigError: a parameter that is none of these.
        InputError: files that are missing, damaged, or do not fit each other.
    """

    is_composition = False
    fit_fragments = 2_000

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        precision: str = "auto",
        window_bp: int = 2400,
        strands: str = "both",
        *,
        device: str | None = None,
        batch_tokens: int | None = None,
    ):
        for key, value, known in (
            ("precision", precision, ("auto", *_PRECISIONS)),
            ("strands", strands, ("both", "one")),
        ):
            if value not in known:
                raise ConfigError(f"{key} is '{value}'", remedy=f"choose one of: {', '.join(known)}")
        if window_bp < LEAST_BASES:
            raise ConfigError(f"window_bp is {window_bp}", remedy=f"choose at least {LEAST_BASES}")
        config, tokenizer, tensors = find_model(MODELS[name], weights)
        self.name = name
        self.tokens = 0  # that went through the network, for the metrics
        self.parameters = {"precision": precision, "window_bp": window_bp, "strands": strands}
        sums = "".join(hash_file(path) for path in (config, tokenizer, tensors))
        self.revision = f"{_VERSION}-{hashlib.sha256(sums.encode()).hexdigest()[:16]}"
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._tokenizer = load_tokenizer(tokenizer)
        network = dnabert2.load(tensors, config)
        self.dim = network.config.hidden_size
        if self._tokenizer.get_vocab_size() > network.config.vocab_size:
            raise InputError(
                f"has {self._tokenizer.get_vocab_size()} tokens, but the network {network.config.vocab_size}",
                path=tokenizer,
                remedy="use the tokenizer.json and the weights of one model",
            )
        self._loaded = network
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(self._device.type, _BATCH_TOKENS["cpu"])

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return choose_precision(self.parameters["precision"], self._device)

    @cached_property
    def _network(self) -> dnabert2.Network:
        """The network on its device, from when it is used: who only asks for the revision leaves the GPU to others."""
        return self._loaded.to(self._device, self.dtype)

    def embed(self, sequences: pa.StringArray, mates: pa.StringArray | None = None) -> np.ndarray:
        """Return (n, D) float32 vectors, NaN for a fragment whose windows have fewer than 4 known bases each."""
        columns = [sequences] if mates is None else [sequences, mates]
        windows = cut_windows(columns, self.parameters["window_bp"], self.parameters["strands"] == "both")
        sums = np.zeros((len(sequences), self.dim))
        counts = np.zeros(len(sequences), np.int64)
        for rows, vectors, tokens in self._run(windows.texts):
            # One fragment can have several windows in a chunk: add those up first.
            order = np.argsort(windows.fragments[rows], kind="stable")
            fragments, starts = np.unique(windows.fragments[rows][order], return_index=True)
            sums[fragments] += np.add.reduceat(vectors[order].astype(np.float64), starts, axis=0)
            counts[fragments] += np.add.reduceat(tokens[order], starts)
            self.tokens += int(tokens.sum())
        with np.errstate(invalid="ignore"):
            return (sums / counts[:, None]).astype(np.float32)

    def _run(self, texts: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, a chunk of windows at a time: their rows, (rows, D) float32 sums over tokens, numbers of tokens."""
        chunks = list(split_chunks(texts, _BATCHES_AHEAD * self.batch_tokens * _BASES_PER_TOKEN))
        pad = self._tokenizer.token_to_id("[PAD]")
        with ThreadPoolExecutor(1) as pool:  # the tokenizer releases the interpreter's lock while it works
            waiting = [pool.submit(tokenize, self._tokenizer, texts[chunk]) for chunk in chunks[:1]]
            for number, chunk in enumerate(chunks):
                ids = waiting.pop().result()
                waiting += [pool.submit(tokenize, self._tokenizer, texts[after]) for after in chunks[number + 1 :][:1]]
                rows, sums, lengths = [], [], []
                for batch, tokens, length in make_batches(ids, self.batch_tokens, pad):
                    rows.append(batch + chunk.start)
                    sums.append(self._sum_tokens(tokens, length))
                    lengths.append(length)
                yield np.concatenate(rows), torch.cat(sums).cpu().numpy(), np.concatenate(lengths)

    @torch.inference_mode()
    def _sum_tokens(self, tokens: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        """Return (batch, D) float32 sums of the token vectors of a batch, on the device."""
        ids = torch.from_numpy(tokens).to(self._device, non_blocking=True)  # (batch, tokens)
        mask = None
        if lengths.min() < tokens.shape[1]:
            mask = torch.from_numpy(np.arange(tokens.shape[1]) < lengths[:, None])  # (batch, tokens)
            mask = mask.to(self._device, non_blocking=True)
        return self._network(ids, mask).sum(1, dtype=torch.float32)  # (batch, D); padded rows are 0
