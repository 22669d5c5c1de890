"""Reads as a language model takes them: windows of bounded length, on one or both strands, turned into tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from readclade.errors import InputError
from readclade.letters import get_letters

# Lower case would become [UNK] throughout; all that is no base becomes N, for which the tokenizer has one [UNK] each.
_LETTERS = np.array([ord(chr(i).upper()) if chr(i) in "ACGTacgt" else ord("N") for i in range(256)], np.uint8)
_COMPLEMENT = np.frombuffer(bytes.maketrans(b"ACGT", b"TGCA"), np.uint8)
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
    strands = []  # letters of all reads of a column, their lengths and fragments
    for column in columns:
        letters, offsets = get_letters(column)
        letters = _LETTERS[letters[offsets[0] : offsets[-1]]]
        lengths, fragments = np.diff(offsets).astype(np.int64), np.arange(len(column))
        strands.append((letters, lengths, fragments))
        if both_strands:  # all reads turned at once stand in the opposite order
            strands.append((_COMPLEMENT[letters][::-1], lengths[::-1], fragments[::-1]))
    letters, lengths, fragments = map(np.concatenate, zip(*strands, strict=True))
    counts = -(-lengths // window_bp)  # windows of each read
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of a window in its read
    start, length, count = (np.repeat(of_read, counts) for of_read in (np.cumsum(lengths) - lengths, lengths, counts))
    begins, ends = start + number * length // count, start + (number + 1) * length // count
    known = np.concatenate([[0], np.cumsum(letters != ord("N"))])
    kept = np.flatnonzero(known[ends] - known[begins] >= LEAST_BASES)
    kept = kept[np.argsort(begins[kept] - ends[kept], kind="stable")]
    text = letters.tobytes().decode("ascii")
    texts = [text[begin:end] for begin, end in zip(begins[kept].tolist(), ends[kept].tolist(), strict=True)]
    return Windows(texts, np.repeat(fragments, counts)[kept])


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


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids of windows, one window after the other, and their numbers.

    Returns:
        (tokens,) int32 ids, of each window [CLS] first and [SEP] last; (windows,) int64, at most its bases + 2 each.
    """
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return np.fromiter(chain.from_iterable(ids), np.int32, lengths.sum()), lengths


def split_chunks(texts: list[str], bases: int) -> Iterator[slice]:
    """Yield consecutive slices of about that many bases, one window at least."""
    ends = np.cumsum([len(text) for text in texts])
    begin = 0
    while begin < len(texts):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + bases, side="right")))
        yield slice(begin, end)
        begin = end


def make_batches(
    ids: np.ndarray, lengths: np.ndarray, budget: int, pad: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of windows of similar length, the longest first.

    Args:
        ids: (tokens,) int32, one window after the other.
        lengths: (windows,) int64, tokens of each window.
        budget: most tokens of a batch, padding included; a window longer than that stands alone.
        pad: the id at padding.

    Yields:
        rows: (batch,) int64, which windows.
        tokens: (batch, longest) int32 ids.
    """
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        longest = int(lengths[order[begin]])
        rows = order[begin : begin + max(1, budget // longest)]
        place = np.arange(longest)
        tokens = ids.take(starts[rows, None] + place, mode="clip")
        tokens[place >= lengths[rows, None]] = pad
        yield rows, tokens
        begin += len(rows)
