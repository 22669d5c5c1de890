"""Check that links and groups are the same on this number of ranks as on one, and what they are made of.

mpiexec -n 3 python -m mpi4py check_linking.py
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, read_fasta, simulate_long_reads
from readclade.clustering.groups.linkage import Linkage
from readclade.clustering.groups.linking import link_fragments
from readclade.clustering.links.chains import place_contained, walk
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.communicator import gather_rows
from readclade.clustering.ranks.exchange import Layout, exchange, find_most, look_up

WORLD = MPI.COMM_WORLD
GENOMES = Path(__file__).parents[2] / "demo/genomes"
SIZES = [300, 0, 1, 0, 250, 87, 0]  # uneven and empty shards; on more than seven ranks some have none


def make_shards(fragments: list[tuple[str, str]]) -> list[pa.Table]:
    """Return the fragments in shards whose sizes are as uneven as SIZES."""
    bounds = np.cumsum([0, *SIZES]) * len(fragments) // sum(SIZES)
    return [
        pa.table({"sequence": [one for one, _ in part], "mate": [other for _, other in part]})
        for part in (fragments[begin:end] for begin, end in pairwise(bounds))
    ]


def substitute(sequence: bytes, rng) -> str:
    """Return a read with Illumina's errors: 0.5 % of the bases are others."""
    letters = np.frombuffer(sequence, np.uint8).copy()
    wrong = np.flatnonzero(rng.random(len(letters)) < 0.005)
    letters[wrong] = rng.choice(np.frombuffer(b"ACGT", np.uint8), len(wrong))
    return letters.tobytes().decode()


def make_pairs() -> list[tuple[str, str]]:
    """Return pairs of a phage at 20x, with errors, copies, unknown letters and short mates."""
    (genome,) = read_fasta(GENOMES / "Enterobacteria_phage_lambda.fa.gz", "").values()
    rng = np.random.default_rng(1)
    pairs = []
    for begin in rng.integers(0, len(genome) - 400, 3000):
        mates = genome[begin : begin + 150], genome[begin + 250 : begin + 400].translate(COMPLEMENT)[::-1]
        one, other = (substitute(mate, rng) for mate in mates)
        pairs.append((one, other) if rng.random() < 0.5 else (other, one))
    pairs[500:520] = pairs[:20]
    pairs[2500:2520] = [(other, one) for one, other in pairs[:20]]
    pairs[1000:1010] = [(one[:70] + "N" + one[71:], "") for one, _ in pairs[1000:1010]]
    pairs[1010:1012] = [("ACGT", "N" * 40), ("", "")]
    return pairs


def make_long_reads() -> list[tuple[str, str]]:
    """Return reads of 5 % errors of a phage and a chloroplast, some of them twice, and one of no length."""
    rng = np.random.default_rng(2)
    reads = []
    for name, coverage in (("Enterobacteria_phage_lambda", 12), ("Arabidopsis_thaliana_chloroplast", 6)):
        (genome,) = read_fasta(GENOMES / f"{name}.fa.gz", "").values()
        reads += [(sequence.decode(), "") for sequence, _ in simulate_long_reads(genome, coverage, rng)]
    rng.shuffle(reads)
    return [*map(tuple, reads), *map(tuple, reads[:5]), ("", "")]


def link(comm: MPI.Comm, shards: list[pa.Table], platform: str, **options) -> Linkage:
    layout = Layout(comm, np.cumsum([0, *map(len, shards)]))
    sequences = encode_sequences(shards[comm.rank :: comm.size])
    # The error rates differ from shard to shard: the median has to be that of all.
    rates = np.where(layout.ids % 3 == 0, np.nan, 0.05 + layout.ids % 10 / 1e4).astype(np.float32)
    return link_fragments(layout, sequences, platform, rates, **options)


def check_links(fragments: list[tuple[str, str]], platform: str) -> None:
    shards = make_shards(fragments)
    one = link(MPI.COMM_SELF, shards, platform)
    alone = Layout(MPI.COMM_SELF, np.cumsum([0, *map(len, shards)]))
    layout = Layout(WORLD, alone.firsts)
    assert len(one.first) > 5
    assert np.array_equal(np.lexsort([one.second, one.first]), np.arange(len(one.first)))
    assert np.bincount(one.levels[-1]).max() > 100
    for memory in (1 << 30, 3_000_000):
        many = link(WORLD, shards, platform, memory=memory)
        for mine, theirs in zip(many.levels, one.levels, strict=True):
            assert np.array_equal(mine, theirs[layout.ids])
        assert many.depths.tobytes() == one.depths[layout.ids].tobytes()
        assert np.array_equal(many.against, one.against[layout.owner(one.against[:, 0]) == WORLD.rank])
        held = layout.owner(one.first) == WORLD.rank
        for name in ("first", "second", "count"):
            assert np.array_equal(getattr(many, name), getattr(one, name)[held]), name


def check_exchange(comm: MPI.Comm) -> None:
    rows = np.arange(5 * comm.rank)
    owners = rows % comm.size
    columns = [rows, rows.astype(np.float16) / 2, np.column_stack([rows, -rows, rows + comm.rank]), rows > 7]
    expected = [np.arange(5 * rank)[comm.rank :: comm.size] for rank in range(comm.size)]
    ranks = np.repeat(np.arange(comm.size), list(map(len, expected)))
    sent = np.concatenate(expected)
    found = exchange(comm, owners, columns)
    assert [column.dtype for column in found] == [column.dtype for column in columns]
    assert np.array_equal(found[0], sent)
    assert np.array_equal(found[1], sent / 2)
    assert np.array_equal(found[2], np.column_stack([sent, -sent, sent + ranks]))
    assert np.array_equal(found[3], sent > 7)
    nothing = exchange(comm, rows[:0], [rows[:0], np.zeros((0, 3))])
    assert [column.shape for column in nothing] == [(0,), (0, 3)]
    assert find_most(comm, comm.rank * 3) == 3 * (comm.size - 1)


def check_layout(comm: MPI.Comm) -> None:
    for sizes in (SIZES, [0], [0, 0, 5], [1] * 20):
        layout = Layout(comm, np.cumsum([0, *sizes]))
        every = np.arange(sum(sizes))
        assert layout.count == len(every)
        assert np.array_equal(layout.ids, every[layout.owner(every) == comm.rank])
        assert np.array_equal(layout.local(layout.ids), np.arange(len(layout.ids)))
        assert np.array_equal(layout.ids, np.sort(layout.ids))
        held = gather_rows(comm, layout.ids[:, None])[:, 0]
        assert np.array_equal(np.sort(held), every)
        if not len(every):
            assert look_up(layout, every, every * 2.5).shape == (0,)
            continue
        asked = np.random.default_rng(comm.rank).integers(0, len(every), 30 * (comm.rank % 2))
        assert np.array_equal(look_up(layout, asked, layout.ids * 2.5), asked * 2.5)
        pairs = np.column_stack([layout.ids, -layout.ids])
        assert np.array_equal(look_up(layout, asked, pairs), np.column_stack([asked, -asked]))


def check_chains(comm: MPI.Comm) -> None:
    """Chains of random nodes, circles among them, are the same on all ranks, and so is what lies in containers."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(0, 90, 7)
        alone, layout = (Layout(each, np.cumsum([0, *sizes])) for each in (MPI.COMM_SELF, comm))
        count = alone.count
        ends = rng.permutation(2 * count)[: 2 * int(count * (0.9 + seed / 80))].reshape(-1, 2)
        best = np.full(2 * count, -1)
        best[ends[:, 0]], best[ends[:, 1]] = ends[:, 1], ends[:, 0]
        best[rng.integers(0, 2 * count, 3)] = rng.integers(0, 2 * count, 3)  # not mutual
        gaps, lengths = np.full(2 * count, -7), rng.integers(20, 90, count)
        inner = np.flatnonzero(rng.random(count) < 0.3)
        inner = inner[inner > 0]
        containers, offsets = np.full(count, -1), np.zeros(count, np.int64)
        containers[inner] = 2 * rng.integers(0, inner) + rng.integers(0, 2, len(inner))
        offsets[inner] = rng.integers(0, 9, len(inner))
        expected = place_contained(alone, walk(alone, best, gaps, lengths), containers, offsets, lengths)
        own = layout.ids
        both = (2 * own[:, None] + [0, 1]).reshape(-1)
        arrays = (containers[own], offsets[own], lengths[own])
        found = place_contained(layout, walk(layout, best[both], gaps[both], lengths[own]), *arrays)
        for name in vars(expected):
            assert np.array_equal(getattr(found, name), getattr(expected, name)[own]), (seed, name)


for communicator in (MPI.COMM_SELF, WORLD):
    for check in (check_exchange, check_layout, check_chains):
        check(communicator)
check_links(make_pairs(), "illumina")
check_links(make_long_reads(), "ont")
print(f"rank {WORLD.rank} of {WORLD.size} is done", flush=True)
