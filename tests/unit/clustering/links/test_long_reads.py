"""Overlaps of long reads on one rank: made-up genomes, where everything is known."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from readclade.clustering.links.long_reads import overlap_long_reads
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.exchange import Layout

SCHEMA = pa.schema([("sequence", pa.string()), ("mate", pa.string())])
LETTERS = np.frombuffer(b"ACGT", np.uint8)
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def draw(rng, size: int) -> str:
    return rng.choice(LETTERS, size).tobytes().decode()


def turn(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


def add_errors(rng, sequence: str, rate: float) -> str:
    """Return the sequence with as many substitutions, insertions and deletions."""
    letters = np.frombuffer(sequence.encode(), np.uint8)
    letters = letters[rng.random(len(letters)) >= rate / 3]
    shifted = LETTERS[(np.searchsorted(LETTERS, letters) + rng.integers(1, 4, len(letters))) % 4]
    letters = np.where(rng.random(len(letters)) < rate / 3, shifted, letters)
    at = rng.integers(0, len(letters) + 1, rng.binomial(len(letters), rate / 3))
    return np.insert(letters, at, rng.choice(LETTERS, len(at))).tobytes().decode()


def sample_reads(rng, genome: str, depth: float, rate: float) -> list[str]:
    sizes = rng.integers(2000, 4000, int(depth * len(genome) / 3000))
    reads = [
        add_errors(rng, genome[begin : begin + size], rate)
        for begin, size in zip(rng.integers(0, len(genome) - sizes), sizes, strict=True)
    ]
    return [turn(read) if rng.random() < 0.5 else read for read in reads]


def overlap(reads: list[str], error_rates=np.nan):
    layout = Layout(MPI.COMM_SELF, [0, len(reads)])
    sequences = encode_sequences([pa.table({"sequence": reads, "mate": [""] * len(reads)}).cast(SCHEMA)])
    rates = np.broadcast_to(np.asarray(error_rates, np.float32), len(reads)).copy()
    return overlap_long_reads(layout, sequences, rates)


@pytest.fixture(scope="module")
def genome() -> str:
    return draw(np.random.default_rng(0), 60_000)


# Two reads


@pytest.mark.parametrize("is_first_turned", [False, True])
@pytest.mark.parametrize("is_second_turned", [False, True])
def test_an_overlap_joins_the_ends_that_meet(genome, is_first_turned, is_second_turned):
    one, other = genome[:3000], genome[1000:4500]
    found, verified = overlap([turn(one) if is_first_turned else one, turn(other) if is_second_turned else other])
    # Reads are 0 and 2, their ends 0, 1 and 4, 5: the right end of the first place meets the left end of the second.
    end, partner = 1 - is_first_turned, 4 + is_second_turned
    expected = np.full(8, -1)
    expected[end], expected[partner] = partner, end
    assert found.best.tolist() == expected.tolist()
    assert found.overlaps[[end, partner]].tolist() == [2000, 2000]
    assert found.overlaps.sum() == 4000
    assert found.containers.tolist() == [-1] * 4
    assert found.lengths.tolist() == [3000, 0, 3500, 0]
    assert [reads.tolist() for reads in next(found.iterate_links())] == [[0], [2]]
    assert verified.is_reversed.tolist() == [is_first_turned != is_second_turned]
    assert verified.edits.tolist() == [0]
    assert verified.lengths.tolist() == [2000]
    shift = -1500 if is_first_turned else 1000
    assert (verified.a_begin - verified.b_begin).tolist() == [shift]
    assert (verified.a_end - verified.b_end).tolist() == [shift]


@pytest.mark.parametrize("is_inner_first", [False, True])
@pytest.mark.parametrize("is_inner_turned", [False, True])
@pytest.mark.parametrize("is_outer_turned", [False, True])
def test_a_read_within_another_has_its_place_there(genome, is_inner_first, is_inner_turned, is_outer_turned):
    inner, outer = genome[1000:3000], genome[:5000]
    reads = [turn(outer) if is_outer_turned else outer, turn(inner) if is_inner_turned else inner]
    found, _ = overlap(reads[::-1] if is_inner_first else reads)
    inner, outer = (0, 2) if is_inner_first else (2, 0)
    expected = np.full(4, -1)
    expected[inner] = 2 * outer + (is_inner_turned != is_outer_turned)
    assert found.containers.tolist() == expected.tolist()
    assert found.offsets[inner] == (2000 if is_outer_turned else 1000)
    assert found.best.tolist() == [-1] * 8


def test_copies_are_held_by_the_lowest(genome):
    read = genome[:3000]
    found, _ = overlap([read, turn(read), read, genome[10_000:13_000]])
    assert found.containers[::2].tolist() == [-1, 1, 0, -1]
    assert found.offsets.tolist() == [0] * 8


def test_the_container_that_differs_least_holds_a_read(genome):
    rng = np.random.default_rng(1)
    reads = [add_errors(rng, genome[:6000], 0.04), genome[200:6200], genome[2000:5000]]
    assert overlap(reads)[0].containers[4] == 2 * 2


def test_the_longest_overlap_is_the_best_of_an_end(genome):
    reads = [genome[:3000], genome[2000:5000], genome[1000:4000]]
    found, _ = overlap(reads)
    assert found.best[1] == 8
    assert found.overlaps[1] == 2000
    assert found.best[4] == 9


def test_overlaps_below_500_bases_do_not_count(genome):
    assert len(overlap([genome[:3000], genome[2450:6000]])[1]) == 1
    assert len(overlap([genome[:3000], genome[2550:6000]])[1]) == 0


def test_adapters_at_the_ends_do_not_part_reads(genome):
    rng = np.random.default_rng(2)
    reads = [genome[:3000] + draw(rng, 60), draw(rng, 60) + genome[1000:4000]]
    found, _ = overlap(reads)
    assert found.best.tolist() == [-1, 4, -1, -1, 1, -1, -1, -1]


@pytest.mark.parametrize("tip", [300, 500, 1000])
def test_reads_that_share_a_repeat_alone_are_not_joined(tip):
    rng = np.random.default_rng(3)
    repeat = draw(rng, 1500)
    both = [draw(rng, tip) + repeat + draw(rng, tip) for _ in range(2)]
    assert len(overlap(both)[1]) == 0
    # One read ends with the repeat, so that nothing parts them on that side.
    assert len(overlap([both[0][:-tip], both[1]])[1]) == 0
    assert len(overlap([both[0][:-tip], both[1][tip:]])[1]) == 1


def test_a_read_is_not_held_against_itself():
    rng = np.random.default_rng(4)
    half = draw(rng, 2000)
    palindrome = half + turn(half)
    assert len(overlap([palindrome])[1]) == 0
    found, verified = overlap([palindrome, palindrome[1000:] + draw(rng, 2000)])
    assert len(verified) == 1
    assert found.best[1] == 4


def test_tandem_repeats_do_not_hinder_what_holds(genome):
    rng = np.random.default_rng(5)
    array = draw(rng, 40) * 40
    locus = genome[:2000] + array + genome[2000:4000]
    found, verified = overlap([locus[:4500], locus[1000:]])
    assert found.best.tolist() == [-1, 4, -1, -1, 1, -1, -1, -1]
    assert verified.edits.tolist() == [0]
    assert verified.lengths.tolist() == [3500]


def test_unknown_letters_are_no_anchors(genome):
    unknown = "N" * 2000
    assert len(overlap([genome[:1000] + unknown, genome[5000:6000] + unknown])[1]) == 0
    broken = genome[1000:2000] + "N" + genome[2001:4000]
    _, verified = overlap([genome[:3000], broken])
    assert len(verified) == 1
    assert verified.edits[0] == (genome[2000] != "A")


@pytest.mark.parametrize(
    "reads",
    [[], [""], ["", ""], ["ACGT", "ACGT"], ["A" * 3000] * 3, ["AC" * 1500] * 3, ["N" * 3000] * 2, ["", "ACGT" * 4, ""]],
)
def test_reads_without_overlaps(reads):
    found, verified = overlap(reads)
    n = len(reads)
    assert len(verified) == sum(map(len, next(found.iterate_links()))) == 0
    assert [len(column) for column in (found.best, found.overlaps)] == [4 * n, 4 * n]
    assert [len(column) for column in (found.containers, found.offsets, found.lengths)] == [2 * n, 2 * n, 2 * n]
    assert len(found.error_rates) == n
    assert np.isnan(found.error_rate)


# Samples


@pytest.fixture(scope="module")
def relatives(genome):
    """Reads of a genome at 8x and of a relative at 5x that differs at a tenth of its bases; the first are 160."""
    rng = np.random.default_rng(6)
    relative = add_errors(rng, genome, 0.1)
    reads = sample_reads(rng, genome, 8, 0.05) + sample_reads(rng, relative, 5, 0.05)
    return reads, overlap(reads)


def test_relatives_are_kept_apart(relatives):
    _, (found, _) = relatives
    first, second = next(found.iterate_links())
    assert len(first) > 1000
    is_wrong = (first < 2 * 160) != (second < 2 * 160)
    assert is_wrong.mean() < 0.01
    contained = np.flatnonzero(found.containers >= 0)
    assert len(contained) > 20
    assert ((contained < 320) == (found.containers[contained] >> 1 < 320)).all()
    ends = np.flatnonzero(found.best >= 0)
    ends = ends[found.best[found.best[ends]] == ends]
    assert len(ends) > 100
    assert ((ends < 640) == (found.best[ends] < 640)).all()


def test_error_rates_of_samples_and_reads(relatives):
    _, (found, _) = relatives
    assert found.error_rate == pytest.approx(0.05, rel=0.15)
    assert np.median(found.error_rates[:160]) == pytest.approx(0.05, rel=0.15)
    assert np.median(found.error_rates[160:]) == pytest.approx(0.05, rel=0.25)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_the_error_rate_is_that_of_the_reads_whatever_the_qualities_say(genome, rate):
    rng = np.random.default_rng(7)
    reads = sample_reads(rng, genome, 6, rate)
    found, verified = overlap(reads, rng.uniform(0.2, 0.3, len(reads)))
    assert found.error_rate == pytest.approx(rate, rel=0.25)
    assert len(verified) > 400


def test_a_worse_read_has_a_higher_rate(genome):
    rng = np.random.default_rng(8)
    reads = [*sample_reads(rng, genome, 8, 0.04), add_errors(rng, genome[20_000:25_000], 0.07)]
    rates = overlap(reads)[0].error_rates
    assert rates[-1] == rates.max() > 1.1 * np.median(rates)


@pytest.mark.parametrize(
    ("qualities", "taken"), [(np.nan, 0.05), ([0.01, 0.02, 0.03], 0.02), (0.001, 0.05), ([0.1, np.nan, 0.1], 0.05)]
)
def test_qualities_are_taken_where_too_little_overlaps_unless_they_are_placeholders(genome, qualities, taken, caplog):
    reads = [genome[:3000], genome[1000:4000], genome[10_000:13_000]]
    with caplog.at_level(logging.INFO, "readclade"):
        found, _ = overlap(reads, qualities)
    assert "too little overlaps to tell the error rate (below about 3x)" in caplog.text
    assert f"{taken:.2%} is taken" in caplog.text
    assert np.isnan(found.error_rate)
    assert np.isnan(found.error_rates[2])


def test_overlaps_and_qualities_that_disagree_are_told(genome, caplog):
    rng = np.random.default_rng(9)
    reads = sample_reads(rng, genome, 5, 0.05)
    for qualities, is_told in ((rng.uniform(0.005, 0.015, len(reads)), True), (0.01, False), (np.nan, False)):
        caplog.clear()
        with caplog.at_level(logging.INFO, "readclade"):
            overlap(reads, qualities)
        assert ("disagree" in caplog.text) is is_told
        assert "by overlaps" in caplog.text
