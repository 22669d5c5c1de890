"""Mates join chains: how far apart, in which direction, and only where most fragments agree."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.links.chains import Places
from readclade.clustering.links.mates import Inserts, join_chains, measure_inserts
from readclade.clustering.ranks.exchange import Layout

READ = 100
INSERTS = Inserts(350, 30)


class Sample:
    """Fragments whose reads lie in chains of 1,000 bases; read 2 c heads chain c, so the first fragments are heads."""

    def __init__(self, chains: int):
        self.rows = []  # of each read: chain, position, is_flipped
        self.chains = chains
        for chain in range(chains):
            self.rows += [(2 * chain, 0, False), (2 * chain, 0, False)]

    def add(self, one: tuple, other: tuple) -> "Sample":
        self.rows += [(2 * one[0], *one[1:]), (2 * other[0], *other[1:])]
        return self

    def join(self) -> Places:
        return join_chains(self.reads, self.places, self.lengths, INSERTS)

    @property
    def reads(self) -> Layout:
        return Layout(MPI.COMM_SELF, [0, len(self.rows)])

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.rows), READ)

    @property
    def places(self) -> Places:
        chain, position, is_flipped = (np.array(column) for column in zip(*self.rows, strict=True))
        return Places(chain, position, is_flipped.astype(bool), np.full(len(chain), 1000))


def test_mates_that_face_each_other_over_a_gap_join_their_chains():
    # 90 bases to the right end of chain 0, and 130 from the left end of chain 1 on: 130 bases between the two.
    sample = Sample(2).add((0, 910, False), (1, 30, True))
    places = sample.join()
    assert (places.chain == 0).all()
    assert places.size.tolist() == [2130] * 6
    assert places.position.tolist() == [0, 0, 1130, 1130, 910, 1160]
    assert places.is_flipped.tolist() == [False, False, False, False, False, True]


def test_a_chain_that_lies_the_other_way_is_turned():
    # Both reads look out of the right ends of their chains.
    places = Sample(2).add((0, 910, False), (1, 870, False)).join()
    assert (places.chain == 0).all()
    # The left ends of both are outermost, and the lower is on the left.
    assert places.position.tolist() == [0, 0, 2030, 2030, 910, 1160]
    assert places.is_flipped.tolist() == [False, False, True, True, False, True]


def test_most_mates_win_and_then_the_smaller_gap():
    sample = Sample(4)
    for _ in range(2):
        sample.add((0, 910, False), (1, 30, True))
    sample.add((0, 880, False), (2, 110, True))
    places = sample.join()
    assert places.chain[:8].tolist() == [0, 0, 0, 0, 4, 4, 6, 6]


def test_mates_too_far_from_the_ends_join_nothing():
    places = Sample(2).add((0, 500, False), (1, 30, True)).join()
    assert places.chain.tolist() == [0, 0, 2, 2, 0, 2]


def test_a_single_read_joins_nothing():
    sample = Sample(2).add((0, 910, False), (1, 30, True))
    lengths = sample.lengths
    lengths[-1] = 0
    assert join_chains(sample.reads, sample.places, lengths, INSERTS).chain.tolist() == [0, 0, 2, 2, 0, 2]


def test_a_chain_whose_ends_face_one_another_is_a_circle():
    places = Sample(1).add((0, 910, False), (0, 30, True)).join()
    assert places.size.tolist() == [1000] * 4


def test_inserts_are_measured_where_mates_face_each_other():
    rng = np.random.default_rng(0)
    sample = Sample(1)
    inserts = np.rint(rng.normal(400, 40, 500)).astype(int)
    for insert in inserts:
        begin = int(rng.integers(0, 500))
        mates = (0, begin, False), (0, begin + insert - READ, True)
        sample.add(*(mates if rng.random() < 0.5 else mates[::-1]))
    sample.add((0, 0, False), (0, 900, False))  # these do not
    found = measure_inserts(Layout(MPI.COMM_SELF, [0, len(sample.rows) // 2]), sample.places, sample.lengths)
    assert found is not None
    assert found.median == pytest.approx(np.median(inserts), abs=2)
    assert found.spread == pytest.approx(40, abs=8)


def test_too_few_mates_tell_no_insert():
    sample = Sample(1).add((0, 100, False), (0, 400, True))
    assert measure_inserts(Layout(MPI.COMM_SELF, [0, 2]), sample.places, sample.lengths) is None
