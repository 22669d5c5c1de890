"""Which groups clusters are found from, and where the other fragments go; on one rank."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, read_fasta
from readclade.clustering.genomes import finding
from readclade.clustering.genomes.composition import count_words, make_models
from readclade.clustering.genomes.finding import Discovery, choose_cores, discover, find_places, place_fragments
from readclade.clustering.groups.calibration import fit_calibration
from readclade.clustering.groups.linking import link_fragments
from readclade.clustering.groups.pooling import Groups, pool_groups
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.communicator import RankError
from readclade.clustering.ranks.exchange import Layout
from readclade.embedders.kmer import KmerEmbedder

NAMES = ("Staphylococcus_aureus_N315", "Mycobacterium_leprae_TN")


def encode(reads: list[str]):
    return encode_sequences([pa.table({"sequence": reads, "mate": [""] * len(reads)})])


def make_layout(count: int) -> Layout:
    return Layout(MPI.COMM_SELF, [0, count])


@pytest.fixture(scope="module")
def genomes(repository) -> list[str]:
    folder = repository / "demo/genomes"
    return [b"".join(read_fasta(folder / f"{name}.fa.gz", "").values()).decode() for name in NAMES]


# Cores


def make_groups(fragments: list[int], bases: list[int]) -> Groups:
    count = len(fragments)
    counts = np.array(fragments), np.array(bases), np.ones(count)
    return Groups(10 * np.arange(count), *counts, vectors=None)  # choosing needs none


def test_choose_cores_takes_groups_of_enough_fragments_or_bases():
    groups = make_groups([0, 1, 7, 8, 400], [0, 10_000, 9999, 2400, 80_000])
    assert choose_cores(MPI.COMM_SELF, groups, is_short=True).tolist() == [30, 40]
    assert choose_cores(MPI.COMM_SELF, groups, is_short=False).tolist() == [10, 40]
    assert choose_cores(MPI.COMM_SELF, make_groups([], []), is_short=True).tolist() == []


@pytest.mark.parametrize(
    ("bases", "least"),
    [
        ([10_000, 10_000, 9999], 10_000),  # two thirds of all
        ([10_000, 10_000, 9999, 2], 5000),
        ([9000, 5000, 4999], 5000),
        ([4000, 4000, 2500, 2000], 2500),
        ([20_000, 2500, *[2400] * 20], 2500),  # no smaller ones, whatever they hold
    ],
)
def test_choose_cores_takes_smaller_groups_of_long_reads_where_large_ones_hold_too_little(bases, least):
    groups = make_groups([1] * 64 * len(bases), bases * 64)
    expected = groups.ids[groups.bases >= least].tolist()
    assert choose_cores(MPI.COMM_SELF, groups, is_short=False).tolist() == expected
    assert choose_cores(MPI.COMM_SELF, groups, is_short=True).tolist() == []


def test_choose_cores_keeps_to_large_groups_where_too_few_smaller_ones_join():
    for count, least in ((60, 12_000), (61, 6000)):  # 63 and 64 groups, which hold three quarters of the bases
        groups = make_groups([1] * (43 + count), [12_000] * 3 + [6000] * count + [3000] * 40)
        expected = groups.ids[groups.bases >= least].tolist()
        assert choose_cores(MPI.COMM_SELF, groups, is_short=False).tolist() == expected


def test_choose_cores_takes_a_bounded_number_which_is_always_the_same(monkeypatch):
    monkeypatch.setattr(finding, "_MOST_CORES", 500)
    groups = make_groups([8] * 4000, [2400] * 4000)
    cores = choose_cores(MPI.COMM_SELF, groups, is_short=True)
    assert 420 < len(cores) < 580
    assert (np.diff(cores) > 0).all()
    assert abs((cores < 20_000).mean() - 0.5) < 0.08
    assert np.array_equal(cores, choose_cores(MPI.COMM_SELF, groups, is_short=True))


def test_find_places():
    ids = np.array([2, 5, 9])
    assert find_places(ids, np.array([9, 1, 2, 10, 5, 5])).tolist() == [2, -1, 0, -1, 1, 1]
    assert find_places(ids[:0], np.array([3, 4])).tolist() == [-1, -1]
    assert find_places(ids, np.zeros(0, np.int64)).tolist() == []


# Placing


@pytest.fixture
def placed(genomes):
    """Reads of two genomes in turn; what was found is a core of each genome, made of fragments 0 and 1."""
    reads = [genomes[0][:20_000], genomes[1][:20_000]]
    for number in range(38):
        begin = 30_000 + 400 * number
        reads.append(genomes[number % 2][begin : begin + 400])
    sequences = encode(reads)
    own = np.where(np.arange(40) < 2, np.arange(40), -1)
    models = make_models(count_words(sequences, own, 2))
    return sequences, Discovery(np.array([0, 1]), np.array([1, 0]), models[::-1], np.zeros(0), np.nan, np.zeros(2))


def test_place_fragments_gives_cores_their_own_cluster_and_others_the_likeliest(placed):
    sequences, found = placed
    labels = place_fragments(make_layout(40), np.arange(40), sequences, np.ones(40, bool), found)
    assert labels.dtype == np.int64
    assert labels[:2].tolist() == [1, 0]
    assert ((labels == 1 - np.arange(40) % 2) | (labels == -1)).mean() >= 0.95


def test_place_fragments_keeps_groups_whole(placed):
    sequences, found = placed
    # Fragments 2, 4, 6, ... are a group of the one genome, with a single fragment of the other among them.
    roots = np.where(np.arange(40) % 2 == 0, 2, np.arange(40))
    roots[0], roots[5] = 0, 2
    labels = place_fragments(make_layout(40), roots, sequences, np.ones(40, bool), found)
    assert set(labels[roots == 2]) == {1}
    assert labels[5] == 1


def test_place_fragments_leaves_out_what_is_unknown_or_not_clear(placed):
    sequences, found = placed
    known = np.arange(40) != 7
    labels = place_fragments(make_layout(40), np.arange(40), sequences, known, found)
    assert labels[7] == -1
    rest = (found.objectives, found.agreement, found.homology)
    twins = Discovery(found.ids, found.labels, found.models[[0, 0]], *rest)
    labels = place_fragments(make_layout(40), np.arange(40), sequences, known, twins)
    assert labels.tolist() == [1, 0] + [-1] * 38


def test_place_fragments_gives_no_cluster_to_what_is_a_remnant(placed):
    sequences, found = placed
    arguments = (make_layout(40), np.arange(40), sequences, np.ones(40, bool))
    whole = place_fragments(*arguments, found)
    labels = place_fragments(*arguments, replace(found, homology=found.homology[:1]))
    assert (whole == 1).sum() > 15
    assert labels.tolist() == np.where(whole == 1, -1, whole).tolist()


def test_place_fragments_puts_all_that_is_known_into_the_only_cluster(placed):
    sequences, found = placed
    rest = (found.objectives, found.agreement, found.homology)
    alone = Discovery(found.ids[:0], found.labels[:0], found.models[:1], *rest)
    labels = place_fragments(make_layout(40), np.arange(40), sequences, np.arange(40) % 3 > 0, alone)
    assert labels.tolist() == [0 if i % 3 else -1 for i in range(40)]


# The whole


@pytest.fixture(scope="module")
def job(genomes):
    """3000 read pairs of two genomes at 3x, linked, pooled and calibrated, and the genome of each."""
    rng = np.random.default_rng(2)
    pairs, origin = [], rng.integers(0, 2, 3000)
    for number in origin:
        begin = int(rng.integers(0, 150_000))
        one, other = (genomes[number][place : place + 150] for place in (begin, begin + 250))
        mates = (one, other.encode().translate(COMPLEMENT)[::-1].decode())
        pairs.append(mates[:: rng.choice([-1, 1])])
    columns = [pa.array(column) for column in zip(*pairs, strict=True)]
    sequences = encode_sequences([pa.table(dict(zip(("sequence", "mate"), columns, strict=True)))])
    layout = make_layout(3000)
    rates = np.full(3000, 0.01, np.float32)
    linked = link_fragments(layout, sequences, "illumina", rates)
    embeddings = KmerEmbedder(4).embed(*columns)[:, ::5].astype(np.float16).astype(np.float32)
    data = (embeddings, sequences.lengths, np.ones(3000, bool), linked.depths)
    groups = pool_groups(layout, linked.levels[-1], *data)
    nothing = np.zeros((0, embeddings.shape[1])), np.zeros(0)
    calibration = fit_calibration(groups.vectors.look_up(groups.ids), groups.bases, *nothing, 8)
    return (layout, linked, linked.levels[-1], groups, calibration, sequences), origin


def find(job, k: int | None) -> Discovery | None:
    return discover(*job[0], True, k, 0, 2)


def test_discover_finds_the_genomes_and_their_models(job, lines):
    (layout, linked, _, groups, _, sequences), origin = job
    found = find(job, None)
    assert lines[0] == f"{len(found.ids)} groups to find clusters from"
    assert np.array_equal(found.ids, choose_cores(MPI.COMM_SELF, groups, is_short=True))
    own = find_places(found.ids, linked.levels[-1])
    words = count_words(sequences, np.where(own >= 0, found.labels[own], -1), 2)
    assert found.models == pytest.approx(make_models(words), rel=1e-12)
    labels = place_fragments(layout, linked.levels[-1], sequences, np.ones(3000, bool), found)
    assert (labels >= 0).mean() > 0.99
    right = labels == origin
    assert max(right.mean(), 1 - right.mean()) > 0.98


@pytest.mark.parametrize("is_short", [True, False])
def test_discover_says_whether_the_links_are_of_short_reads(job, monkeypatch, is_short):
    seen = []

    def find_clusters(cores, *options):
        seen.append(cores.is_short)
        return np.zeros(len(cores), np.int64), None

    monkeypatch.setattr(finding, "find_clusters", find_clusters)
    layout, linked, *rest = job[0]
    discover(layout, replace(linked, is_short=is_short), *rest, True, None, 0, 2)
    assert seen == [is_short]


def test_discover_sets_remnants_apart_unless_the_number_is_given(job, lines, monkeypatch):
    monkeypatch.setattr(finding, "set_remnants_apart", lambda cores, labels: (labels, int(labels.max())))
    layout, linked, *rest = job[0]
    found = discover(layout, linked, *rest, True, None, 0, 2)
    assert found.clusters == len(found.models) - 1 == found.labels.max()
    assert "1 of them too short and poor in genes for a genome: they stay unassigned" in lines
    found = discover(layout, linked, *rest, True, 3, 0, 2)
    assert found.clusters == len(found.models) == 3


def test_discover_obeys_a_number_and_gives_up_where_there_are_too_few_groups(job):
    count = len(find(job, None).ids)
    assert len(find(job, 3).models) == 3
    most, none = find(job, count // 2), find(job, count // 2 + 1)
    assert set(most.labels) == set(range(count // 2))
    assert none is None


def test_discover_of_groups_that_are_too_much_alike_is_refused(job):
    (layout, linked, _, groups, calibration, sequences), _ = job
    embeddings = np.zeros_like(groups.vectors.embeddings)
    embeddings[np.isin(linked.levels[-1], groups.ids[::2])] = 1  # two different ones
    same = replace(groups, vectors=replace(groups.vectors, embeddings=embeddings))
    with pytest.raises(RankError, match=r"k = 5 is larger than the number of different fragments, 2\n"):
        discover(layout, linked, linked.levels[-1], same, calibration, sequences, True, 5, 0, 2)
