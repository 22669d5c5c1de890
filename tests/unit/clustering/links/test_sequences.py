"""Packed reads come back letter by letter, whatever their length and in whatever portions."""

from itertools import pairwise, product

import numpy as np
import pyarrow as pa
import pytest

from readclade.clustering.links import sequences as module
from readclade.clustering.links.packing import get_window, reverse_complement
from readclade.clustering.links.sequences import Sequences, encode_sequences

SIZES = (0, 31, 32, 33, 64)


def draw(rng, size: int, letters: str) -> str:
    return "".join(rng.choice(list(letters), size))


def make_fragments() -> list[tuple[str, str]]:
    """Return pairs of all lengths: without unknown letters, with some, of nothing else, and at both ends."""
    rng = np.random.default_rng(5)
    drawn = [
        tuple(draw(rng, size, letters) for size in sizes)
        for sizes in product(SIZES, SIZES)
        for letters in ("ACGT", "ACGTNN", "N")
    ]
    ends = "N" + draw(rng, 62, "ACGT") + "N"
    return [*drawn, (ends, ends), (ends, ""), ("", ends), ("acgtnRY-", "")]


def encode(*shards: list[tuple[str, str]]) -> Sequences:
    tables = [pa.table({"sequence": [one for one, _ in shard], "mate": [two for _, two in shard]}) for shard in shards]
    return encode_sequences(tables)


def spell(codes: np.ndarray) -> str:
    return codes.tobytes().translate(bytes.maketrans(bytes(range(5)), b"ACGTN")).decode()


def list_reads(codes: np.ndarray, offsets: np.ndarray) -> list[str]:
    return [spell(codes[begin:end]) for begin, end in pairwise(offsets)]


def clean(read: str) -> str:
    return "".join(letter if letter in "ACGT" else "N" for letter in read.upper())


@pytest.mark.parametrize("shards", [1, 3, 80])
def test_encode_sequences_keeps_every_letter(shards):
    fragments = make_fragments()
    parts = np.array_split(np.arange(len(fragments)), shards)
    packed = encode(*([fragments[number] for number in part] for part in parts))
    assert list_reads(*packed.decode(np.arange(len(fragments)))) == [clean(read) for pair in fragments for read in pair]
    assert len(packed) == len(fragments)
    assert packed.lengths.tolist() == [len(one) + len(two) for one, two in fragments]
    whole = encode(fragments)
    for name in ("words", "begins", "read_lengths", "unknown"):
        assert np.array_equal(getattr(packed, name), getattr(whole, name))


@pytest.mark.parametrize("fragments", [1, 7, 65536])
@pytest.mark.parametrize("bases", [1, 200, 1 << 25])
def test_blocks_of_any_size_hold_the_same(monkeypatch, fragments, bases):
    monkeypatch.setattr(module, "_BLOCK_BASES", bases)
    pairs = make_fragments()
    packed = encode(pairs)
    codes, offsets = packed.decode(np.arange(len(pairs)))
    end = 0
    for block in packed.blocks(fragments):
        assert block.begin == end < block.end <= end + fragments
        assert len(block.codes) <= bases or block.end == end + 1
        end = block.end
        assert np.array_equal(block.offsets, offsets[2 * block.begin : 2 * end + 1] - offsets[2 * block.begin])
        assert np.array_equal(block.codes, codes[offsets[2 * block.begin] : offsets[2 * end]])
    assert end == len(pairs)


def test_decode_takes_fragments_in_any_order():
    fragments = make_fragments()
    packed = encode(fragments)
    chosen = np.array([5, 1, 1, len(fragments) - 1])
    expected = [clean(read) for number in chosen for read in fragments[number]]
    assert list_reads(*packed.decode(chosen)) == expected


def test_unknown_letters_that_stand_in_a_row_are_kept_once():
    packed = encode([("ACGT" + "N" * 50_000 + "ACGT", "")], [("", "NAN")])
    first = 32 * (50_008 // 32 + 1)
    assert packed.unknown.tolist() == [[4, 50_004], [first, first + 1], [first + 2, first + 3]]


def test_no_fragments():
    for nothing in (encode(), encode([]), encode([], [])):
        assert len(nothing) == len(nothing.lengths) == len(nothing.unknown) == 0
        assert nothing.begins.tolist() == [0]
        assert list(nothing.blocks()) == []


def test_windows_hold_32_bases_from_anywhere_on():
    read = draw(np.random.default_rng(6), 100, "ACGT")
    packed = encode([("", read)])
    for begin in range(len(read) - 31):
        window = np.uint64(get_window(packed.words, packed.begins[1], begin))
        letters = [int(window >> np.uint64(2 * place)) & 3 for place in range(32)]
        assert spell(np.array(letters, np.uint8)) == read[begin : begin + 32]
        turned = np.uint64(reverse_complement(window))
        assert [int(turned >> np.uint64(2 * place)) & 3 for place in range(32)] == [3 - code for code in letters[::-1]]
