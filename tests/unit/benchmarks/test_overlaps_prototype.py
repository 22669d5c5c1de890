"""The prototype of verified overlaps: edits are counted right, and chains of two genomes are pure and long."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from readclade.clustering.links.packing import pack_reads

FOLDER = Path(__file__).parents[3] / "benchmarks/overlaps"
# Compilation takes half a minute, and nothing of the workflow hangs on it.
pytestmark = pytest.mark.slow

NAMES = ("trim", "align", "errors", "pairs", "scaffold", "long_reads", "sim", "evaluate", "run_pairs")


@pytest.fixture(scope="module")
def modules():
    """Import the scripts as their folder's own commands do, and forget them."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: __import__(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def genomes(modules):
    rng = np.random.default_rng(3)
    records = [[rng.integers(0, 4, 60_000).astype(np.uint8)] for _ in range(2)]
    return modules["sim"].Genomes(["a", "b"], np.array([0, 1]), records)


def count_edits_plainly(x, y) -> int:
    """Return the edit distance, row by row."""
    row = list(range(len(y) + 1))
    for i, base in enumerate(x, 1):
        new = [i]
        for j, other in enumerate(y, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (base != other)))
        row = new
    return row[-1]


@pytest.mark.parametrize(("n", "m"), [(0, 5), (20, 23), (64, 60), (100, 130)])
def test_count_edits_is_the_edit_distance(modules, n, m):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 4, 10 + n).astype(np.uint8)
    y = np.concatenate([x[10:], rng.integers(0, 4, m).astype(np.uint8)])[:m]
    y[::7] = (y[::7] + 1) % 4
    words, begins, _ = pack_reads(np.concatenate([x, y]), np.array([0, len(x), len(x) + m]))
    scratch = [np.empty(shape, np.uint64) for shape in ((4, 3), 3, 3)]
    edits = modules["align"].count_edits(words, 10, n, words[begins[1] :], 0, m, *scratch)
    assert edits == count_edits_plainly(x[10:], y)


def test_pairs_make_pure_long_pieces(modules, genomes):
    reads = modules["sim"].simulate("pairs", genomes, seed=1, depths=np.array([12.0, 8.0]))
    made = modules["run_pairs"].chain_pairs(reads["codes"], reads["offsets"])
    assert made["error"] == pytest.approx(0.004, rel=0.25)
    piece = modules["run_pairs"].choose_pieces(made["piece"])
    bases = np.full(len(piece), 300)
    figures = modules["evaluate"].describe_pieces(piece, reads["genome"].astype(int), bases, reads["depths"], 20)
    assert figures["purity"] == 1
    assert figures["in>20 >3x"] > 0.9


@pytest.mark.parametrize("reverse", [False, True])
def test_pairs_do_not_depend_on_the_strand(modules, genomes, reverse):
    """Chains are in the order of the genome, whatever strand the reads are of."""
    reads = modules["sim"].simulate("pairs", genomes, seed=2, depths=np.array([10.0, 10.0]))
    codes = 3 - reads["codes"][::-1] if reverse else reads["codes"]
    made = modules["run_pairs"].chain_pairs(np.ascontiguousarray(codes), reads["offsets"])
    start = modules["run_pairs"].locate_reads(reads, made["lengths"])[1]
    start = start[::-1] if reverse else start
    chain = made["chain"]
    largest = np.flatnonzero(chain == np.bincount(chain).argmax())
    places = np.sort(start[largest])
    assert len(largest) > 20
    assert all(after - before < 150 for before, after in pairwise(places))


def test_long_reads_make_pure_long_chains(modules, genomes):
    reads = modules["sim"].simulate("long", genomes, seed=1, depths=np.array([20.0, 12.0]))
    words, begins, lengths = pack_reads(reads["codes"], reads["offsets"])
    overlaps, _ = modules["long_reads"].find_overlaps(words, begins, lengths, k=17, density=0.07)
    made = modules["long_reads"].make_chains(overlaps, lengths)
    assert made["sample"] == pytest.approx(0.05, rel=0.25)
    genome = reads["genome"].astype(int)
    figures = modules["evaluate"].describe_pieces(made["chain"], genome, lengths, reads["depths"], 10)
    assert figures["purity"] == 1
    assert figures["in>10 >3x"] > 0.9
