"""Hashed k-mers as words, each with a learnt vector: the embedder lshvec.

Random hyperplanes hash a k-mer: one bit for the side of each on which it lies, so that k-mers which differ in few bases
often share their bucket (Charikar 2002). A k-mer and its reverse complement take the smaller of their two buckets, the
word. A fragment's vector is the mean of its words' vectors, which `readclade.embedders.lshvec_training` has learnt.

Source: Shi and Chen, LSHvec, ACM BCB 2021; hyperplanes drawn at random as here, theirs go through sampled k-mers.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa

from readclade.errors import ConfigError, InputError, needing_networks
from readclade.letters import CODES, get_letters
from readclade.storage.files import hash_file, replace_when_done

_VERSION = "1"  # raise it when the same model would give another vector
_METADATA_KEY = "readclade-lshvec"
_TRAIN = "train a model with scripts/train_lshvec.py, or let the workflow do it"
# The scores of so many neighbouring bases are added up beforehand: 4^5 rows stay in the first cache.
_BLOCK_BASES = 5
_TABLE_K = 10  # up to this k the words of all k-mers are found beforehand: 4^10 of them take 4 MB
DIMENSIONS = 64


@dataclass(frozen=True)
class Training:
    """What decides a model, beside the reads.

    Attributes:
        k: length of a k-mer in bases, 4 to 31.
        bits: number of hyperplanes, 4 to 20; there are at most 2^bits words.
        bases: how many bases of reads it is trained on, all samples together.
        epochs: how often training sees each.
        seed: of hyperplanes and training, >= 0.
        dimensions: length of a word's vector.

    Raises:
        ConfigError: a value outside its range.
    """

    k: int = 6
    bits: int = 12
    bases: int = 4_000_000
    epochs: int = 2
    seed: int = 0
    dimensions: int = DIMENSIONS

    def __post_init__(self):
        limits = {"k": (4, 31), "bits": (4, 20), "bases": (1, 10**10), "epochs": (1, 1000), "seed": (0, 2**32 - 1)}
        for name, (least, most) in (limits | {"dimensions": (2, 4096)}).items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ConfigError(f"{name} is {value!r}", remedy=f"choose a whole number from {least} to {most}")


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        hyperplanes: (k, 4, bits) int32, what base A, C, G or T at a position of a k-mer adds to its score.
        vectors: (2^bits, dimensions) float32, rows of zeros for words that training has not seen.
    """

    training: Training
    hyperplanes: np.ndarray
    vectors: np.ndarray


def make_hyperplanes(k: int, bits: int, seed: int) -> np.ndarray:
    """Return (k, 4, bits) int32, hyperplanes through the centre of all k-mers.

    Whole numbers (normal deviates times 4096), so that scores are exact in any order of addition.
    """
    normals = np.random.default_rng(seed).standard_normal((k, 4, bits))
    return np.round((normals - normals.mean(axis=1, keepdims=True)) * 4096).astype(np.int32)


def write_model(path: Path, model: Model) -> None:
    """Write a model as safetensors, atomically; the same model gives the same bytes."""
    with needing_networks("lshvec"):
        from safetensors.numpy import save
    # One key: the format's library writes several in an order that changes from process to process.
    metadata = {_METADATA_KEY: json.dumps(asdict(model.training), sort_keys=True)}
    with replace_when_done(path) as temporary:
        temporary.write_bytes(save({"hyperplanes": model.hyperplanes, "vectors": model.vectors}, metadata))


def read_model(path: Path) -> Model:
    """Read a model.

    Raises:
        ConfigError: safetensors is not installed.
        InputError: the file is missing, truncated, no model of lshvec, or its parts do not fit each other.
    """
    with needing_networks("lshvec"):
        from safetensors import SafetensorError, safe_open
    try:
        with open(path, "rb"):
            pass  # safe_open's own errors do not tell why
        with safe_open(path, "numpy") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy=_TRAIN) from None
    except SafetensorError as error:
        raise InputError(f"is truncated or no safetensors file ({error})", path=path, remedy=_TRAIN) from None
    try:
        training = Training(**json.loads(metadata[_METADATA_KEY]))
    except (KeyError, ValueError, TypeError, ConfigError):
        raise InputError("is no model of lshvec", path=path, remedy=_TRAIN) from None
    expected = {
        "hyperplanes": (np.dtype(np.int32), (training.k, 4, training.bits)),
        "vectors": (np.dtype(np.float32), (2**training.bits, training.dimensions)),
    }
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        raise InputError(
            f"does not fit its own parameters: it holds {_describe(found)} in place of {_describe(expected)}",
            path=path,
            remedy=_TRAIN,
        )
    if not np.isfinite(tensors["vectors"]).all() or not tensors["vectors"].any():
        raise InputError("holds vectors that are all zero or no finite numbers", path=path, remedy=_TRAIN)
    return Model(training, **tensors)


def _describe(tensors: dict) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, (dtype, shape) in sorted(tensors.items())) or "nothing"


class Hasher:
    """Hashes the k-mers of reads to words.

    Args:
        hyperplanes: (k, 4, bits) int32.
    """

    def __init__(self, hyperplanes: np.ndarray):
        k, _, bits = hyperplanes.shape
        begins = range(0, k, _BLOCK_BASES)
        tables = np.zeros((len(begins), 4**_BLOCK_BASES, bits), np.int32)
        shifts, masks = [], []
        for table, begin in zip(tables, begins, strict=True):
            block = hyperplanes[begin : begin + _BLOCK_BASES]
            codes = np.arange(4 ** len(block))
            for position, scores in enumerate(block):
                table[: len(codes)] += scores[(codes >> 2 * (len(block) - 1 - position)) & 3]
            shifts.append(2 * (k - begin - len(block)))
            masks.append(len(codes) - 1)
        blocks = (k, tables, np.array(shifts, np.uint64), np.array(masks, np.uint64))
        words = np.empty(4**k if k <= _TABLE_K else 0, np.int32)
        _fill_words(blocks, words)
        self.tables = (*blocks, words)

    def hash_reads(self, reads: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the words of n reads one after another, int32, and their (n + 1,) int64 offsets; N breaks k-mers."""
        letters, offsets = get_letters(reads)
        words = np.empty(offsets[-1] - offsets[0], np.int32)
        ends = np.zeros(len(offsets), np.int64)
        _hash_reads(letters, offsets, CODES, self.tables, words, ends)
        return words[: ends[-1]], ends


@numba.njit(cache=True, nogil=True)
def _fill_words(blocks, words):
    """Write the word of each k-mer into words."""
    k, tables, shifts, masks = blocks
    scores = np.empty(tables.shape[2], np.int32)
    for kmer in range(len(words)):
        reverse, rest = 0, kmer
        for _ in range(k):
            reverse, rest = reverse << 2 | (3 - rest & 3), rest >> 2
        bucket = _find_bucket(np.uint64(kmer), tables, shifts, masks, scores)
        words[kmer] = min(bucket, _find_bucket(np.uint64(reverse), tables, shifts, masks, scores))


@numba.njit(cache=True, nogil=True)
def _find_bucket(kmer, tables, shifts, masks, scores):
    scores[:] = 0
    for block in range(len(tables)):
        row = tables[block, (kmer >> shifts[block]) & masks[block]]
        for bit in range(len(scores)):
            scores[bit] += row[bit]
    bucket = 0
    for bit in range(len(scores)):
        bucket |= (scores[bit] > 0) << bit
    return bucket


@numba.njit(cache=True, nogil=True)
def _hash_read(letters, begin, end, codes, hasher, scores, words):
    """Write the words of one read, letters[begin:end]; return how many there are."""
    k, tables, shifts, masks, table = hasher
    mask = np.uint64((1 << (2 * k)) - 1)
    top = np.uint64(2 * (k - 1))
    kmer = reverse = np.uint64(0)
    known = count = 0  # known letters since the last unknown one
    for position in range(begin, end):
        code = np.uint64(codes[letters[position]])
        if code == 4:
            known = 0
            continue
        kmer = ((kmer << np.uint64(2)) | code) & mask
        reverse = (reverse >> np.uint64(2)) | ((np.uint64(3) - code) << top)
        known += 1
        if known >= k:
            if len(table):
                words[count] = table[kmer]
            else:
                bucket = _find_bucket(kmer, tables, shifts, masks, scores)
                words[count] = min(bucket, _find_bucket(reverse, tables, shifts, masks, scores))
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _hash_reads(letters, offsets, codes, hasher, words, ends):
    scores = np.empty(hasher[1].shape[2], np.int32)
    for i in range(len(offsets) - 1):
        begin = ends[i]
        ends[i + 1] = begin + _hash_read(letters, offsets[i], offsets[i + 1], codes, hasher, scores, words[begin:])


@numba.njit(cache=True, nogil=True)
def _average_words(letters, offsets, mate_letters, mate_offsets, codes, hasher, vectors, is_known, longest, means):
    """Write the mean over all words of fragment i into means[i], or NaN where it has none that is known."""
    paired = len(mate_offsets) > 1
    scores = np.empty(hasher[1].shape[2], np.int32)
    words = np.empty(longest, np.int32)
    sums = np.empty(means.shape[1])
    for i in range(len(means)):
        sums[:] = 0
        total = 0
        for mate in range(1 + paired):
            if mate:
                count = _hash_read(mate_letters, mate_offsets[i], mate_offsets[i + 1], codes, hasher, scores, words)
            else:
                count = _hash_read(letters, offsets[i], offsets[i + 1], codes, hasher, scores, words)
            for word in words[:count]:
                if is_known[word]:
                    total += 1
                    for column in range(len(sums)):
                        sums[column] += vectors[word, column]
        for column in range(len(sums)):
            means[i, column] = sums[column] / total if total else np.nan


class LshvecEmbedder:
    """Mean of the vectors of a fragment's words, both mates together; words that training has not seen do not count.

    A trained vector's entries are multiples of 2^-16, so that float64 sums are exact: a vector does not depend on the
    strand, bit for bit.

    Args:
        model: path of the model.

    Raises:
        InputError: the model cannot be used.
    """

    name = "lshvec"
    is_composition = False
    fit_fragments = 50_000
    threads = 1

    def __init__(self, model: str):
        trained = read_model(Path(model))
        sha256 = hash_file(model)
        self.parameters = {"model": Path(model).name, "sha256": sha256}
        self.revision = f"{_VERSION}-{sha256[:16]}"
        self.dim = trained.training.dimensions
        self._hasher = Hasher(trained.hyperplanes).tables
        self._vectors = trained.vectors
        self._is_known = trained.vectors.any(axis=1)

    def embed(self, sequences: pa.StringArray, mates: pa.StringArray | None = None) -> np.ndarray:
        """Return (n, D) float32 means; NaN for a fragment without a known word."""
        means = np.empty((len(sequences), self.dim), np.float32)
        letters, offsets = get_letters(sequences)
        mate_letters, mate_offsets = (letters[:0], offsets[:0]) if mates is None else get_letters(mates)
        longest = max([0, *(int(np.diff(ends).max()) for ends in (offsets, mate_offsets) if len(ends) > 1)])
        _average_words(
            *(letters, offsets, mate_letters, mate_offsets, CODES),
            *(self._hasher, self._vectors, self._is_known, longest, means),
        )
        return means
