"""Pairs of reads that share k-mers against the plain way."""

from collections import defaultdict

import numpy as np
import pytest

from readclade.clustering.links.candidates import group_rows

MOST = 80


def make_rows(rng, reads: int, partners: int, rows: int):
    """Return rows by read, in any order within a read: as several ranks send them."""
    read = np.sort(rng.integers(0, reads, rows))
    partner = rng.integers(0, partners, rows)
    places = rng.integers(0, 2**31 - 1, (2, rows)), rng.integers(0, 2, (2, rows))
    mine, theirs = (
        (number << 32) | (at << 1) | strand for number, at, strand in zip((read, partner), *places, strict=True)
    )
    return np.searchsorted(read, np.arange(reads + 1)), mine.astype(np.uint64), theirs.astype(np.uint64)


def group_plainly(begins, mine, theirs, least):
    found = []
    for i in range(len(begins) - 1):
        pairs = defaultdict(list)
        rows = slice(begins[i], begins[i + 1])
        for one, other in zip(mine[rows].tolist(), theirs[rows].tolist(), strict=True):
            is_reversed = (one ^ other) & 1
            position = (other & 0xFFFFFFFF) >> 1
            pairs[other >> 32, is_reversed].append(((one & 0xFFFFFFFF) >> 1, -position if is_reversed else position))
        enough = sorted(
            (pair for pair in pairs if len(pairs[pair]) >= least), key=lambda pair: (-len(pairs[pair]), pair)
        )
        found += [(i, *pair, sorted(pairs[pair])) for pair in sorted(enough[:MOST])]
    return found


@pytest.mark.parametrize(("partners", "rows", "least"), [(5, 400, 4), (40, 3000, 2), (300, 12_000, 4), (3, 30, 1)])
def test_rows_are_grouped_by_partner_and_orientation(partners, rows, least):
    begins, mine, theirs = make_rows(np.random.default_rng(rows), 9, partners, rows)
    result = group_rows(begins, mine, theirs, least)
    hits = result.hits[: result.begins[-1]]
    low = ((hits & 0xFFFFFFFF) ^ 2**31) - 2**31
    both = list(zip(((hits - low) >> 32).tolist(), low.tolist(), strict=True))
    columns = result.first.tolist(), result.partner.tolist(), result.is_reversed.tolist()
    found = [
        (*pair, both[begin:end])
        for *pair, begin, end in zip(*columns, result.begins[:-1], result.begins[1:], strict=True)
    ]
    expected = group_plainly(begins, mine, theirs, least)
    assert found == expected
    assert len(expected) > 5
    if partners == 300:
        assert np.bincount(result.first).tolist() == [MOST] * 9


def test_no_rows():
    nothing = np.zeros(0, np.uint64)
    result = group_rows(np.zeros(4, np.int64), nothing, nothing, 4)
    assert len(result.first) == len(result.partner) == 0
    assert result.begins.tolist() == [0]
