"""Numbers and names as a person writes them."""

import pytest

from readclade.formats import format_ancestors, format_bases, format_duration, format_measure


@pytest.mark.parametrize(
    ("bases", "text"),
    [
        (0, "0 bases"),
        (999, "999 bases"),
        (1000, "1.00 kb"),
        (1_400_000, "1.40 Mb"),
        (299_600_000, "300 Mb"),
        (2e13, "20.0 Tb"),
    ],
)
def test_format_bases(bases, text):
    assert format_bases(bases) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "not recorded"), (1.26, "1.3 s"), (59.99, "1 min 00 s"), (125, "2 min 05 s"), (7260, "2 h 01 min")],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [("12", "12"), ("1.0", "1.000"), ("0.8599", "0.860"), ("n/a", "n/a"), ("", "")]
)
def test_format_measure(value, text):
    assert format_measure(value) == text


def test_format_ancestors_leaves_out_the_taxon_and_empty_ranks():
    lineage = "d__Bacteria;p__;g__Bacillus;s__Bacillus subtilis"
    assert format_ancestors(lineage, "Bacillus subtilis") == "Bacteria › Bacillus"
