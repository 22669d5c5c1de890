"""The embedders dnabert2 and dnabert-s: the mean over a fragment's tokens of what the network makes of them."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import torch

from readclade import dnabert2
from readclade.embedders.hub import MODELS, find_model
from readclade.embedders.windows import LEAST_BASES, cut_windows, load_tokenizer, make_batches, split_chunks, tokenize
from readclade.errors import ConfigError, InputError
from readclade.prefetch import one_behind, read_ahead
from readclade.storage.files import hash_file

_VERSION = "3"  # raise it when the same weights would give another vector
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


@numba.njit(cache=True, nogil=True)
def _add_rows(sums, fragments, vectors):
    for i in range(len(fragments)):
        sums[fragments[i]] += vectors[i]


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
        self.parameters: dict[str, Any] = {"precision": precision, "window_bp": window_bp, "strands": strands}
        sums = "".join(hash_file(path) for path in (config, tokenizer, tensors))
        self.revision = f"{_VERSION}-{hashlib.sha256(sums.encode()).hexdigest()[:16]}"
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        # While one prepares its batch, or takes the results, a GPU works for the other.
        self.threads = 1 if self._device.type == "cpu" else 2
        self._tokenizer = load_tokenizer(tokenizer)
        network = dnabert2.load(tensors, config)
        self.dim = network.config.hidden_size
        if self._tokenizer.get_vocab_size() > network.config.vocab_size:
            raise InputError(
                f"has {self._tokenizer.get_vocab_size()} tokens, but the network {network.config.vocab_size}",
                path=tokenizer,
                remedy="use the tokenizer.json and the weights of one model",
            )
        self._loaded, self._lock = network, threading.Lock()
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(self._device.type, _BATCH_TOKENS["cpu"])

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return choose_precision(self.parameters["precision"], self._device)

    @cached_property
    def _network(self) -> dnabert2.Network:
        """The network on its device, from when it is used: who only asks for the revision leaves the GPU to others."""
        with self._lock:
            return self._loaded.to(self._device, self.dtype)

    def embed(self, sequences: pa.StringArray, mates: pa.StringArray | None = None) -> np.ndarray:
        """Return (n, D) float32 vectors, NaN for a fragment whose windows have fewer than 4 known bases each.

        Several threads may call it at once: then the GPU has work while one of them prepares a batch.
        """
        columns = [sequences] if mates is None else [sequences, mates]
        windows = cut_windows(columns, self.parameters["window_bp"], self.parameters["strands"] == "both")
        sums = np.zeros((len(sequences), self.dim), np.float32)
        counts = np.zeros(len(sequences), np.int64)
        for rows, wait, tokens in one_behind(self._run(windows.texts)):  # then the GPU has the next chunk to do
            fragments = windows.fragments[rows]
            _add_rows(sums, fragments, wait())
            np.add.at(counts, fragments, tokens)
            with self._lock:
                self.tokens += int(tokens.sum())
        with np.errstate(invalid="ignore"):
            return np.divide(sums, counts[:, None], out=sums, casting="same_kind")

    def _run(self, texts: list[str]) -> Iterator[tuple[np.ndarray, Callable[[], np.ndarray], np.ndarray]]:
        """Set the network to work on a chunk of windows at a time; yield each chunk's.

        Yields:
            rows: (rows,) int64, which windows.
            wait: function that waits for the (rows, D) float32 sums of their token vectors, and returns them.
            lengths: (rows,) int64 numbers of tokens.
        """
        for start, batches, lengths in read_ahead(self._prepare(texts)):
            rows = np.concatenate([rows for rows, _ in batches])
            yield start + rows, self._start(batches, lengths), lengths[rows]

    def _prepare(self, texts: list[str]) -> Iterator[tuple[int, list[tuple[np.ndarray, np.ndarray]], np.ndarray]]:
        """Yield, a chunk of windows at a time: where it begins, its batches of tokens, the tokens of each window."""
        pad = self._tokenizer.token_to_id("[PAD]")
        assert pad is not None  # load_tokenizer takes no other tokenizer
        for chunk in split_chunks(texts, _BATCHES_AHEAD * self.batch_tokens * _BASES_PER_TOKEN):
            ids, lengths = tokenize(self._tokenizer, texts[chunk])  # releases the interpreter's lock
            yield chunk.start, list(make_batches(ids, lengths, self.batch_tokens, pad)), lengths

    @torch.inference_mode()
    def _start(self, batches: list[tuple[np.ndarray, np.ndarray]], lengths: np.ndarray) -> Callable[[], np.ndarray]:
        """Set the network to work on batches; return what waits for the (rows, D) float32 sums of token vectors."""
        parts: list[torch.Tensor] = []
        for rows, tokens in batches:
            padded = lengths[rows[-1]] < tokens.shape[1]  # the shortest stands last
            hidden = self._network(self._send(tokens), self._send(lengths[rows]) if padded else None)
            parts.append(hidden.sum(1, dtype=torch.float32))  # (batch, D); padded rows are 0
        sums = torch.cat(parts)
        if self._device.type == "cpu":
            return sums.numpy
        found = torch.empty(sums.shape, pin_memory=True).copy_(sums, non_blocking=True)
        done = torch.cuda.Event(blocking=True)
        done.record()

        def wait() -> np.ndarray:
            done.synchronize()
            return found.numpy()

        return wait

    def _send(self, array: np.ndarray) -> torch.Tensor:
        """Return the array on the device; from pinned memory a copy does not wait for what the GPU does."""
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)
