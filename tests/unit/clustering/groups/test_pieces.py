"""Pieces cut into stretches: who lies in which, of what depth, and what links them."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.groups.evidence import link_stretches, oppose_stretches
from readclade.clustering.groups.pieces import cut_pieces, measure_pieces
from readclade.clustering.links.chains import Places
from readclade.clustering.links.edges import Overlaps
from readclade.clustering.ranks.exchange import Layout

READ = 100


def lay_out(reads: int) -> Layout:
    return Layout(MPI.COMM_SELF, [0, reads // 2])


def put(chain, position, size) -> Places:
    chain = np.array(chain)
    return Places(chain, np.array(position), np.zeros(len(chain), bool), np.array(size))


def test_a_piece_is_cut_into_equal_stretches_and_these_are_united():
    """Twelve single reads, one each 100 bases of 1,200."""
    chain, position = np.repeat([0], 24), np.repeat(np.arange(12) * 100, 2)
    lengths = np.tile([READ, 0], 12)
    chain = np.where(lengths > 0, 0, np.arange(24))  # mates of no bases are chains of their own
    places = put(chain, np.where(lengths > 0, position, 0), np.where(lengths > 0, 1200, 0))
    cut = cut_pieces(lay_out(24), places, lengths, 200, (3, 100))
    assert cut.levels[0].tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert cut.levels[1].tolist() == [0] * 6 + [6] * 6
    assert cut.levels[2].tolist() == [0] * 12
    assert cut.of_reads[0::2].tolist() == cut.levels[0].tolist()
    assert cut.depths.tolist() == [1.0] * 12
    assert measure_pieces(lay_out(24), places) == 1200


def test_a_stretch_is_as_deep_as_its_bases():
    lengths = np.tile([READ, 0], 4)
    places = put([0, 1, 0, 3, 0, 5, 6, 7], [0, 0, 0, 0, 20, 0, 0, 0], [120, 0, 120, 0, 120, 0, 100, 0])
    cut = cut_pieces(lay_out(8), places, lengths, 1000, (2, 4))
    assert cut.levels[0].tolist() == [0, 0, 0, 3]
    assert cut.depths.tolist() == [2.5, 2.5, 2.5, 1.0]


def test_a_fragment_lies_where_more_reads_lie():
    """Fragment 2 has a read in a piece of four reads, and one in a piece of one."""
    lengths = np.full(6, READ)
    places = put([0, 0, 0, 0, 5, 0], [0, 100, 150, 250, 0, 300], [400, 400, 400, 400, 100, 400])
    cut = cut_pieces(lay_out(6), places, lengths, 1000, (2, 4))
    assert cut.levels[0].tolist() == [0, 0, 0]
    assert cut.of_reads.tolist() == [0, 0, 0, 0, -1, 0]


def make_overlaps(first, second, alike=((), ())) -> Overlaps:
    none = np.zeros(0, np.int64)
    pair, differing = (tuple(np.array(side, np.int64) for side in sides) for sides in ((first, second), alike))
    iterators = (lambda: iter([pair])), (lambda: iter([differing]))
    rates = none.astype(np.float32), 0.01
    return Overlaps(none, none, none, none, none, *iterators, lambda part: pytest.fail("not asked"), *rates)


def test_stretches_are_linked_by_overlaps_and_by_mates():
    of_reads = np.array([0, 0, 1, 1, 2, 1, 3, -1])  # of four fragments; one's reads lie in two stretches
    links = link_stretches(lay_out(8), make_overlaps([0, 1, 2, 6], [2, 3, 0, 7]), of_reads)
    assert links.tolist() == [[0, 1, 3], [1, 2, 1]]


def test_a_link_of_little_evidence_beside_better_ones_is_none():
    of_reads = np.repeat([0, 1, 2], 2)
    many = make_overlaps([0] * 11 + [0, 0], [2] * 11 + [4, 4])
    assert link_stretches(lay_out(6), many, of_reads).tolist() == [[0, 1, 11]]
    enough = make_overlaps([0] * 10 + [0, 0], [2] * 10 + [4, 4])
    assert link_stretches(lay_out(6), enough, of_reads).tolist() == [[0, 1, 10], [0, 2, 2]]


def test_stretches_whose_reads_differ_stand_against_each_other():
    """However few these are, whether or not a link says otherwise; mates say nothing."""
    of_reads = np.array([0, 0, 1, 1, 2, 1, 3, -1])
    overlaps = make_overlaps([0, 1, 2], [2, 3, 0], ([0, 1, 4, 2, 6, 7, 2], [2, 4, 0, 3, 3, 0, 6]))
    assert oppose_stretches(lay_out(8), overlaps, of_reads).tolist() == [[0, 1, 1], [0, 2, 2], [1, 3, 2]]
