"""Training of lshvec: skip-gram with negative sampling over the words of a run's first reads.

A word is asked to tell its neighbours within a read (Mikolov et al. 2013), so that words which stand in the same
genomes come to have similar vectors. One model serves all samples of a run and the references: vectors of different
models cannot be compared.
"""

import logging
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from readclade.embedders.lshvec import Hasher, Model, Training, make_hyperplanes
from readclade.errors import InputError, needing_networks
from readclade.letters import get_letters
from readclade.reads.fragments import read_batches
from readclade.reads.plan import load_reads

_log = logging.getLogger(__name__)

_WINDOW = 5  # neighbours on either side, gensim's default
_NEGATIVES = 5
_SENTENCE_WORDS = 10_000  # gensim cuts off what is longer
_STEPS = 2**16  # entries are rounded to multiples of its inverse, see LshvecEmbedder


def take_reads(reads_path: Path, bases: int) -> Iterator[pa.StringArray]:
    """Yield the first reads of a sample, mates as reads of their own, until they hold `bases` bases.

    Args:
        reads_path: the sample's `reads.json`.

    Raises:
        InputError: the reads changed since `fetch`.
    """
    plan = load_reads(reads_path)
    for index in range(len(plan.shards)):
        for batch in read_batches(plan, index, reads_path.parent):
            columns = [batch.sequences] if batch.mates is None else [batch.sequences, batch.mates]
            sizes = np.sum([np.diff(get_letters(column)[1]) for column in columns], axis=0)
            wanted = int(np.searchsorted(np.cumsum(sizes), bases)) + 1
            for column in columns:
                yield column[:wanted]
            bases -= int(sizes[:wanted].sum())
            if bases <= 0:
                return


def train_model(reads_paths: Sequence[Path], training: Training) -> Model:
    """Train a model on the beginnings of samples, an equal share of the bases from each.

    The same reads, in the same order of samples, and the same parameters give the same model, bit for bit, on one kind
    of machine.

    Args:
        reads_paths: `reads.json` of each sample, at least one.

    Raises:
        ConfigError: gensim is not there.
        InputError: reads that changed, or that hold no k-mer.
    """
    with needing_networks("lshvec", ", with Python 3.11 to 3.13, for which gensim is made"):
        from gensim.models import Word2Vec
    hyperplanes = make_hyperplanes(training.k, training.bits, training.seed)
    corpus = _Corpus(Hasher(hyperplanes), 2**training.bits)
    for path in reads_paths:
        for reads in take_reads(path, max(1, training.bases // len(reads_paths))):
            corpus.add(reads)
    if not corpus.words:
        raise InputError(
            f"the first {training.bases:,} bases hold no {training.k} known letters in a row",
            path=reads_paths[0],
            remedy="take a smaller k, or more bases",
        )
    _log.info(f"{corpus.words:,} words from {len(reads_paths)} samples, {training.epochs} epochs")
    network = Word2Vec(
        corpus,
        sg=1,
        vector_size=training.dimensions,
        window=_WINDOW,
        negative=_NEGATIVES,
        epochs=training.epochs,
        min_count=1,
        sample=0,
        seed=training.seed,
        workers=1,  # several would race for the same vectors
        hashfxn=_hash_text,
    )
    vectors = np.zeros((2**training.bits, training.dimensions), np.float32)
    vectors[[int(word) for word in network.wv.index_to_key]] = np.round(network.wv.vectors * _STEPS) / _STEPS
    _log.info(f"{len(network.wv):,} different words")
    return Model(training, hyperplanes, vectors)


def _hash_text(text: str) -> int:
    """Stand in for Python's hash of texts, which changes from process to process."""
    return zlib.crc32(text.encode())


class _Corpus:
    """The sentences, made anew in every epoch from what takes a tenth of their memory."""

    def __init__(self, hasher: Hasher, words: int):
        self._hasher = hasher
        self._texts = np.array([str(word) for word in range(words)], object)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.words = 0

    def add(self, reads: pa.StringArray) -> None:
        words, ends = self._hasher.hash_reads(reads)
        self._parts.append((words.copy(), ends))  # a view would keep the larger array that it was cut from
        self.words += len(words)

    def __iter__(self) -> Iterator[list[str]]:
        for words, ends in self._parts:
            for begin, end in pairwise(ends):
                for start in range(begin, end, _SENTENCE_WORDS):
                    yield self._texts[words[start : min(start + _SENTENCE_WORDS, end)]].tolist()
