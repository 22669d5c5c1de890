"""Markers are found in genomes that the list was not made from."""

import gzip
from itertools import product

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT
from readclade.clustering.genomes.codons import make_codon_table
from readclade.clustering.genomes.markers import (
    AMINO_ACIDS,
    encode_word,
    find_markers,
    load_markers,
    spell_word,
)
from readclade.clustering.links.sequences import encode_sequences

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
