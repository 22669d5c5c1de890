"""The number of clusters and their groups, found on stretches of real genomes that stand for groups of linked reads."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, read_fasta
from readclade.clustering.genomes.composition import count_words
from readclade.clustering.genomes.cores import Cores, make_link_matrix
from readclade.clustering.genomes.discovery import (
    _drop_small,
    _join_parts,
    _keep_disjoint,
    _spread,
    find_clusters,
    set_remnants_apart,
)
from readclade.clustering.genomes.markers import find_markers
from readclade.clustering.genomes.separation import (
    _measure_joined,
    get_least_distances,
    measure_distances,
    measure_joining,
)
from readclade.clustering.groups.calibration import Calibration, fit_calibration
from readclade.clustering.links.sequences import encode_sequences
from readclade.embedders.kmer import KmerEmbedder
from readclade.errors import ConfigError

GENOMES = Path(__file__).parents[4] / "demo/genomes"
NAMES = ["Staphylococcus_aureus_N315", "Vibrio_cholerae_N16961", "Mycobacterium_leprae_TN"]
LENGTH = 5000
PARTS = 5
D = 24


def make_cores(names: list[str], count: int, seed: int = 0) -> tuple[Cores, Calibration, np.ndarray]:
    """Return `count` stretches of 5 kb of each genome as groups, what calibrates them, and the genome of each.

    Neighbours overlap a little, if at all, and are linked where they do, once for each 100 bases.
    """
    rng = np.random.default_rng(seed)
    reads, places = [], []
    for number, name in enumerate(names):
        genome = b"".join(read_fasta(GENOMES / f"{name}.fa.gz", "").values())
        begins = (len(genome) - LENGTH) * np.arange(count) // count + rng.integers(0, 500, count)
        for begin in begins.tolist():
            stretch = genome[begin : begin + LENGTH]
            reads.append(stretch.decode())
            places.append((number, begin))
    order = rng.permutation(len(reads))
    reads, places = [reads[i] for i in order], np.array(places)[order]
    step = LENGTH // PARTS
    parts = [read[begin : begin + step] for read in reads for begin in range(0, LENGTH, step)]
    embedded = KmerEmbedder(4).embed(pa.array(parts), None).astype(np.float64)
    _, axes = np.linalg.eigh(np.cov(embedded.T))
    embedded = (embedded @ axes[:, -D:]).reshape(len(reads), PARTS, D)
    vectors = embedded.mean(axis=1)
    deviations = (embedded - vectors[:, None]).reshape(-1, D)
    mates = [read.encode().translate(COMPLEMENT)[::-1].decode() for read in reads]  # both strands are read
    sequences = encode_sequences([pa.table({"sequence": reads, "mate": mates})])
    own = np.arange(len(reads))
    words = count_words(sequences, own, len(reads)).astype(np.float32)
    markers = find_markers(MPI.COMM_SELF, sequences, own, len(reads))
    first, second = np.array(list(combinations(range(len(reads)), 2)), np.int64).T
    overlaps = LENGTH - np.abs(places[first, 1] - places[second, 1])
    linked = (places[first, 0] == places[second, 0]) & (overlaps >= 100)
    links = make_link_matrix(len(reads), first[linked], second[linked], overlaps[linked] // 100)
    weights = np.full(len(reads), LENGTH)
    calibration = fit_calibration(vectors, weights, deviations, np.full(len(deviations), step), 16)
    return Cores(vectors, weights, np.full(len(reads), 30), words, links, markers), calibration, places[:, 0]


@pytest.fixture(scope="module")
def three():
    return make_cores(NAMES, 58)


@pytest.fixture(scope="module")
def unlinked(three):
    cores, _, origin = three
    return replace(cores, links=make_link_matrix(len(cores), *np.zeros((3, 0), np.int64))), origin


@pytest.fixture(scope="module")
def one():
    return make_cores(NAMES[:1], 58)


def find(made, k: int | None = None, **options) -> np.ndarray:
    cores, calibration, _ = made
    arguments = {"fragments": int(cores.fragments.sum()), "seed": 0, "seedings": 4} | options
    return find_clusters(cores, calibration, k=k, **arguments)[0]


def count_errors(labels: np.ndarray, origin: np.ndarray) -> int:
    """Return how many groups are not of their cluster's main genome."""
    table = np.zeros((labels.max() + 1, origin.max() + 1), int)
    np.add.at(table, (labels, origin), 1)
    return len(labels) - int(table.max(axis=1).sum())


def take(made, chosen: np.ndarray):
    cores, calibration, origin = made
    links = cores.links[chosen][:, chosen]
    arrays = (cores.vectors, cores.weights, cores.fragments, cores.words)
    return Cores(*(array[chosen] for array in arrays), links, cores.markers[chosen]), calibration, origin[chosen]


# The number that is found


@pytest.mark.parametrize("seed", range(2))
def test_one_genome_is_one_cluster(seed, one):
    assert not find(one, seed=seed).any()


@pytest.mark.parametrize("seed", range(2))
def test_three_genomes_are_three_clusters(seed, three):
    labels = find(three, seed=seed)
    assert sorted(set(labels)) == [0, 1, 2]
    assert labels.dtype == np.int64
    assert count_errors(labels, three[2]) <= 2


def test_a_genome_of_few_groups_is_found_beside_large_ones(three):
    _, _, origin = three
    labels = find(
        take(three, np.sort(np.concatenate([np.flatnonzero(origin == i)[: [58, 58, 10][i]] for i in range(3)])))
    )
    assert labels.max() == 2


def test_what_is_found_does_not_depend_on_strands_or_links_within_groups(three):
    cores, calibration, origin = three
    bare = replace(cores, links=make_link_matrix(len(cores), *np.zeros((3, 0), np.int64)))
    labels = find((bare, calibration, origin))
    assert labels.max() == 2
    assert count_errors(labels, origin) <= 4


def test_find_clusters_repeats_itself(three, lines):
    one, other = find(three), find(three)
    assert np.array_equal(one, other)
    half = len(lines) // 2
    assert lines[:half] == lines[half:]
    assert lines[-1] == "3 clusters that lie apart"


# A number that is given


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
def test_a_number_that_is_given_is_obeyed(k, three):
    labels = find(three, k)
    assert sorted(set(labels)) == list(range(k))
    if k >= 3:
        assert count_errors(labels, three[2]) <= 2


def test_more_clusters_than_fragments_in_each_could_fill_are_obeyed(one):
    assert find(one, 30).max() == 29


@pytest.mark.parametrize("different", [1, 3])
def test_more_clusters_than_different_groups_are_refused(different, three):
    cores, calibration, origin = take(three, np.arange(12))
    twins = replace(cores, vectors=cores.vectors[np.arange(12) % different])
    with pytest.raises(ConfigError, match=rf"k = 5 .* different fragments, {different}\n"):
        find((twins, calibration, origin), 5)


# Few groups


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_few_groups_are_one_cluster(count, three):
    labels = find(take(three, np.arange(count)))
    assert labels.tolist() == [0] * count


def test_groups_that_are_all_the_same_are_one_cluster(three):
    assert not find(take(three, np.zeros(100, int))).any()


def test_groups_without_words_are_one_cluster(three):
    cores, calibration, origin = three
    assert not find((replace(cores, words=np.zeros_like(cores.words)), calibration, origin)).any()


# The steps


def test_make_link_matrix_is_symmetric_and_cut_off():
    matrix = make_link_matrix(4, np.array([0, 1, 0]), np.array([1, 3, 2]), np.array([3, 9, 1])).toarray()
    assert matrix.tolist() == [[0, 3, 1, 0], [3, 0, 0, 5], [1, 0, 0, 0], [0, 5, 0, 0]]
    assert make_link_matrix(0, *np.zeros((3, 0), np.int64)).shape == (0, 0)


def test_measure_distances_tell_genomes_from_halves_of_one(three, one):
    distances = measure_distances(three[0], three[2])
    assert np.array_equal(distances, distances.T)
    assert np.isinf(np.diag(distances)).all()
    assert (distances > get_least_distances(three[0], three[2]))[np.triu_indices(3, 1)].all()
    cores, calibration, _ = one
    leading = calibration.to_lattice(cores.vectors)[:, 0]
    halves = (leading > np.median(leading)).astype(np.int64)
    assert measure_distances(cores, halves)[0, 1] < get_least_distances(cores, halves)[0, 1]


def test_get_least_distances_grow_with_the_shorter_cluster_between_bounds(three):
    cores, _, origin = three
    stretches = np.array([1000, 3000, 30_000])
    least = get_least_distances(replace(cores, weights=stretches[origin]), origin)
    assert least[1, 2] == least[2, 1] == pytest.approx(4.5)
    assert least[0, 1] == least[0, 2] == pytest.approx(4.3)
    assert least[2, 2] == pytest.approx(4.5 + 0.6 * np.log(10))
    assert get_least_distances(replace(cores, weights=np.full(len(cores), 10**6)), origin).max() == 6.1


def test_a_cluster_of_odd_groups_does_not_come_near_to_compact_ones(three):
    """The mean of two spreads would let a wide cluster shrink its distance to every narrow one."""
    cores, _, origin = three
    mixed = origin.copy()
    mixed[np.flatnonzero(origin == 0)[:12]] = 1
    mixed[np.flatnonzero(origin == 2)[:12]] = 1
    distances = measure_distances(cores, mixed)
    assert distances[0, 2] > get_least_distances(cores, mixed)[0, 2]
    assert distances[0, 1] < measure_distances(cores, origin)[0, 1]


def test_links_bring_clusters_nearer(three):
    cores, _, origin = three
    bare = replace(cores, links=make_link_matrix(len(cores), *np.zeros((3, 0), np.int64)))
    some, other = np.flatnonzero(origin == 0), np.flatnonzero(origin == 1)
    pairs = np.concatenate([np.column_stack([some, np.roll(some, 1)]), np.column_stack([some, other])])
    joined = replace(cores, links=make_link_matrix(len(cores), *np.sort(pairs, axis=1).T, np.full(len(pairs), 5)))
    before, after = (measure_distances(each, origin) for each in (bare, joined))
    assert after[0, 1] < 0.8 * before[0, 1]
    assert after[0, 2] == before[0, 2]
    assert after[1, 2] == before[1, 2]


def test_measure_joining():
    mixed = np.array([[100.0, 100], [100, 100]])
    assert measure_joining(mixed)[0, 1] == 1
    assert measure_joining(np.diag([100.0, 100]))[0, 1] == 0
    three = np.array([[100.0, 50, 7], [50, 20, 9], [7, 9, 0]])
    joining = measure_joining(three)
    assert joining[0, 1] == joining[1, 0] == pytest.approx(50 * (150 + 70) / (150 * 70))  # the third does not count


def test_measure_joined_takes_off_chance():
    def measure(of_a: float, between: float, of_b: float, size: int = 10) -> float:
        return _measure_joined(np.array([[of_a, between], [between, of_b]]), np.array([size, size]))[0, 1]

    assert measure(100, 9, 100) == 0  # too few to count
    assert measure(100, 100, 100) == pytest.approx(0.8)
    assert measure(1000, 20, 1000) == 0  # what chance gives
    assert measure(0, 50, 0) == 1
    assert measure(100, 100, 100, size=200) == 0  # hardly linked at all


def test_drop_small_gives_groups_of_small_clusters_to_the_others(three):
    cores, _, origin = three
    labels = origin.copy()
    labels[np.flatnonzero(origin == 1)[:3]] = 3
    total = int(cores.fragments.sum())
    assert np.array_equal(_drop_small(cores, labels, total, 1), origin)
    assert np.array_equal(_drop_small(cores, labels, total, 4), labels)
    # Each genome's groups hold 1,740 fragments, which are few of a million.
    assert not _drop_small(cores, origin, 10**6, 1).any() or _drop_small(cores, origin, 10**6, 1).max() == 2


def test_groups_of_one_place_are_no_cluster(three):
    cores, _, origin = three
    labels = origin.copy()
    chosen = np.flatnonzero(origin == 1)[:8]
    labels[chosen] = 3
    near = np.array(list(combinations(chosen.tolist(), 2)))
    links = make_link_matrix(len(cores), *near.T, np.full(len(near), 5))
    total = int(cores.fragments.sum())
    assert np.array_equal(_drop_small(replace(cores, links=links), labels, total, 1), origin)
    bare = replace(cores, links=make_link_matrix(len(cores), *np.zeros((3, 0), np.int64)))
    assert np.array_equal(_drop_small(bare, labels, total, 1), labels)


def test_one_genome_of_which_a_place_was_read_often_is_one_cluster(one):
    """Copies of a stretch would explain one another best, were they not left out."""
    cores, calibration, _ = one
    chosen = np.concatenate([np.arange(len(cores)), np.full(6, 3), np.full(5, 30)])
    made = take(one, chosen)
    copies = [np.flatnonzero(chosen == place) for place in (3, 30)]
    near = np.array([pair for same in copies for pair in combinations(same.tolist(), 2)])
    links = made[0].links + make_link_matrix(len(chosen), *near.T, np.full(len(near), 5))
    assert not find((replace(made[0], links=links), calibration, made[2])).any()


def test_clusters_of_unlike_depth_lie_farther_apart(three):
    cores, _, origin = three
    before = measure_distances(cores, origin)
    for factor, is_farther in ((1.2, False), (8, True)):
        weights = np.where(origin == 0, cores.weights, cores.weights / factor)
        after = measure_distances(replace(cores, weights=weights), origin)
        assert (after[1, 2], after[0, 1] > before[0, 1] + 0.1) == (pytest.approx(before[1, 2]), is_farther)


def test_spread_moves_a_foreign_stretch_to_what_it_is_linked_to(three):
    cores, _, origin = three
    foreign = int(np.flatnonzero(origin == 2)[0])
    home = np.flatnonzero(origin == 0)
    near = list(combinations(home[:12].tolist(), 2)) + [(foreign, other) for other in home[:12].tolist()]
    links = make_link_matrix(len(cores), *np.sort(np.array(near), axis=1).T, np.full(len(near), 5))
    bare = replace(cores, links=make_link_matrix(len(cores), *np.zeros((3, 0), np.int64)))
    before, after = (_spread(each, origin) for each in (bare, replace(cores, links=links)))
    assert before[foreign] == 2
    assert np.flatnonzero(before != after).tolist() == [foreign]
    assert after[foreign] == 0
    assert (before != origin).sum() <= 2  # without links, composition alone may move one or two
    assert np.array_equal(_spread(cores, np.zeros(len(cores), np.int64)), np.zeros(len(cores)))


# Parts of one genome


def test_a_part_without_markers_joins_its_genome_and_a_genome_without_them_stays(unlinked):
    cores, origin = unlinked
    half = (origin == 0) & (np.arange(len(cores)) % 2 == 0)
    labels = np.where(half, 3, origin)
    assert np.array_equal(_join_parts(cores, labels), labels)  # both have some, together more than a genome
    bare = replace(cores, markers=cores.markers & ~(half | (origin == 1))[:, None])
    joined = _join_parts(bare, labels)
    assert joined.max() == 2
    assert count_errors(joined, origin) <= 2


def test_parts_that_reads_join_are_one(unlinked):
    cores, origin = unlinked
    half = np.flatnonzero(origin == 0)[::2]
    labels = origin.copy()
    labels[half] = 3
    assert np.array_equal(_join_parts(cores, labels), labels)
    rest = np.flatnonzero(labels == 0)[:6]
    links = make_link_matrix(len(cores), half[:6], rest, np.full(6, 3))
    joined = _join_parts(replace(cores, links=links), labels)
    assert joined.max() == 2
    assert count_errors(joined, origin) <= 2


def test_halves_join_where_together_they_hold_no_more_markers_than_a_genome(unlinked):
    cores, origin = unlinked
    half = (origin == 0) & (np.arange(len(cores)) % 2 == 0)
    surplus = np.flatnonzero(cores.markers[half].any(axis=0))[12:]
    markers = cores.markers.copy()
    markers[np.ix_(half, surplus)] = False
    joined = _join_parts(replace(cores, markers=markers), np.where(half, 3, origin))
    assert joined.max() == 2
    assert count_errors(joined, origin) <= 2


def test_islands_whose_chains_of_groups_go_on_in_one_another_are_one(unlinked):
    cores, origin = unlinked
    cores = replace(cores, is_short=True, markers=cores.markers.copy())
    half = np.flatnonzero(origin == 0)[::2]
    rest = np.flatnonzero(origin == 0)[1::2]
    labels = origin.copy()
    labels[half] = 3
    for part in (half, rest):  # both poor: neither halves nor one an island of the other
        cores.markers[np.ix_(part, np.flatnonzero(cores.markers[part].any(axis=0))[2:])] = False
    links = [np.stack([part[:-1], part[1:]]) for part in (half, rest)]

    def join(*crossing):
        first, second = np.sort(np.concatenate([*links, np.array([crossing]).T], axis=1), axis=0)
        linked = make_link_matrix(len(cores), first, second, np.full(len(first), 3))
        return _join_parts(replace(cores, links=linked), labels)

    assert np.array_equal(join(half[4], rest[4]), labels)
    joined = join(half[-1], rest[0])
    assert joined.max() == 2
    assert count_errors(joined, origin) <= 2


def test_no_cluster_joins_two_at_once():
    assert _keep_disjoint([(0, 1), (1, 2), (2, 3), (3, 4)]) == [(0, 1), (2, 3)]
    assert _keep_disjoint([]) == []


def test_a_number_that_is_given_is_kept_though_there_are_islands(three):
    cores, calibration, origin = three
    bare = replace(cores, markers=cores.markers & (np.arange(len(cores)) % 2 == 0)[:, None])
    assert find((bare, calibration, origin), 5).max() == 4


def test_remnants_come_after_the_clusters():
    labels = np.repeat([0, 1, 2], [20, 1, 20])
    markers = np.zeros((41, 160), bool)
    for group in np.flatnonzero(labels != 1):
        markers[group, 4 * (group % 40) :][:4] = True
    words = np.random.default_rng(0).poisson(5, (41, 4096)).astype(np.float32)
    links = make_link_matrix(41, *np.zeros((3, 0), np.int64))
    cores = Cores(np.zeros((41, 2)), np.full(41, 1000), np.ones(41, np.int64), words, links, markers)
    apart, count = set_remnants_apart(cores, labels)
    assert count == 2
    assert apart.tolist() == np.repeat([0, 2, 1], [20, 1, 20]).tolist()
    apart, count = set_remnants_apart(replace(cores, markers=np.ones_like(markers)), labels)
    assert (count, apart.tolist()) == (3, labels.tolist())
