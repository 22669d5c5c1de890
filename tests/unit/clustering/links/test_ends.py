"""Containers and ends against the plain way, with many ties."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.links.ends import choose_containers, choose_ends
from readclade.clustering.links.verified import STEPS, Verified
from readclade.clustering.ranks.exchange import Layout

READS = 40


@pytest.fixture(params=range(5))
def verified(request) -> Verified:
    """Overlaps of reads whose lengths are 100, 110 or 120 bases, as they may lie to one another."""
    rng = np.random.default_rng(request.param)
    lengths = rng.choice([100, 110, 120], READS)
    rows = []
    for a in range(READS):
        for b in range(a + 1, READS):
            shift = int(rng.choice([-60, -40, -10, -5, 0, 0, 5, 10, 30, 60]))  # of b's begin in a
            begin, end = max(0, shift), min(lengths[a], shift + lengths[b])
            trim = rng.integers(0, 5)
            begin, end = begin + trim, end - trim
            is_reversed = rng.random() < 0.5
            rows.append((a, b, is_reversed, begin, end, begin - shift, end - shift, lengths[a], lengths[b], trim % 3))
    return Verified(*np.array(rows, np.int64).T)


def test_containers_are_the_least_divergent(verified):
    expected: dict[int, tuple] = {}
    for row in zip(*vars(verified).values(), strict=True):
        a, b, is_reversed, a_begin, a_end, b_begin, b_end, a_length, b_length, edits = map(int, row)
        shift = a_begin - b_begin
        stretch = max(a_end - a_begin, b_end - b_begin)
        score = STEPS - round(STEPS * edits / stretch) - round(STEPS * max(edits, 1) ** 0.5 / stretch) // 2
        if shift >= 0 and shift + b_length <= a_length:
            inner, outer, offset = b, a, shift
        elif shift <= 0 and a_length <= shift + b_length:
            inner, outer, offset = a, b, shift + b_length - a_length if is_reversed else -shift
        else:
            continue
        expected[inner] = min(expected.get(inner, (0,)), (-score, 2 * outer + is_reversed, offset))
    containers, offsets = choose_containers(Layout(MPI.COMM_SELF, [0, READS]), verified)
    assert len(expected) > 20
    assert containers.tolist() == [expected.get(read, (0, -1))[1] for read in range(READS)]
    assert offsets.tolist() == [expected.get(read, (0, 0, 0))[2] for read in range(READS)]
    lengths = dict(zip(verified.b.tolist(), verified.b_length.tolist(), strict=True)) | {0: int(verified.a_length[0])}
    for read in expected:  # each chain of containers ends
        while containers[read] >= 0:
            outer = int(containers[read] >> 1)
            assert (-lengths[outer], outer) < (-lengths[read], read)
            read = outer


def test_ends_have_the_longest_overlap(verified):
    is_contained = np.arange(READS) % 7 == 3
    expected: dict[int, tuple] = {}
    for row in zip(*vars(verified).values(), strict=True):
        a, b, is_reversed, a_begin, _, b_begin, _, a_length, b_length, _ = map(int, row)
        shift = a_begin - b_begin
        is_within = (shift >= 0 and shift + b_length <= a_length) or (shift <= 0 and a_length <= shift + b_length)
        if is_within or is_contained[a] or is_contained[b]:
            continue
        length = min(a_length, shift + b_length) - max(0, shift)
        end_a = 2 * a + (shift > 0)
        end_b = 2 * b + (is_reversed if shift > 0 else not is_reversed)
        expected[end_a] = min(expected.get(end_a, (0,)), (-length, end_b))
        expected[end_b] = min(expected.get(end_b, (0,)), (-length, end_a))
    layouts = Layout(MPI.COMM_SELF, [0, READS]), Layout(MPI.COMM_SELF, [0, 2 * READS])
    best, overlaps = choose_ends(*layouts, verified, is_contained)
    assert len(expected) > 40
    assert best.tolist() == [expected.get(end, (0, -1))[1] for end in range(2 * READS)]
    assert overlaps.tolist() == [-expected.get(end, (0, -1))[0] for end in range(2 * READS)]
