"""Embedders by name: functions from a batch of fragments to one vector each, behind one protocol."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.lshvec import LshvecEmbedder
from readclade.errors import ConfigError, needing_networks


class Embedder(Protocol):
    """What every embedder provides.

    Attributes:
        name: the name in the configuration.
        revision: what changes when the same fragment would get another vector.
        parameters: what else decides the vectors, as plain JSON values; files by their names and checksums and never
            by where they lie, so that a run which is moved stays the same run.
        dim: D, the length of a vector before projection.
        is_composition: True where a vector holds frequencies, whose noise grows with the square root of their mean.
        fit_fragments: on how many of a sample's first fragments a projection is fitted: enough for stable directions,
            few enough that one process embeds them soon.
        threads: how many threads call `embed` side by side to keep it busy while others read and write; 0 where
            reading takes as long as embedding, and one thread does all.
    """

    name: str
    revision: str
    parameters: dict[str, Any]
    dim: int
    is_composition: bool
    fit_fragments: int
    threads: int

    def embed(self, sequences: pa.StringArray, mates: pa.StringArray | None = None) -> np.ndarray:
        """Return (n, D) float32 vectors; a fragment too short to say anything gets a row of NaN.

        Args:
            sequences: n reads of the letters A, C, G, T, N in upper case.
            mates: their n mates, or None for single reads.
        """
        ...


def _make_dnabert(name: str) -> Callable[..., Embedder]:
    def make(**parameters) -> Embedder:
        # Not above: torch takes seconds to import, and kmer does without it.
        with needing_networks(name):
            from readclade.embedders.dnabert import DnabertEmbedder

        return DnabertEmbedder(name, **parameters)

    return make


_EMBEDDERS: dict[str, Callable[..., Embedder]] = {
    "dnabert-s": _make_dnabert("dnabert-s"),
    "dnabert2": _make_dnabert("dnabert2"),
    "kmer": KmerEmbedder,
    "lshvec": LshvecEmbedder,
}
EMBEDDERS = tuple(_EMBEDDERS)


def get_embedder(name: str, parameters: Mapping[str, Any]) -> Embedder:
    """Return the embedder of that name, its model loaded.

    Raises:
        ConfigError: there is no embedder of that name, a package that it needs is not installed, or a parameter has a
            value that it does not take.
        InputError: the files of its model are missing or damaged.
    """
    if name not in _EMBEDDERS:
        raise ConfigError(f"there is no embedder '{name}'", remedy=f"choose one of: {', '.join(EMBEDDERS)}")
    return _EMBEDDERS[name](**parameters)
