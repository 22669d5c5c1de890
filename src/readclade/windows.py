"""Reads as a language model takes them: windows of bounded length, on one or both strands, turned into tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from readclade.errors import InputError

# Lower case would become [UNK] throughout; all that is no base becomes N, for which the tokenizer has one [UNK] each.
_LETTERS = bytes(ord(chr(i).upper()) if chr(i) in "ACGTacgt" else ord("N") for i in range(256))
_COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
# Fewer known bases say nothing; the embedder kmer needs as many.
LEAST_BASES = 4


@dataclass(frozen=True)
class Windows:
    """Pieces of reads, longest first.

    Attributes:
        texts: letters A, C, G, T, N.
        fragments: (windows,) int64, the fragment that each belongs to.
    """

    texts: list[str]
    fragments: np.ndarray


def cut_windows(columns: list[pa.StringArray], window_bp: int, both_strands: bool) -> Windows:
    """Cut reads into the fewest windows of at most window_bp bases, as equal in length as can be.

    The other strand is cut from its own beginning, so that a read and its reverse complement have the same windows.
    A window with fewer than 4 known bases is left out.

    Args:
        columns: one or two arrays of n reads: the mates of fragment i stand at i.
        window_bp: >= 4.
        both_strands: whether each read's reverse complement is cut as well.
    """
    texts, fragments = [], []
    for column in columns:
        for fragment, read in enumerate(column.cast(pa.binary()).to_pylist()):
            read = read.translate(_LETTERS)
            for strand in (read, read.translate(_COMPLEMENT)[::-1]) if both_strands else (read,):
                count = -(-len(strand) // window_bp)
                for i in range(count):
                    window = strand[i * len(strand) // count : (i + 1) * len(strand) // count]
                    if len(window) - window.count(b"N") >= LEAST_BASES:
                        texts.append(window.decode("ascii"))
                        fragments.append(fragment)
    order = np.argsort([-len(text) for text in texts], kind="stable")
    return Windows([texts[i] for i in order], np.array(fragments, np.int64)[order])


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json, with neither truncation nor padding.

    Raises:
        InputError: the file is no tokenizer, or not DNABERT-2's kind.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise InputError(f"is no tokenizer ({error})", path=path, remedy="download tokenizer.json again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.encode("ACGTN").ids
    special = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[UNK]", "[PAD]")]
    if None in special or [ids[0], ids[-1], ids[-2]] != special[:3]:
        raise InputError(
            "does not wrap a sequence as [CLS] ... [SEP] with [UNK] for N", path=path, remedy="use the model's own file"
        )
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Return the token ids of windows, [CLS] first and [SEP] last; a window has at most its bases + 2 tokens."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def split_chunks(texts: list[str], bases: int) -> Iterator[slice]:
    """Yield consecutive slices of about that many bases, one window at least."""
    ends = np.cumsum([len(text) for text in texts])
    begin = 0
    while begin < len(texts):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + bases, side="right")))
        yield slice(begin, end)
        begin = end


def make_batches(ids: list[list[int]], budget: int, pad: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield batches of sequences of similar length, the longest first.

    Args:
        ids: token ids of each sequence.
        budget: most tokens of a batch, padding included; a sequence longer than that stands alone.
        pad: the id at padding.

    Yields:
        rows: (batch,) int64, which sequences.
        tokens: (batch, longest) int64 ids.
        lengths: (batch,) int64 tokens without padding.
    """
    lengths = np.array([len(sequence) for sequence in ids], np.int64)
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        longest = int(lengths[order[begin]])
        rows = order[begin : begin + max(1, budget // longest)]
        tokens = np.full((len(rows), longest), pad, np.int64)
        for i, row in enumerate(rows):
            tokens[i, : lengths[row]] = ids[row]
        yield rows, tokens, lengths[rows]
        begin += len(rows)
