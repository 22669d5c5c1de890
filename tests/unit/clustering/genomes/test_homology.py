"""Two relatives in one cluster are told by their proteins, which are made and spelled in several ways."""

import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT
from readclade.clustering.genomes.codons import make_codon_table
from readclade.clustering.genomes.homology import (
    TWO_RELATIVES,
    _pair,
    _sort_once,
    find_homologs,
    measure_homology,
    sample_words,
)
from readclade.clustering.links.sequences import encode_sequences

CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]
SPELLINGS: dict[int, list[str]] = {}
for codon, acid in zip(CODONS, make_codon_table().tolist(), strict=True):
    SPELLINGS.setdefault(acid, []).append(codon)
ACIDS = sorted(set(SPELLINGS) - {255})


def spell(protein: np.ndarray, rng) -> str:
    """Return DNA that codes for a protein, each codon drawn from those that can."""
    return "".join(rng.choice(SPELLINGS[acid]) for acid in protein.tolist())


def turn(read: str) -> str:
    return read.encode().translate(COMPLEMENT)[::-1].decode()


def sample(groups: list[list[str]]) -> np.ndarray:
    reads = [read for group in groups for read in group]
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    sequences = encode_sequences([pa.table({"sequence": reads, "mate": [""] * len(reads)})])
    return sample_words(MPI.COMM_SELF, sequences, owners)


def find(groups: list[list[str]]) -> list[tuple[int, int]]:
    return list(zip(*(side.tolist() for side in find_homologs(sample(groups), len(groups))), strict=True))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_code_is_the_standard_one():
    assert len(ACIDS) == 20
    assert sorted(SPELLINGS[255]) == ["TAA", "TAG", "TGA"]
    table = dict(zip(CODONS, make_codon_table().tolist(), strict=True))
    assert len({table[codon] for codon in ("ATG", "TGG", "AAA", "GAA", "TTT", "GGC")}) == 6
    assert len({table[codon] for codon in ("CTA", "CTC", "CTG", "CTT", "TTA", "TTG")}) == 1  # leucine
    assert table["AGC"] == table["TCA"] != table["AGG"] == table["CGT"]  # serine, arginine


@pytest.mark.parametrize("strand", [str, turn])
def test_groups_with_one_protein_spelled_in_two_ways_are_homologous(strand, rng):
    protein, other = rng.choice(ACIDS, (2, 400))
    groups = [[spell(protein, rng)], [spell(other, rng)], ["A" + strand(spell(protein, rng))]]
    assert find(groups) == [(0, 2)]


def test_groups_that_spell_a_protein_alike_are_not(rng):
    """Copies of a mobile element, or parts of one place whose links were missed."""
    gene = spell(rng.choice(ACIDS, 400), rng)
    assert find([[gene], [turn(gene)], [gene[1:]]]) == []


def test_groups_that_share_one_copy_and_many_relatives_are(rng):
    proteins, copy = rng.choice(ACIDS, (3, 400)), spell(rng.choice(ACIDS, 100), rng)
    groups = [[copy, *(spell(protein, rng) for protein in proteins)] for _ in range(2)]
    assert find(groups) == [(0, 1)]


def test_words_of_a_family_are_left_out():
    pairs, rows = _pair(np.array([3] * 5 + [4] * 4 + [5]), np.array([0, 1, 2, 3, 4, 0, 2, 5, 6, 1]), 10)
    assert sorted(pairs.tolist()) == [2, 5, 6, 25, 26, 56]
    assert set(rows.tolist()) == {5}


def test_words_do_not_span_stops_or_unknown_letters(rng):
    gene = spell(rng.choice(ACIDS, 7), rng)
    for between in ("TAA", "NNN"):
        words = sample([[between.join([gene] * 50)]])
        spellings = {tuple(row) for row in words[:, 1:].tolist()}
        assert all(row[1] == 0 for row in spellings)
        # In the gene's own frame no eight amino acids stand in a row; others may.
        letters = [between.join([gene] * 50)[place : place + 24] for place in range(0, 24 * 40, 24)]
        codes = {sum("ACGT".index(x) << 2 * (23 - i) for i, x in enumerate(s)) for s in letters if "N" not in s}
        assert not codes & {row[0] for row in spellings}


def test_the_same_word_over_and_over_has_room():
    words = sample([["A" * 100_000], ["ACGT" * 10]])
    assert 1 <= len(words) < 50


@pytest.mark.parametrize("most", [1, 3, 60])
def test_rows_are_there_once_and_in_order(most, rng):
    """With `most` = 1 all rows are the same, with 3 runs of equal words are long and full of copies."""
    rows = rng.integers(0, most, (2000, 3))
    assert np.array_equal(_sort_once(*rows.T), np.unique(rows, axis=0))


def test_nothing_gives_nothing():
    assert sample([]).shape == (0, 3)
    assert find([[], ["ACG"]]) == []
    assert find_homologs(np.zeros((0, 3), np.int64), 0)[0].shape == (0,)


def test_measure_homology_counts_stretches_with_a_partner_in_the_same_cluster():
    homologs = np.array([0, 1, 0]), np.array([1, 3, 2])
    labels, weights = np.array([0, 0, 1, 0, 2]), np.array([10, 20, 30, 40, 50])
    assert measure_homology(homologs, labels, weights, 4).tolist() == [1, 0, 0, 0]
    labels = np.array([0, 1, 1, 1, 1])
    assert measure_homology(homologs, labels, weights, 2) == pytest.approx([0, 60 / 140])


def test_two_relatives_reach_the_threshold_and_one_genome_does_not(rng):
    """Proteins of one genome are unrelated; a relative's differ from them at every sixth amino acid."""
    proteins = rng.choice(ACIDS, (40, 300))
    changed = np.where(rng.random(proteins.shape) < 1 / 6, rng.choice(ACIDS, proteins.shape), proteins)
    one = [[spell(protein, rng)] for protein in proteins]
    both = one + [[spell(protein, rng)] for protein in changed]
    for groups, is_two in ((one, False), (both, True)):
        count = len(groups)
        homologs = find_homologs(sample(groups), count)
        share = measure_homology(homologs, np.zeros(count, np.int64), np.full(count, 900), 1)[0]
        assert (share >= TWO_RELATIVES) == is_two, share
