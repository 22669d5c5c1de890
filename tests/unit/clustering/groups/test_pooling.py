"""Pooling on one rank: numpy's averages are the oracle, Python's fractions check exactness."""

from fractions import Fraction

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.groups import pooling
from readclade.clustering.groups.pooling import (
    Groups,
    are_apart,
    choose_rows,
    gather_by_id,
    pool_groups,
    sum_by_group,
    sum_by_owner,
)
from readclade.clustering.ranks.exchange import Layout

COUNT, D = 500, 7


@pytest.fixture
def data():
    """Embeddings of float16's precision, bases, what is known, and multiplicities, of which some are not."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(0, 0.2, (COUNT, D)).astype(np.float16)
    known = rng.random(COUNT) < 0.9
    embeddings[~known] = 0
    multiplicities = rng.lognormal(1, 1, COUNT).astype(np.float32)
    multiplicities[rng.random(COUNT) < 0.1] = np.nan
    return embeddings, rng.integers(30, 20_000, COUNT), known, multiplicities


@pytest.fixture
def roots():
    """Groups of uneven size, each named after its smallest fragment."""
    numbers = np.random.default_rng(1).integers(0, 60, COUNT) ** 2 // 60
    return np.array([np.flatnonzero(numbers == number)[0] for number in numbers])


def make_layout(count: int = COUNT, comm: MPI.Comm = MPI.COMM_SELF) -> Layout:
    return Layout(comm, np.array([0, count // 3, count // 3, count]))


def pool(roots, data):
    return pool_groups(make_layout(len(roots)), roots, *data)


def get_vectors(groups: Groups) -> np.ndarray:
    return groups.vectors.look_up(groups.ids)


def assert_bits(one: Groups, other: Groups):
    for name in ("ids", "fragments", "bases", "multiplicities"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert get_vectors(one).tobytes() == get_vectors(other).tobytes()


def test_pool_groups_agrees_with_numpy(roots, data):
    embeddings, bases, known, multiplicities = data
    groups = pool(roots, data)
    vectors = get_vectors(groups)
    assert groups.ids.tolist() == sorted(set(roots.tolist()))
    for place, root in enumerate(groups.ids):
        inside = (roots == root) & known
        assert groups.fragments[place] == inside.sum()
        assert groups.bases[place] == bases[inside].sum()
        expected = np.average(embeddings[inside].astype(np.float64), axis=0, weights=bases[inside])
        assert vectors[place] == pytest.approx(expected, abs=1e-12)
        known_counts = np.fmax(multiplicities[inside], 1)
        assert groups.multiplicities[place] == pytest.approx(np.exp(np.log(known_counts).mean()), rel=1e-3)


def test_sums_are_exact(roots, data):
    embeddings, bases, known, _ = data
    groups = pool(roots, data)
    vectors = get_vectors(groups)
    for place in range(0, len(groups.ids), 7):
        rows = np.flatnonzero((roots == groups.ids[place]) & known)
        for column in range(D):
            total = sum(Fraction(float(embeddings[row, column])) * int(bases[row]) for row in rows)
            assert vectors[place, column] == float(total * 2**24) / int(bases[rows].sum()) / 2**24


def test_pool_groups_does_not_depend_on_the_order_of_fragments(roots, data):
    """A permutation within groups changes which fragment is where, but not what a group holds."""
    rng = np.random.default_rng(5)
    order = np.arange(COUNT)
    for root in np.unique(roots):
        inside = np.flatnonzero(roots == root)
        order[inside] = rng.permutation(inside)
    assert_bits(pool(roots, data), pool(roots, [array[order] for array in data]))


def test_groups_of_which_nothing_is_known_are_zero(data):
    embeddings, bases, known, multiplicities = data
    known[:5] = False
    groups = pool(np.where(np.arange(COUNT) < 5, 0, 5), (embeddings, bases, known, multiplicities))
    assert groups.ids.tolist() == [0, 5]
    assert groups.fragments[0] == groups.bases[0] == 0
    assert get_vectors(groups).any(axis=1).tolist() == [False, True]
    assert groups.multiplicities[0] == 1
    assert [len(vectors) for vectors in groups.vectors.iterate()] == [1]


def test_a_lone_fragment_is_its_own_mean(data):
    groups = pool(np.arange(COUNT), data)
    assert np.array_equal(get_vectors(groups), data[0])


def test_heavy_groups_of_large_values_do_not_overflow():
    embeddings = np.full((4, 2), 60_000, np.float32)  # float16's largest is 65,504
    embeddings[:, 1] = [-60_000, 60_000, 1, 0.5]
    bases = np.full(4, 2**43)
    groups = pool(np.zeros(4, np.int64), (embeddings, bases, np.ones(4, bool), np.ones(4, np.float32)))
    assert groups.bases.tolist() == [2**45]
    assert get_vectors(groups)[0, 0] == 60_000
    assert get_vectors(groups)[0, 1] == pytest.approx(0.375, abs=1)


def test_multiplicities_below_one_and_unknown_ones_count_as_one():
    multiplicities = np.array([0.25, np.nan, 16], np.float32)
    groups = pool(
        np.zeros(3, np.int64), (np.ones((3, 1), np.float32), np.ones(3, int), np.ones(3, bool), multiplicities)
    )
    assert groups.multiplicities[0] == pytest.approx(16 ** (1 / 3), rel=1e-3)


def test_no_fragments_at_all():
    nothing = np.zeros(0, np.int64)
    data = np.zeros((0, D), np.float32), nothing, nothing.astype(bool), np.zeros(0, np.float32)
    groups = pool_groups(Layout(MPI.COMM_SELF, [0, 0]), nothing, *data)
    assert get_vectors(groups).shape == (0, D)
    assert list(groups.vectors.iterate()) == []
    assert len(groups.ids) == len(groups.fragments) == len(groups.bases) == len(groups.multiplicities) == 0


@pytest.mark.parametrize("sums_at_once", [1, 100, 4000])
@pytest.mark.parametrize("rows_at_once", [1, 7, 65536])
def test_portions_of_any_size_give_the_same(roots, data, monkeypatch, sums_at_once, rows_at_once):
    whole = pool(roots, data)
    expected = get_vectors(whole)
    monkeypatch.setattr(pooling, "_SUMS_AT_ONCE", sums_at_once)
    monkeypatch.setattr(pooling, "_ROWS_AT_ONCE", rows_at_once)
    groups = pool(roots, data)
    assert_bits(groups, whole)
    assert get_vectors(groups).tobytes() == expected.tobytes()
    assert np.concatenate(list(groups.vectors.iterate())).tobytes() == expected[groups.fragments > 0].tobytes()


def test_look_up_gives_vectors_in_the_order_asked_for(roots, data):
    groups = pool(roots, data)
    chosen = np.array([3, 0, 3, len(groups.ids) - 1])
    assert np.array_equal(groups.vectors.look_up(groups.ids[chosen]), get_vectors(groups)[chosen])


# What is made of groups


def test_sum_by_owner_comes_in_order():
    ids, sums = sum_by_owner(make_layout(9), np.array([7, 2, 5]), np.array([[70, 1], [20, 2], [50, 3]]))
    assert ids.tolist() == [2, 5, 7]
    assert sums.tolist() == [[20, 2], [50, 3], [70, 1]]


def test_sum_by_group_takes_the_rows_that_are_given(monkeypatch):
    monkeypatch.setattr(pooling, "_SUMS_AT_ONCE", 3)
    roots = np.array([0, 1, 0, 3, 1, 3, 3])

    def add(rows, places, sums):
        np.add.at(sums[:, 0], places, 10**rows)

    found = list(sum_by_group(make_layout(7), roots, np.array([6, 0, 2, 3]), 1, add))
    assert [(ids.tolist(), sums.tolist()) for ids, sums in found] == [
        ([0], [[101]]),
        ([3], [[1_001_000]]),
        ([], []),
    ]


def test_parts_are_apart_that_are_not_all_of_their_group(roots, data):
    # Parts are what a group holds of every third fragment; the last group is one part.
    roots[-1] = COUNT - 1
    thirds = [roots[i] * 3 + i % 3 for i in range(COUNT)]
    inner = np.array([thirds.index(third) for third in thirds])
    parts, groups = pool(inner, data), pool(roots, data)
    outer = roots[parts.ids]
    apart = are_apart(make_layout(), parts, groups, outer)
    for place, part in enumerate(parts.ids):
        others = data[2] & (roots == outer[place]) & (inner != part)
        assert apart[place] == (parts.fragments[place] > 0 and others.any())
    assert 0 < apart.sum() < len(parts.ids)
    # Weighted by bases, the parts of a group deviate from it by nothing on the whole.
    deviations = get_vectors(parts) - groups.vectors.look_up(outer)
    for root in np.unique(outer[apart]):
        total = (deviations[outer == root] * parts.bases[outer == root, None]).sum(axis=0)
        assert total / parts.bases[outer == root].sum() == pytest.approx(np.zeros(D), abs=1e-12)


def test_gather_by_id_puts_rows_in_order():
    ids = np.array([30, 10, 20])
    rows = np.array([[3.0, 0.1], [1.0, 0.2], [2.0, 0.3]])
    assert np.array_equal(gather_by_id(MPI.COMM_SELF, ids, rows), rows[[1, 2, 0]])
    assert gather_by_id(MPI.COMM_SELF, ids[:0], rows[:0]).shape == (0, 2)


def test_choose_rows_takes_all_of_few():
    assert choose_rows(MPI.COMM_SELF, np.arange(3), 3).all()
    assert choose_rows(MPI.COMM_SELF, np.arange(0), 3).shape == (0,)


def test_choose_rows_takes_about_as_many_as_are_wanted_and_always_the_same():
    ids = np.random.default_rng(0).permutation(10_000)
    chosen = ids[choose_rows(MPI.COMM_SELF, ids, 1000)]
    assert 900 < len(chosen) < 1100
    ordered = np.sort(ids)
    assert np.array_equal(ordered[choose_rows(MPI.COMM_SELF, ordered, 1000)], np.sort(chosen))
    # Low and high ids alike.
    assert abs((chosen < 5000).mean() - 0.5) < 0.06
