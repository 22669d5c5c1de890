"""Markers are found in genomes that the list was not made from, and clusters without them are islands."""

import gzip
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from readclade.clustering.codons import make_codon_table
from readclade.clustering.markers import (
    AMINO_ACIDS,
    encode_word,
    find_island,
    find_markers,
    list_halves,
    load_markers,
    spell_word,
)
from readclade.clustering.sequences import encode_sequences
from readclade.simulation import COMPLEMENT

ACIDS = "ACDEFGHIKLMNPQRSTVWY"
TRIPLETS = ["".join(codon) for codon in product("ACGT", repeat=3)]
CODONS = {ACIDS[acid]: codon for codon, acid in zip(TRIPLETS, make_codon_table().tolist(), strict=True) if acid < 20}


def spell(word: str) -> str:
    return "".join(CODONS[letter] for letter in word)


def find(groups: list[list[str]]) -> list[list[int]]:
    """Return the markers of each group of reads."""
    reads = [read for group in groups for read in group]
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    sequences = encode_sequences([pa.table({"sequence": reads, "mate": [""] * len(reads)})])
    found = find_markers(MPI.COMM_SELF, sequences, owners, len(groups))
    return [np.flatnonzero(row).tolist() for row in found]


def test_words_are_known_once_and_in_order():
    words, owners = load_markers()
    assert (np.diff(words) > 0).all()
    assert np.array_equal(np.unique(owners), np.arange(owners.max() + 1))
    assert np.bincount(owners).min() >= 2
    assert all(len(set(spell_word(word))) >= 5 for word in words.tolist())


def test_words_are_spelled_as_they_were_encoded():
    word = "ACDEFGHIY"
    assert len(word) == AMINO_ACIDS
    assert spell_word(encode_word(word)) == word
    assert encode_word("CAAAAAAAA") > encode_word("AYYYYYYYY")


def test_a_word_is_found_in_every_frame_of_both_strands():
    words, owners = load_markers()
    gene = spell(spell_word(int(words[0])))
    reads = ["G" * shift + gene + "TAAC" for shift in range(3)]
    turned = [read.encode().translate(COMPLEMENT)[::-1].decode() for read in reads]
    assert find([[read] for read in reads + turned]) == [[owners[0]]] * 6


def test_a_word_is_not_found_across_a_stop_an_unknown_letter_or_two_reads():
    gene = spell(spell_word(int(load_markers()[0][0])))
    assert (
        find([[gene[:12] + "TAA" + gene[12:]], [gene[:12] + "N" + gene[13:]], [gene[:13], gene[13:]], []]) == [[]] * 4
    )


def test_reads_of_no_group_are_left_out():
    gene = spell(spell_word(int(load_markers()[0][0])))
    sequences = encode_sequences([pa.table({"sequence": [gene], "mate": [""]})])
    assert not find_markers(MPI.COMM_SELF, sequences, np.array([-1]), 3).any()


def test_a_genome_holds_markers_and_a_plasmid_hardly_any(repository):
    """Acceptance: of a genome that the list was made from, in stretches of 100 kb."""
    text = gzip.decompress((repository / "demo/genomes/Staphylococcus_aureus_N315.fa.gz").read_bytes()).decode()
    genome = "".join(line for line in text.splitlines() if not line.startswith(">"))
    count = len(set().union(*find([[genome[begin : begin + 100_000]] for begin in range(0, len(genome), 100_000)])))
    assert count > 25 * len(genome) / 1e6
    shuffled = "".join(np.random.default_rng(0).permutation(list(genome[:1_000_000])))
    assert len(find([[shuffled]])[0]) <= 2


# Parts of one genome


def make(counts: list[int], shared: int = 0) -> np.ndarray:
    """Return markers of clusters: so many each, of which `shared` are in all."""
    markers = np.zeros((len(counts), sum(counts) + shared), bool)
    for number, count in enumerate(counts):
        begin = sum(counts[:number])
        markers[number, begin : begin + count] = True
    markers[:, sum(counts) :] = True
    return markers


def find_one(counts, stretches=(1.0, 0.5, 1.0), depths=(8.0, 8.0, 8.0), near=1.25, shared=0):
    distances = np.array([[np.inf, near, 3], [near, np.inf, 3], [3, 3, np.inf]])
    return find_island(make(counts, shared), np.array(stretches), np.array(depths), distances)


def test_a_near_cluster_without_markers_is_an_island():
    assert find_one([30, 0, 30]) == (0, 1)
    assert find_one([0, 30, 30], stretches=(0.5, 1.0, 1.0)) == (0, 1)
    assert find_one([4, 0, 90]) == (0, 1)
    assert find_one([0, 0, 90]) == (0, 1)


@pytest.mark.parametrize("count", [0, 3])
def test_far_less_than_what_is_as_deep_is_an_island(count):
    assert find_one([30, count, 30], stretches=(1.0, 0.05, 1.0), near=2.2) == (0, 1)


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [30, 15, 30]},  # as many as a genome may have
        {"counts": [30, 30, 0], "stretches": (1.0, 1.0, 0.5)},  # the poor one lies far from all
        {"counts": [20, 0, 20], "stretches": (1.0, 0.11, 1.0)},  # too short for markers to tell
        # Of rare genomes little is read anyway.
        {"counts": [30, 0, 30], "stretches": (1.0, 0.05, 1.0), "depths": (2.0, 2.0, 2.0)},
        {"counts": [30, 0, 30], "stretches": (1.0, 0.05, 1.0), "near": 2.6},
        {"counts": [30, 1, 30], "stretches": (1.0, 0.05, 1.0), "shared": 1},
        {"counts": [8, 3, 90]},  # the other is as poor in known markers
        {"counts": [30, 2, 30], "stretches": (1.0, 1.0, 1.0)},  # as long as the others: a genome of unknown markers
        {"counts": [30, 1, 30], "shared": 1},  # a marker in both: two genomes
        {"counts": [30, 0, 30], "depths": (8.0, 2.0, 8.0)},
        {"counts": [30, 0, 30], "near": 2.5},
        {"counts": [0, 0, 0]},  # nothing is known of any
    ],
)
def test_other_clusters_are_none(case):
    assert find_one(**case) is None


def find_two(counts, depths=(8.0, 8.0, 8.0), near=1.2, shared=0):
    distances = np.array([[np.inf, near, 3], [near, np.inf, 3], [3, 3, np.inf]])
    return list_halves(make(counts, shared), np.array(depths), distances)


def test_near_clusters_that_share_no_markers_are_halves_of_one_genome():
    assert find_two([20, 15, 30]) == [(0, 1)]
    assert find_two([20, 9, 30], shared=1) == [(0, 1)]  # genomes hold a few twice


@pytest.mark.parametrize(
    "case",
    [
        {"counts": [20, 15, 30], "near": 1.3},
        {"counts": [20, 15, 30], "depths": (8.0, 4.0, 8.0)},
        {"counts": [20, 15, 30], "shared": 5},  # relatives
        {"counts": [40, 30, 30]},  # more than a genome holds
        {"counts": [8, 3, 30]},  # with so few, two genomes have hardly any in common
        {"counts": [20, 0, 30]},
        {"counts": [20, 15, 0]},  # the other cluster does not tell how many a genome holds
    ],
)
def test_near_clusters_that_may_be_two_genomes_stay_two(case):
    assert find_two(**case) == []


def test_of_two_near_clusters_alone_only_what_they_share_tells():
    distances, depths = np.array([[np.inf, 1.2], [1.2, np.inf]]), np.ones(2)
    assert list_halves(make([30, 20]), depths, distances) == [(0, 1)]
    assert list_halves(make([30, 20], 9), depths, distances) == []


def test_the_nearest_island_comes_first():
    distances = np.full((4, 4), 5.0)
    distances[0, 1] = distances[1, 0] = 1.4
    distances[2, 3] = distances[3, 2] = 1.1
    np.fill_diagonal(distances, np.inf)
    assert find_island(make([40, 0, 40, 0]), np.array([1, 0.4, 1, 0.4]), np.ones(4), distances) == (2, 3)
