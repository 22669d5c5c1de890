"""Lineages and lowest common ancestors."""

from itertools import pairwise

import pytest

from readclade.taxonomy.lineage import Taxon, find_runner_up, find_supported, format_lineage, get_lowest, get_taxa

CHOLERAE = ("Bacteria", "Pseudomonadota", "Gammaproteobacteria", "Vibrionales", "Vibrionaceae", "Vibrio", "V. cholerae")
FISCHERI = (*CHOLERAE[:6], "V. fischeri")
AUREUS = ("Bacteria", "Bacillota", "Bacilli", "Bacillales", "Staphylococcaceae", "Staphylococcus", "S. aureus")
LAMBDA = ("Viruses", "Uroviricota", "Caudoviricetes", "", "", "Lambdavirus", "L. lambda")


def name(votes, support=0.5):
    chain = find_supported(votes, support)
    return (chain[-1][0].name, pytest.approx(chain[-1][1])) if chain else None


def test_find_supported_names_the_species_that_has_the_votes():
    assert name({CHOLERAE: 0.6, FISCHERI: 0.2, AUREUS: 0.2}) == ("V. cholerae", 0.6)


def test_find_supported_stops_at_the_common_ancestor():
    assert name({CHOLERAE: 0.4, FISCHERI: 0.4, AUREUS: 0.2}) == ("Vibrio", 0.8)
    assert name({CHOLERAE: 0.3, FISCHERI: 0.1, AUREUS: 0.4}) == ("Bacteria", 0.8)


def test_find_supported_is_empty_without_support():
    assert name({CHOLERAE: 0.3, LAMBDA: 0.4}) is None
    assert name({}) is None


def test_find_supported_walks_across_ranks_without_a_name():
    assert name({LAMBDA: 0.7, CHOLERAE: 0.3}) == ("L. lambda", 0.7)
    assert [taxon.rank for taxon, _ in find_supported({LAMBDA: 1.0}, 0.5)] == [
        "domain", "phylum", "class", "genus", "species",
    ]  # fmt: skip


def test_find_supported_stays_within_the_taxa_above_at_low_support():
    votes = {CHOLERAE: 0.3, FISCHERI: 0.25, LAMBDA: 0.4}
    chain = find_supported(votes, 0.25)
    for (above, _), (below, _) in pairwise(chain):
        assert above.holds(below.path)
    assert chain[-1][0].name == "V. cholerae"


def test_find_supported_breaks_ties_by_name():
    assert name({CHOLERAE: 0.5, AUREUS: 0.5}) == name({AUREUS: 0.5, CHOLERAE: 0.5}) == ("S. aureus", 0.5)


def test_find_runner_up_is_of_the_same_rank():
    votes = {CHOLERAE: 0.5, FISCHERI: 0.2, AUREUS: 0.3}
    assert find_runner_up(votes, Taxon(CHOLERAE)) == (Taxon(AUREUS), 0.3)
    assert find_runner_up(votes, Taxon(CHOLERAE[:6])) == (Taxon(AUREUS[:6]), 0.3)
    assert find_runner_up(votes, Taxon(("Bacteria",))) is None


def test_taxa_have_rank_name_and_element():
    assert [taxon.element for taxon in get_taxa(LAMBDA)] == [
        "d__Viruses", "p__Uroviricota", "c__Caudoviricetes", "g__Lambdavirus", "s__L. lambda",
    ]  # fmt: skip
    assert get_lowest(("Bacteria", "", "", "", "", "", "")) == Taxon(("Bacteria",))


def test_format_lineage_has_all_ranks():
    assert format_lineage(("Viruses", "Uroviricota", "Caudoviricetes", "", "", "Lambdavirus")) == (
        "d__Viruses;p__Uroviricota;c__Caudoviricetes;o__;f__;g__Lambdavirus;s__"
    )
