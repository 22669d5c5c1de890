"""Links of real sequences on one rank: what overlaps, what does not, and what only looks as if it did."""

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, add_errors, read_fasta
from readclade.clustering.groups.linking import LONG_BOUNDS, SHORT_BOUNDS, find_median_error, link_fragments
from readclade.clustering.links.buckets import Buckets, _emit
from readclade.clustering.links.duplicates import find_representatives
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.exchange import Layout
from readclade.errors import ConfigError


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


def encode(fragments):
    pairs = [(fragment, "") if isinstance(fragment, str) else fragment for fragment in fragments]
    sequences, mates = zip(*pairs, strict=True)
    layout = Layout(MPI.COMM_SELF, [0, len(pairs)])
    return layout, encode_sequences([pa.table({"sequence": sequences, "mate": mates})])


def link(fragments, platform="illumina", error_rate=0.01, **options):
    layout, sequences = encode(fragments)
    return link_fragments(layout, sequences, platform, np.full(len(fragments), error_rate, np.float32), **options)


def get_pairs(result) -> list[tuple[int, int]]:
    return list(zip(result.links.first.tolist(), result.links.second.tolist(), strict=True))


# Short reads


def test_reads_that_overlap_are_linked_in_either_orientation(phage):
    one, other = phage[5000:5150], phage[5050:5200]
    results = [link(pair) for pair in ([one, other], [one, turn(other)], [turn(one), other], [turn(one), turn(other)])]
    for result in results:
        assert get_pairs(result) == [(0, 1)]
        assert result.links.consistency.tolist() == [1.0]
        assert result.links.overlap.tolist() == [0]
        assert [level.tolist() for level in result.levels] == [[0, 0]] * 3
    assert len({int(result.links.strength[0]) for result in results}) == 1


def test_mates_add_up_and_may_change_places(phage):
    def make(begin):
        return phage[begin : begin + 150], turn(phage[begin + 250 : begin + 400])

    single, whole = link([phage[100:250], phage[140:290]]), link([make(100), make(140)])
    swapped = link([make(100), make(140)[::-1]])
    assert whole.links.strength[0] > 1.5 * single.links.strength[0]
    assert swapped.links.strength[0] == whole.links.strength[0]
    # The read of one overlaps the mate of the other.
    assert get_pairs(link([make(100), (phage[360:510], turn(phage[610:760]))])) == [(0, 1)]


def test_reads_that_do_not_overlap_are_not_linked(phage):
    result = link([phage[1000:1150], phage[1150:1300], phage[30_000:30_150]])
    assert len(result.links) == len(result.repelled) == 0
    assert [level.tolist() for level in result.levels] == [[0, 1, 2]] * 3
    assert result.multiplicities.tolist() == [1, 1, 1]


def test_a_short_common_piece_is_no_overlap(phage):
    """Two reads that share 40 letters in their middles, but nothing else, overlap nowhere."""
    one = phage[1000:1150]
    other = phage[9000:9055] + one[55:95] + phage[9095:9150]
    assert len(link([one, other]).links) == 0


def test_unknown_letters_and_short_reads(phage):
    one, other = phage[5000:5150], phage[5050:5200]
    broken = other[:20] + "N" + other[21:]
    result = link([one, broken, "N" * 150, one[:30], "", ("ACGT", "NNN")])
    assert get_pairs(result) == [(0, 1)]
    assert result.links.consistency[0] > 0.9
    assert result.levels[2].tolist() == [0, 0, 2, 3, 4, 5]
    assert np.isnan(result.multiplicities).tolist() == [False, False, True, True, True, True]


def test_identical_reads_are_copies_of_the_first(phage):
    result = link([phage[5000:5150]] * 50)
    assert len(result.links) == 0
    assert result.representatives.tolist() == [0] * 50
    assert [level.tolist() for level in result.levels] == [[0] * 50] * 3
    assert result.multiplicities.tolist() == [1] * 50


def test_identical_reads_whose_ends_are_unknown_are_linked(phage):
    result = link(["N" + phage[5001:5150]] * 500)
    assert result.representatives.tolist() == list(range(500))
    assert result.multiplicities.tolist() == [500] * 500
    for level, bound in zip(result.levels, SHORT_BOUNDS, strict=True):
        assert bound / 2 < np.bincount(level).max() <= bound


def test_one_genome_at_great_depth_is_linked(phage):
    rng = np.random.default_rng(0)
    begins, lengths = rng.integers(0, 700, 5000), rng.integers(100, 150, 5000)
    result = link([phage[a : a + b] for a, b in zip(begins, lengths, strict=True)])
    assert np.median(result.multiplicities) > 300
    groups, sizes = np.unique(result.levels[2], return_counts=True)
    assert sizes[np.argsort(-sizes)][:15].sum() > 4000
    assert len(groups) < 100


def test_a_repeat_links_nothing_where_it_is_common(bacterium, phage):
    """A piece in the middle of some reads of other places: few of them are linked, as many as in a repeat are not."""
    piece = phage[700:800]

    def insert(count: int) -> list[str]:
        reads = [bacterium[begin : begin + 150] for begin in range(0, 160 * 1850, 160)]
        for number in range(count):
            reads[number * 7] = reads[number * 7][:25] + piece + reads[number * 7][125:]
        return reads

    def count_links(result, count: int) -> int:
        ends = np.stack([result.links.first, result.links.second])
        return int(((ends % 7 == 0) & (ends < 7 * count)).all(axis=0).sum())

    few, many = link(insert(12)), link(insert(22))
    assert count_links(few, 12) >= 40
    assert count_links(many, 22) == 0
    assert (many.multiplicities == 22).sum() >= 20


def test_groups_are_bounded(phage):
    result = link([phage[begin : begin + 150] for begin in range(0, 24_000, 12)])
    for level, bound in zip(result.levels, SHORT_BOUNDS, strict=True):
        sizes = np.bincount(level)
        assert bound / 2 < sizes.max() <= bound
        assert (level <= np.arange(2000)).all()
    inner, outer = result.levels[0], result.levels[2]
    assert np.array_equal(outer, outer[inner])


@pytest.mark.parametrize("rows", [1, 1000])
def test_the_number_of_rows_in_flight_changes_nothing(rows, phage):
    reads = [phage[begin : begin + 150] for begin in range(0, 6000, 10)]
    expected, result = link(reads), link(reads, rows_in_flight=rows)
    for one, other in zip(vars(expected.links).values(), vars(result.links).values(), strict=True):
        assert one.tobytes() == other.tobytes()
    assert np.array_equal(expected.levels, result.levels)


def test_what_is_done_is_reported(phage):
    told = []
    reads = [phage[5000:5150], phage[5050:5200], phage[5000:5150]]
    link(reads, report=lambda line, done: told.append((line, done)), rows_in_flight=1)
    lines = [line for line, _ in told if not line.endswith("of the fragments linked")]
    shares = [done for _, done in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(lines) < len(told)  # weighing in several goes tells in between
    assert "1 fragments are copies" in lines[0]
    assert lines[1].startswith("1 links; ")
    assert "1 of at most 25, 1 of at most 100, 1 of at most 400 fragments" in lines[2]


def test_more_fragments_than_links_can_name_are_refused():
    nothing = encode_sequences([])
    with pytest.raises(ConfigError, match=r"4,294,967,297 fragments .* \(2\^32\)"):
        link_fragments(Layout(MPI.COMM_SELF, [0, 2**32 + 1]), nothing, "illumina", np.zeros(0, np.float32))


@pytest.mark.parametrize("platform", ["illumina", "ont"])
def test_no_fragments(platform):
    result = link_fragments(Layout(MPI.COMM_SELF, [0, 0]), encode_sequences([]), platform, np.zeros(0, np.float32))
    assert len(result.links) == len(result.repelled) == len(result.multiplicities) == 0
    assert [len(level) for level in result.levels] == [0, 0, 0]


# Long reads


@pytest.fixture(scope="module")
def long_reads(phage) -> list[str]:
    """Reads of 4 kb with 5 % errors, one each 1 kb, every other one turned."""
    rng = np.random.default_rng(3)
    reads = [add_errors(phage[begin : begin + 4000].encode(), 0.05, rng).decode() for begin in range(0, 40_000, 1000)]
    return [turn(read) if number % 2 else read for number, read in enumerate(reads)]


def test_long_reads_are_linked_where_they_overlap(long_reads):
    result = link(long_reads, "ont", 0.05)
    pairs = get_pairs(result)
    assert {b - a for a, b in pairs} <= {1, 2, 3}
    assert len(set(pairs) & {(a, a + 1) for a in range(39)}) >= 37
    expected = 4000 - 1000 * (result.links.second - result.links.first)
    assert np.abs(result.links.overlap - expected).max() < 250
    assert 0.5 <= result.links.consistency.min() <= result.links.consistency.max() <= 1
    for level, bound in zip(result.levels, LONG_BOUNDS, strict=True):
        reads = np.bincount(level)
        assert (reads[reads > 0] - 1).max() * 1000 + 4000 <= 1.1 * bound


def test_relatives_that_seem_to_overlap_are_repelled(bacterium):
    """Two genomes of 88 % identity: a read of one shares far fewer k-mers with the other than an overlap would."""
    rng = np.random.default_rng(4)
    relative = add_errors(bacterium[:20_000].encode(), 0.07, rng)
    reads = [add_errors(bacterium[:20_000].encode(), 0.005, rng).decode(), add_errors(relative, 0.005, rng).decode()]
    result = link(reads, "ont", 0.005)
    assert len(result.links) == 0
    assert result.repelled.tolist() == [[0, 1]]


def test_identical_long_reads_are_copies(long_reads):
    result = link([long_reads[0], turn(long_reads[0]), long_reads[1]], "ont", 0.05)
    assert result.representatives.tolist() == [0, 0, 2]
    assert get_pairs(result) == [(0, 2)]
    assert result.levels[0].tolist() == [0, 0, 0]


# Copies


def test_copies_have_the_same_ends_and_lengths(phage):
    one, mate = phage[100:250], turn(phage[300:450])
    fragments = [
        (one, mate),
        (mate, one),
        (one[:100] + "A" * 50, mate),  # copies may differ behind the first letters
        (one[:149], mate),
        (one, mate[:24] + "N" + mate[25:]),
        (one, mate[:23] + "N" + mate[24:]),
        (one, mate[1:] + "A"),
        (one, ""),
        (turn(one), ""),
        (one[:-1] + turn(one)[0], ""),
        (one, mate[:23]),
        (one, mate[:23]),
    ]
    expected = [0, 0, 0, 3, 0, 5, 6, 7, 7, 9, 10, 11]
    assert find_representatives(*encode(fragments)).tolist() == expected


# Buckets


def list_rows(hashes, places, neighbours, bound) -> list[tuple[int, int]]:
    rows = []
    for hashed in sorted(set(hashes)):
        bucket = sorted(place for other, place in zip(hashes, places, strict=True) if other == hashed)
        for at, place in enumerate(bucket if len(bucket) <= bound else []):
            if sum(other >> 32 == place >> 32 for other in bucket[:at]) >= 8:
                continue
            later = [other for other in bucket[at + 1 :] if other >> 32 > place >> 32]
            met = sorted({other >> 32 for other in later})[:neighbours]
            rows += [(place, other) for other in later if other >> 32 in met][: 4 * neighbours]
    return rows


def test_entries_of_a_share_of_the_fragments_meet_others():
    places = np.arange(2000, dtype=np.uint64) << np.uint64(32)
    buckets = Buckets(np.zeros(2000, np.uint64), places)
    every, tenth, hundredth = (buckets.count_rows(2, share=share) > 0 for share in (1, 0.1, 0.01))
    assert every.sum() == 1999
    assert 150 < tenth.sum() < 250
    assert 5 < hundredth.sum() < 40
    assert not (hundredth & ~tenth).any()


@pytest.mark.parametrize("seed", range(6))
def test_entries_meet_the_next_fragments_of_their_bucket(seed):
    rng = np.random.default_rng(seed)
    # Hashes that differ in the lowest bits alone are not told apart by the upper bits that sorting begins with.
    kinds = rng.integers(0, 2**63, 6, np.uint64)
    hashes = np.append(rng.choice(np.concatenate([kinds, kinds + np.uint64(1)]), 400), np.uint64(2**64 - 1))
    fragments = 3 if seed > 3 else 30
    places = (rng.integers(0, fragments, 401, np.uint64) << np.uint64(32)) | rng.permutation(401).astype(np.uint64)
    order = np.argsort(places) if seed % 2 else np.arange(401)
    hashes, places = hashes[order], places[order]
    buckets = Buckets(hashes, places)
    numbers, sizes = np.unique(hashes, return_counts=True)
    assert buckets.sizes.tolist() == sizes.tolist()
    assert buckets.get_multiplicities().tolist() == sizes[np.searchsorted(numbers, hashes)].tolist()
    assert np.array_equal(buckets.places[buckets.positions], places)
    for neighbours, bound in ((3, 1000), (1, 1000), (8, 35)):
        expected = list_rows(hashes.tolist(), places.tolist(), neighbours, bound)
        counts = buckets.count_rows(neighbours, bound)
        assert len(expected) == counts.sum()
        mine, theirs = np.zeros((2, len(expected)), np.uint64)
        assert _emit(0, 401, buckets.places, buckets.positions, counts, mine, theirs, 0) == len(expected)
        assert sorted(zip(mine.tolist(), theirs.tolist(), strict=True)) == sorted(expected)


# Error rates


def test_median_error_rate():
    rates = np.array([0.01, np.nan, 0.03, 0.02, np.nan], np.float32)
    assert find_median_error(MPI.COMM_SELF, rates) == 0.02
    assert np.isnan(find_median_error(MPI.COMM_SELF, rates[[1, 4]]))
    assert np.isnan(find_median_error(MPI.COMM_SELF, rates[:0]))
    assert find_median_error(MPI.COMM_SELF, np.array([2.0], np.float32)) == 1.0
