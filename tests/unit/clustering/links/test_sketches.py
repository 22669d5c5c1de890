"""Sketches against the plain way, letter by letter."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from readclade.clustering.links.sequences import Sequences, encode_sequences
from readclade.clustering.links.sketches import SketchRule, choose_sketch, sketch_reads

EVERY = SketchRule(15, 1.0, 1.0)


def encode(*fragments: tuple[str, str]) -> Sequences:
    sequences, mates = zip(*fragments, strict=True)
    return encode_sequences([pa.table({"sequence": sequences, "mate": mates})])


def sketch(fragments, rule: SketchRule) -> SimpleNamespace:
    ((hashes, places),) = sketch_reads(encode(*fragments), np.arange(len(fragments)) + 7, rule, range(1), 1)
    return SimpleNamespace(hashes=hashes, places=places)


def turn(sequence: str) -> str:
    return sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def list_kmers(sequence: str, k: int) -> list[tuple[str, int, int]]:
    """Return canonical k-mer, position and strand of each k-mer of known letters."""
    found = []
    for position in range(len(sequence) - k + 1):
        kmer = sequence[position : position + k]
        if set(kmer) <= set("ACGT"):
            found.append((min(kmer, turn(kmer)), position, int(turn(kmer) < kmer)))
    return found


@pytest.fixture(scope="module")
def reads(take_reads) -> list[str]:
    return [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 40)]


def test_every_kmer_of_known_letters_is_there_with_its_position_and_strand(reads):
    broken = reads[0][:60] + "N" + reads[0][61:]
    result = sketch([(broken, ""), ("ACGT", ""), (reads[1], "")], EVERY)
    expected = [list_kmers(sequence, 15) for sequence in (broken, "ACGT", reads[1])]
    kmers = [entry for entries in expected for entry in entries]
    fragments = np.repeat([7, 8, 9], list(map(len, expected)))
    places = [(int(f) << 32) | (p << 1) | strand for f, (_, p, strand) in zip(fragments, kmers, strict=True)]
    assert result.places.tolist() == places
    # Equal k-mers and no others have equal hashes.
    words = [kmer for kmer, _, _ in kmers]
    assert len(set(zip(words, result.hashes.tolist(), strict=True))) == len(set(words)) == len(set(result.hashes))


def test_the_reverse_complement_keeps_the_same_kmers(reads):
    rule = SketchRule(31, 0.2, 1.0)
    one, other = sketch([(reads[0], "")], rule), sketch([(turn(reads[0]), "")], rule)
    assert len(one.hashes) > 10
    assert one.hashes.tolist() == other.hashes[::-1].tolist()
    assert ((one.places ^ other.places[::-1]) & np.uint64(1)).all()


def test_density_is_the_share_of_kmers_kept(reads):
    fragments = [(read, "") for read in reads]
    every = sketch(fragments, SketchRule(31, 1.0, 1.0))
    fifth = sketch(fragments, SketchRule(31, 0.2, 1.0))
    assert 0.17 < len(fifth.hashes) / len(every.hashes) < 0.23
    assert sorted(every.hashes[every.hashes < np.uint64(2**64 // 5)]) == sorted(fifth.hashes)


def test_a_read_that_repeats_two_kept_kmers_fits():
    for unit in ("AAC", "AAG", "ACT", "AGC", "AACC", "AACG"):
        second = sorted(set(sketch([(unit * 10, "")], EVERY).hashes.tolist()))[1]
        if second < 0.3 * 2**64:  # more entries than the density leads to expect
            break
    repeated = unit * 10_000
    hashes = sketch([(repeated, "")], SketchRule(15, second / 2**64 * 1.0001, 1.0)).hashes
    assert len(hashes) >= 2 * (len(repeated) - 14) // len(unit) > 1.05 * second / 2**64 * len(repeated) + 1000
    assert len(set(hashes.tolist())) == 2


def test_in_a_run_of_one_letter_the_first_kmer_is_enough():
    result = sketch([("CAGT" * 10 + "A" * 300 + "CAGT" * 10, "")], EVERY)
    assert len(result.hashes) == 380 - 14 - 285


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_turns_share_out_the_kmers(reads, density):
    fragments, rule = [(read, "") for read in reads], SketchRule(15, density, 1.0)
    every = sketch(fragments, rule)
    ids = np.arange(len(reads)) + 7
    turns = [turn for part in (range(2), range(2, 5)) for turn in sketch_reads(encode(*fragments), ids, rule, part, 5)]
    assert len(turns) == 5
    assert all(0.15 < len(hashes) / len(every.hashes) < 0.25 for hashes, _ in turns)
    assert all((np.diff(places >> np.uint64(32)).astype(np.int64) >= 0).all() for _, places in turns)
    hashes, places = map(np.concatenate, zip(*turns, strict=True))
    assert sorted(places.tolist()) == every.places.tolist()
    assert hashes[np.argsort(places)].tolist() == every.hashes.tolist()
    assert all(one[0].max() < other[0].min() for one, other in pairwise(turns))


def test_no_fragments():
    result = sketch_reads(encode_sequences([]), np.zeros(0, np.int64), EVERY, range(2), 2)
    assert [len(column) for turn in result for column in turn] == [0] * 4


@pytest.mark.parametrize(
    ("error_rate", "k"), [(0.0, 31), (0.001, 31), (0.03, 31), (0.05, 17), (0.04, 21), (0.1, 15), (1.0, 15)]
)
def test_worse_reads_get_shorter_and_more_kmers(error_rate, k):
    rule = choose_sketch(error_rate)
    assert rule.k == k
    assert rule.share == (1 - error_rate) ** (2 * k)
    assert rule.density == pytest.approx(min(1, 0.012 / max(rule.share, 1e-6)))


def test_unknown_error_rates():
    assert choose_sketch(np.nan) == choose_sketch(0.05)
