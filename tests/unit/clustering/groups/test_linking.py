"""Fragments linked on one rank: what hangs together is cut into stretches, and these are linked."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, add_errors, read_fasta
from readclade.clustering.groups.linking import link_fragments
from readclade.clustering.links.buckets import Buckets, _emit
from readclade.clustering.links.error_rates import choose_error_rate, read_qualities
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.exchange import Layout
from readclade.errors import ConfigError

DEPTH = 8


@pytest.fixture(scope="module")
def genomes(repository) -> list[str]:
    """Two stretches of 60 kb of two bacteria."""
    folder = repository / "demo/genomes"
    names = ("Staphylococcus_aureus_N315", "Mycobacterium_leprae_TN")
    return [b"".join(read_fasta(folder / f"{name}.fa.gz", "").values()).decode()[:60_000] for name in names]


def turn(sequence: str) -> str:
    return sequence.encode().translate(COMPLEMENT)[::-1].decode()


def link(fragments, platform="illumina", error_rate=0.01):
    sequences, mates = zip(*fragments, strict=True)
    layout = Layout(MPI.COMM_SELF, [0, len(fragments)])
    encoded = encode_sequences([pa.table({"sequence": sequences, "mate": mates})])
    return link_fragments(layout, encoded, platform, np.full(len(fragments), error_rate, np.float32))


@pytest.fixture(scope="module")
def pairs(genomes):
    """Pairs of both genomes, and the genome of each."""
    rng = np.random.default_rng(0)
    fragments, origin = [], rng.integers(0, 2, DEPTH * 120_000 // 300)
    for number in origin:
        begin = int(rng.integers(0, 59_600))
        insert = genomes[number][begin : begin + int(rng.normal(350, 20))]
        mates = insert[:150], turn(insert[-150:])
        fragments.append(mates if rng.random() < 0.5 else mates[::-1])
    return fragments, origin


@pytest.fixture(scope="module")
def linked(pairs):
    return link(pairs[0])


def test_stretches_are_of_one_genome(linked, pairs):
    _, origin = pairs
    assert linked.is_short
    assert [len(np.unique(level)) for level in linked.levels] == sorted(
        (len(np.unique(level)) for level in linked.levels), reverse=True
    )
    for level in linked.levels:
        assert np.array_equal(origin[level], origin)
        assert (level <= np.arange(len(level))).all()
        assert np.array_equal(level[level], level)


def test_stretches_of_a_level_are_made_of_those_before(linked):
    for inner, outer in zip(linked.levels, linked.levels[1:], strict=False):
        assert np.array_equal(outer, outer[inner])


def test_most_fragments_lie_in_long_stretches_of_their_depth(linked):
    sizes = np.bincount(linked.levels[-1])
    assert sizes[sizes > 100].sum() > 0.9 * len(linked.depths)
    assert np.median(linked.depths) == pytest.approx(DEPTH, rel=0.2)


def test_links_are_between_neighbours_of_one_genome(linked, pairs):
    _, origin = pairs
    assert len(linked.first) > 10
    assert (linked.first < linked.second).all()
    assert np.array_equal(origin[linked.first], origin[linked.second])
    ends = np.concatenate([linked.first, linked.second])
    assert np.isin(ends, linked.levels[0]).all()


def test_long_reads_come_out_alike(genomes):
    rng = np.random.default_rng(3)
    reads, origin = [], rng.integers(0, 2, 240)
    for number in origin:
        begin = int(rng.integers(0, 56_000))
        read = add_errors(genomes[number][begin : begin + 4000].encode(), 0.05, rng).decode()
        reads.append((read if rng.random() < 0.5 else turn(read), ""))
    result = link(reads, "ont", 0.05)
    assert not result.is_short
    sizes = np.bincount(result.levels[-1])
    assert sizes[sizes > 10].sum() > 0.9 * len(reads)
    for level in result.levels:
        assert np.array_equal(origin[level], origin)


@pytest.mark.parametrize(("platform", "size", "identity"), [("illumina", 150, 0.94), ("ont", 4000, 0.9)])
def test_relatives_stand_against_each_other(genomes, platform, size, identity):
    rng = np.random.default_rng(5)
    letters = np.frombuffer(genomes[0].encode(), np.uint8)
    other = np.where(rng.random(60_000) < (1 - identity) * 4 / 3, rng.choice(letters, 60_000), letters)
    both = [genomes[0], other.tobytes().decode()]
    origin = rng.integers(0, 2, DEPTH * 120_000 // size)
    begins = rng.integers(0, 60_000 - size, len(origin))
    reads = [both[number][begin : begin + size] for number, begin in zip(origin, begins, strict=True)]
    if platform == "ont":
        reads = [add_errors(read.encode(), 0.05, rng).decode() for read in reads]
    result = link([(read, "") for read in reads], platform, 0.05)
    first, second, count = result.against.T
    assert (first < second).all()
    keys = first * len(reads) + second
    assert (np.diff(keys) > 0).all()
    is_linked = np.isin(keys, result.first * len(reads) + result.second)
    is_right = origin[first] != origin[second]
    assert count[is_right & ~is_linked].sum() > 50
    assert count[~is_right & ~is_linked].sum() < 0.05 * count.sum()


@pytest.mark.parametrize("platform", ["illumina", "ont"])
def test_what_overlaps_nothing_is_a_stretch_of_its_own(genomes, platform):
    size = 150 if platform == "illumina" else 3000
    reads = [(genomes[0][begin : begin + size], "") for begin in range(0, 30_000, 10_000)]
    result = link([*reads, ("", ""), ("ACGT", "")], platform)
    assert [level.tolist() for level in result.levels] == [[0, 1, 2, 3, 4]] * 3
    assert len(result.first) == 0


@pytest.mark.parametrize("platform", ["illumina", "ont"])
def test_no_fragments(platform):
    nothing = np.zeros(0, np.float32)
    layout, sequences = Layout(MPI.COMM_SELF, [0, 0]), encode_sequences([])
    result = link_fragments(layout, sequences, platform, nothing)
    assert len(result.first) == len(result.depths) == len(result.against) == 0
    assert [len(level) for level in result.levels] == [0, 0, 0]


def test_what_is_done_is_reported(pairs, lines):
    shares = []
    log, keeper = logging.getLogger("readclade.clustering.ranks.progress"), logging.Filter()
    keeper.filter = lambda record: shares.append(record.done) is None
    log.addFilter(keeper)
    link(pairs[0])
    log.removeFilter(keeper)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert "inserts of 35" in "".join(lines)
    assert "stretches; " in lines[-1]


def test_more_fragments_than_links_can_name_are_refused():
    nothing = encode_sequences([])
    with pytest.raises(ConfigError, match=r"4,294,967,297 fragments .* \(2\^32\)"):
        link_fragments(Layout(MPI.COMM_SELF, [0, 2**32 + 1]), nothing, "illumina", np.zeros(0, np.float32))


# Buckets


def list_rows(hashes, places, neighbours) -> list[tuple[int, int]]:
    rows = []
    for hashed in sorted(set(hashes)):
        bucket = sorted(place for other, place in zip(hashes, places, strict=True) if other == hashed)
        for at, place in enumerate(bucket):
            later = [other for other in bucket[at + 1 :] if other >> 32 > place >> 32]
            met = sorted({other >> 32 for other in later})[:neighbours]
            rows += [(place, other) for other in later if other >> 32 in met][: 4 * neighbours]
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_entries_meet_the_next_fragments_of_their_bucket(seed):
    rng = np.random.default_rng(seed)
    # Hashes that differ in the lowest bits alone are not told apart by the upper bits that sorting begins with.
    kinds = rng.integers(0, 2**63, 6, np.uint64)
    hashes = np.append(rng.choice(np.concatenate([kinds, kinds + np.uint64(1)]), 400), np.uint64(2**64 - 1))
    places = (rng.integers(0, 30, 401, np.uint64) << np.uint64(32)) | rng.permutation(401).astype(np.uint64)
    order = np.argsort(places) if seed % 2 else np.arange(401)
    hashes, places = hashes[order], places[order]
    buckets = Buckets(hashes, places)
    assert np.array_equal(buckets.places[buckets.positions], places)
    for neighbours in (3, 1, 8):
        expected = list_rows(hashes.tolist(), places.tolist(), neighbours)
        counts = buckets.count_rows(neighbours)
        assert len(expected) == counts.sum()
        mine, theirs = np.zeros((2, len(expected)), np.uint64)
        assert _emit(0, 401, buckets.places, buckets.positions, counts[buckets.positions], mine, theirs, 0) == len(
            expected
        )
        assert sorted(zip(mine.tolist(), theirs.tolist(), strict=True)) == sorted(expected)


# Error rates


def test_the_median_of_the_qualities_counts():
    rates = np.array([0.01, np.nan, 0.03, 0.02, np.nan], np.float32)
    assert read_qualities(MPI.COMM_SELF, rates) == 0.02


@pytest.mark.parametrize("rates", [[], [np.nan], [0.05] * 9, [0.001, np.nan, 0.001]])
def test_qualities_that_are_placeholders_tell_nothing(rates):
    assert np.isnan(read_qualities(MPI.COMM_SELF, np.array(rates, np.float32)))


def test_overlaps_come_before_qualities_and_qualities_before_the_usual_rate(caplog):
    assert choose_error_rate(0.02, 0.03, 0.05, True) == 0.02
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert choose_error_rate(0.02, 0.001, 0.05, True) == 0.02
    assert "overlaps and qualities disagree: 2.00% errors a base, and 0.10%" in caplog.text
    assert choose_error_rate(np.nan, 0.03, 0.05, True) == 0.03
    assert choose_error_rate(np.nan, np.nan, 0.05, True) == 0.05
