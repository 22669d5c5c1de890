"""Check that overlaps of long reads are the same on this number of ranks as on one, within any memory.

mpiexec -n 3 python -m mpi4py check_overlaps.py
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from benchmarks.communities.simulation import read_fasta, simulate_long_reads
from readclade.clustering.links.fetching import fetch_reads
from readclade.clustering.links.long_reads import overlap_long_reads
from readclade.clustering.links.sequences import encode_sequences
from readclade.clustering.ranks.exchange import Layout

WORLD = MPI.COMM_WORLD
GENOMES = Path(__file__).parents[2] / "demo/genomes"
SIZES = [300, 0, 1, 0, 250, 87, 0]  # uneven and empty shards; on more than seven ranks some have none


def make_reads() -> list[str]:
    """Return reads of a phage and a chloroplast, copies, and reads of two letters, unknown ones, few, and none."""
    rng = np.random.default_rng(2)
    reads = []
    for name, coverage in (("Enterobacteria_phage_lambda", 15), ("Arabidopsis_thaliana_chloroplast", 5)):
        (genome,) = read_fasta(GENOMES / f"{name}.fa.gz", "").values()
        reads += [sequence.decode() for sequence, _ in simulate_long_reads(genome, coverage, rng)]
    rng.shuffle(reads)
    return [*reads, *reads[:5], "", "ACGT", "AC" * 2000, "N" * 50 + reads[7][:2000] + "N" + reads[7][2000:]]


def make_shards(reads: list[str]) -> list[pa.Table]:
    """Return the reads in shards whose sizes are as uneven as SIZES."""
    bounds = np.cumsum([0, *SIZES]) * len(reads) // sum(SIZES)
    parts = [reads[begin:end] for begin, end in pairwise(bounds)]
    schema = pa.schema([("sequence", pa.string()), ("mate", pa.string())])
    return [pa.table({"sequence": part, "mate": [""] * len(part)}, schema=schema) for part in parts]


def take(columns, held: np.ndarray):
    return [column[held] for column in columns]


def check_overlaps(shards: list[pa.Table]) -> None:
    alone = Layout(MPI.COMM_SELF, np.cumsum([0, *map(len, shards)]))
    layout, reads = Layout(WORLD, alone.firsts), Layout(WORLD, 2 * alone.firsts)
    ends = Layout(WORLD, 4 * alone.firsts)
    rates = np.where(alone.ids % 3 == 0, np.nan, 0.05 + alone.ids % 10 / 1e4).astype(np.float32)
    one, one_verified = overlap_long_reads(alone, encode_sequences(shards), rates)
    first, second = next(one.iterate_links())
    assert len(first) > 1000
    assert (one.containers >= 0).sum() > 20
    assert (one.best[one.best[one.best >= 0]] >= 0).sum() > 50
    assert 0.02 < one.error_rate < 0.1
    assert np.array_equal(np.lexsort([second, first]), np.arange(len(first)))
    held = reads.owner(first) == WORLD.rank
    own = [*take((one.best, one.overlaps), ends.ids), *take((one.containers, one.offsets, one.lengths), reads.ids)]
    own += [*take((first, second), held), one.error_rates[layout.ids]]
    for memory in (4 * 10**9, 3_000_000):  # the second takes two turns or more
        sequences = encode_sequences(shards[WORLD.rank :: WORLD.size])
        many, many_verified = overlap_long_reads(layout, sequences, rates[layout.ids], memory)
        assert many.error_rate == one.error_rate
        columns = [many.best, many.overlaps, many.containers, many.offsets, many.lengths]
        columns += [*next(many.iterate_links()), many.error_rates]
        for number, (mine, theirs) in enumerate(zip(columns, own, strict=True)):
            assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes()), number
        for name in many_verified.__dataclass_fields__:
            mine, theirs = getattr(many_verified, name), getattr(one_verified, name)[held]
            assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes()), name


def check_fetching(shards: list[pa.Table]) -> None:
    reads = Layout(WORLD, 2 * np.cumsum([0, *map(len, shards)]))
    every = encode_sequences(shards)
    sequences = encode_sequences(shards[WORLD.rank :: WORLD.size])
    for size in (0, 1, 400 * (WORLD.rank % 2), 3000):
        asked = np.random.default_rng(WORLD.rank).integers(0, reads.count, size)
        found = fetch_reads(reads, asked, sequences)
        assert np.array_equal(found.read_lengths[found.places], every.read_lengths[asked])
        for place, read in zip(found.places, asked, strict=True):
            words = (every.read_lengths[read] + 31) // 32
            mine, theirs = found.begins[place], every.begins[read]
            assert np.array_equal(found.words[mine : mine + words], every.words[theirs : theirs + words])
        assert len(found.words) >= found.begins[-1] + 2
        if WORLD.size > 1:
            assert len(found.read_lengths) == len(np.unique(asked))


made = make_shards(make_reads())
check_fetching(made)
check_overlaps(made)
print(f"rank {WORLD.rank} of {WORLD.size} is done", flush=True)
