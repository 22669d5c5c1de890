"""Overlaps of short reads: what overlaps is found and lies right, and what only looks as if it did is not joined."""

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, read_fasta
from readclade.clustering.links.inserts import find_insert_ends
from readclade.clustering.links.pairs import overlap_pairs
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.exchange import Layout

MEMORY = 1 << 26


@pytest.fixture(scope="module")
def phage(repository) -> str:
    (genome,) = read_fasta(repository / "demo/genomes/Enterobacteria_phage_lambda.fa.gz", "").values()
    return genome.decode()


@pytest.fixture(scope="module")
def bacterium(repository) -> str:
    genome = read_fasta(repository / "demo/genomes/Staphylococcus_aureus_N315.fa.gz", "")
    return max(genome.values(), key=len).decode()


def turn(sequence: str) -> str:
    return sequence.encode().translate(COMPLEMENT)[::-1].decode()


def substitute(sequence: str, rate: float, rng) -> str:
    """Return the sequence with substitutions, as Illumina's errors mostly are."""
    letters = np.array(list(sequence))
    wrong = np.flatnonzero(rng.random(len(letters)) < rate)
    letters[wrong] = rng.choice(list("ACGT"), len(wrong))
    return "".join(letters)


def overlap(fragments, memory: int = MEMORY, told: float = 0.004):
    pairs = [(fragment, "") if isinstance(fragment, str) else fragment for fragment in fragments]
    layout = Layout(MPI.COMM_SELF, [0, len(pairs)])
    table = pa.table({"sequence": [one for one, _ in pairs], "mate": [other for _, other in pairs]})
    return overlap_pairs(layout, encode_sequences([table]), told, memory)


def list_links(found) -> set[tuple[int, int]]:
    chunks = [np.sort(np.column_stack(chunk), axis=1).tolist() for chunk in found.iterate_links()]
    return {tuple(pair) for chunk in chunks for pair in chunk}


@pytest.mark.parametrize("first_turned", [False, True])
@pytest.mark.parametrize("second_turned", [False, True])
def test_reads_that_overlap_continue_one_another(phage, first_turned, second_turned):
    one, other = phage[5000:5150], phage[5050:5200]
    found = overlap([turn(one) if first_turned else one, turn(other) if second_turned else other])
    end, partner = (0 if first_turned else 1), (5 if second_turned else 4)
    assert found.best[end] == partner
    assert found.best[partner] == end
    assert (found.best >= 0).sum() == 2
    assert found.overlaps[end] == found.overlaps[partner] == 100
    assert list_links(found) == {(0, 2)}


def test_a_read_continues_with_the_nearest(phage):
    found = overlap([phage[begin : begin + 150] for begin in (5000, 5080, 5030, 5055)])
    # In order: the first, the third, the fourth, the second.
    assert found.best[[1, 9, 13]].tolist() == [8, 12, 4]
    assert found.best[[0, 5]].tolist() == [-1, -1]


def test_the_mate_of_one_may_continue_the_read_of_another(phage):
    found = overlap([(phage[100:250], turn(phage[350:500])), (phage[420:570], turn(phage[670:820]))])
    assert found.best[2] == 4  # the mate runs backwards: its left end
    assert found.overlaps[2] == 80


@pytest.mark.parametrize("is_turned", [False, True])
def test_a_read_within_another_has_a_container(phage, is_turned):
    inner = phage[5020:5120]
    found = overlap([turn(inner) if is_turned else inner, phage[5000:5150], phage[5010:5140]])
    assert found.containers.tolist()[::2] == [4 + is_turned, -1, 4]
    assert found.offsets[0] == 20
    assert (found.best == -1).all()


def test_equal_reads_lie_in_the_lowest(phage):
    read = phage[5000:5150]
    found = overlap([read, turn(read), read, read])
    assert found.containers[0] == -1
    assert (found.containers[2::2] >= 0).all()
    assert (found.offsets == 0).all()


def test_reads_that_touch_or_share_a_piece_do_not_overlap(phage, bacterium):
    other = bacterium[9000:9055] + phage[1055:1095] + bacterium[9095:9150]
    found = overlap([phage[1000:1150], phage[1150:1300], phage[1120:1270], other])
    assert list_links(found) == {(2, 4)}  # 120 bases of the next; 30 of the first are too few


def test_relatives_are_not_joined(phage):
    """Two reads that differ in every twelfth base may share a k-mer, but do not overlap."""
    rng = np.random.default_rng(0)
    reads = [phage[begin : begin + 150] for begin in range(0, 30_000, 40)]
    relative = list(phage)
    for position in rng.choice(len(phage), len(phage) // 12, replace=False):
        relative[position] = "ACGT"["CATG".index(relative[position])]
    others = ["".join(relative[begin : begin + 150]) for begin in range(20, 30_000, 40)]
    found = overlap(reads + others)
    assert all((one < 2 * len(reads)) == (other < 2 * len(reads)) for one, other in list_links(found))
    assert (found.best >= 0).sum() > 1.9 * (len(reads) + len(others)) - 10


def test_an_end_whose_overlaps_contradict_one_another_has_no_partner(phage, bacterium):
    """A repeat ends: two reads continue it, and they are of different places."""
    repeat = phage[1000:1150]
    one = phage[1050:1150] + bacterium[5000:5050]
    other = phage[1040:1150] + bacterium[9000:9040]
    found = overlap([repeat, one, other])
    assert list_links(found) >= {(0, 2), (0, 4)}
    assert found.best[1] == -1


def test_unknown_letters_short_reads_and_nothing(phage):
    one, other = phage[5000:5150], phage[5050:5200]
    broken = other[:20] + "N" + other[21:]
    found = overlap([one, broken, "N" * 150, one[:30], "", ("ACGT", "NNN")])
    assert list_links(found) == {(0, 2)}
    assert overlap([""]).containers.tolist() == [-1, -1]


def test_a_place_of_any_depth_costs_and_gives_what_each_read_needs(phage):
    rng = np.random.default_rng(0)
    begins, lengths = rng.integers(0, 700, 5000), rng.integers(100, 150, 5000)
    found = overlap([phage[a : a + b] for a, b in zip(begins, lengths, strict=True)])
    assert ((found.containers >= 0).sum() + (found.best >= 0).sum() / 2) > 4900


def test_a_repeat_that_is_common_changes_nothing_elsewhere(phage, bacterium):
    """Adapters in a fifth of the reads: the others continue one another as before."""
    plain = [phage[begin : begin + 150] for begin in range(0, 9000, 30)]
    adapter = "AGATCGGAAGAGCACACGTCTGAACTCCAGTCACATCACGATCTCGTATGCCGTCTTCTGCTTGAAAAAAAA"
    spoilt = [bacterium[begin : begin + 78] + adapter for begin in range(0, 160 * 2000, 160)]
    alone, together = overlap(plain), overlap(plain + spoilt)
    assert np.array_equal(alone.best, together.best[: len(alone.best)])


@pytest.mark.parametrize("memory", [20_000, 400_000])
def test_the_memory_changes_nothing(phage, memory):
    rng = np.random.default_rng(4)
    fragments = []
    for begin in rng.integers(0, 12_000, 400):
        mates = phage[begin : begin + 150], turn(phage[begin + 200 : begin + 350])
        fragments.append(tuple(substitute(mate, 0.01, rng) for mate in mates))
    expected, found = overlap(fragments), overlap(fragments, memory)
    for name in ("best", "overlaps", "containers", "offsets", "lengths"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert list_links(found) == list_links(expected)


@pytest.mark.parametrize("truth", [0.001, 0.01, 0.03])
def test_the_error_rate_is_read_off_the_overlaps(bacterium, truth):
    rng = np.random.default_rng(5)
    begins = rng.integers(0, 300_000, 10_000)
    reads = [substitute(bacterium[begin : begin + 150], truth * 4 / 3, rng) for begin in begins]
    assert overlap(reads, told=0.25).error_rate == pytest.approx(truth, rel=0.25)


def test_where_too_little_overlaps_the_qualities_count(phage):
    assert overlap([phage[5000:5150], phage[5050:5200]], told=0.02).error_rate == 0.02


# Ends of inserts


def find_kept(*fragments) -> list[int]:
    table = pa.table({"sequence": [one for one, _ in fragments], "mate": [other for _, other in fragments]})
    return find_insert_ends(encode_sequences([table])).tolist()


def test_mates_that_read_through_their_insert_are_cut_at_its_ends(phage):
    insert = phage[700:790]
    one, other = insert + "AGATCGGAAGAGCACACGTC" * 3, turn(insert) + "TTGCAGTACCGGATTACGGA" * 3
    assert find_kept((one, other), (one, turn(phage[900:1050])), (insert, turn(insert))) == [90, 90, 150, 150, 90, 90]


def test_a_few_errors_do_not_hide_an_insert(phage):
    insert = list(phage[700:790])
    one = "".join(insert) + "AGATCGGAAGAGCACACGTC"
    insert[10] = insert[70] = "N"
    assert find_kept((one, turn("".join(insert).replace("N", "A")) + "TTGCAGTACCGGATTACGGA")) == [90, 90]


@pytest.mark.parametrize(
    ("tail", "kept"), [("G" * 40, 100), ("G" * 30 + "T" + "G" * 9, 100), ("A" * 11, 111), ("N" * 50, 100)]
)
def test_tails_of_one_base_are_cut(phage, tail, kept):
    read = phage[700:799] + "C"
    assert find_kept((read + tail, "")) == [kept, 0]
    assert find_kept(("G" * 80, "")) == [0, 0]
