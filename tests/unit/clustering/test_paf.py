"""overlaps.paf.gz: what it says is true of simulated reads, by a parser of our own and by minimap2."""

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from mpi4py import MPI

from benchmarks.communities.simulation import COMPLEMENT, read_fasta
from readclade.clustering.job import Parameters, cluster_fragments
from tests.mpi.conftest import fit, write_sample


class Line(NamedTuple):
    """A line of PAF, but for what is always the same."""

    query: str
    query_length: int
    query_begin: int
    query_end: int
    strand: str
    target: str
    target_length: int
    target_begin: int
    target_end: int
    matches: int
    bases: int
    divergence: float
    edits: int


class Read(NamedTuple):
    """A read, and where in the genome each of its bases comes from."""

    sequence: str
    positions: np.ndarray


def parse(path: Path) -> list[Line]:
    lines = []
    for text in gzip.decompress(path.read_bytes()).decode().splitlines():
        columns = text.split("\t")
        assert columns[11] == "255"
        tags = dict(tag.split(":", 1) for tag in columns[12:])
        assert tags["NM"].startswith("i:")
        assert tags["dv"].startswith("f:")
        numbers = {1, 2, 3, 6, 7, 8, 9, 10}
        values = [int(value) if at in numbers else value for at, value in enumerate(columns[:11])]
        lines.append(Line(*values, float(tags["dv"][2:]), int(tags["NM"][2:])))
    return lines


def write(folder: Path, platform: str, fragments: list, cuts: list[int]) -> list[Line]:
    """Cluster (name, sequence, mate) fragments, and return the lines of overlaps.paf.gz."""
    manifest = write_sample(folder / "reads", platform, fragments, cuts, fit(fragments))
    parameters = Parameters("lsh", None, 0, 8, 2)
    cluster_fragments(MPI.COMM_SELF, [manifest], folder / "out", parameters, has_overlaps=True)
    names = ["assignments.parquet", "binning.tsv", "clusters.h5", "overlaps.paf.gz"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == names
    return parse(folder / "out/overlaps.paf.gz")


def draw(rng, genome: bytes, begin: int, size: int, rate: float, indels: float) -> Read:
    """Return a read of either strand with substitutions, and insertions and deletions."""
    positions = np.arange(begin, begin + size)
    chance = rng.random(size)
    positions = np.repeat(positions, 1 + (chance < indels / 2).astype(int) - (chance > 1 - indels / 2))
    letters = np.frombuffer(genome, np.uint8)[positions]
    wrong = (rng.random(len(letters)) < rate) | (np.diff(positions, prepend=-1) == 0)
    letters[wrong] = rng.choice(np.frombuffer(b"ACGT", np.uint8), int(wrong.sum()))
    read = letters.tobytes()
    if rng.random() < 0.5:
        read, positions = read.translate(COMPLEMENT)[::-1], positions[::-1]
    return Read(read.decode(), positions)


def check_places(line: Line, reads: dict[str, Read]) -> bool:
    """Return whether both ends of an overlap come from one place, once its numbers are found to fit together."""
    query, target = reads[line.query], reads[line.target]
    assert (line.query_length, line.target_length) == (len(query.sequence), len(target.sequence))
    assert 0 <= line.query_begin < line.query_end <= line.query_length
    assert 0 <= line.target_begin < line.target_end <= line.target_length
    assert line.bases == max(line.query_end - line.query_begin, line.target_end - line.target_begin)
    assert line.matches == line.bases - line.edits
    assert line.divergence == pytest.approx(line.edits / line.bases, abs=6e-5)
    ends = query.positions[[line.query_begin, line.query_end - 1]]
    others = target.positions[[line.target_begin, line.target_end - 1]]
    return np.abs(ends - (others if line.strand == "+" else others[::-1])).max() <= 2


def list_overlaps(reads: dict[str, Read], least: int) -> dict[tuple[str, str], int]:
    """Return the bases that two reads have in common, of those that have so many."""
    spans = [(read.positions.min(), read.positions.max() + 1, name) for name, read in reads.items()]
    common = {}
    for number, (begin, end, name) in enumerate(spans):
        for other_begin, other_end, other in spans[:number]:
            bases = min(end, other_end) - max(begin, other_begin)
            if bases >= least:
                common[other, name] = bases
    return common


@pytest.fixture(scope="module")
def phage(repository) -> bytes:
    (genome,) = read_fasta(repository / "demo/genomes/Enterobacteria_phage_lambda.fa.gz", "").values()
    return genome


@pytest.fixture(scope="module")
def long_reads(phage) -> dict[str, Read]:
    """Reads of 5 % errors at 8x; one has a quotation mark in its name."""
    rng = np.random.default_rng(0)
    places = [(int(rng.integers(0, len(phage) - size)), size) for size in rng.integers(2000, 6000, 97).tolist()]
    reads = [draw(rng, phage, begin, size, 0.02, 0.03) for begin, size in places]
    return {f'long"{number}' if number == 3 else f"long.{number}": read for number, read in enumerate(reads)}


@pytest.fixture(scope="module")
def long_lines(long_reads, tmp_path_factory) -> list[Line]:
    fragments = [(name, read.sequence, "") for name, read in long_reads.items()]
    return write(tmp_path_factory.mktemp("long"), "ont", fragments, [50, 1, 46])


def test_long_reads_overlap_where_they_come_from_one_place(long_reads, long_lines):
    assert np.mean([check_places(line, long_reads) for line in long_lines]) > 0.98
    names = list(long_reads)
    order = [(names.index(line.query), names.index(line.target)) for line in long_lines]
    assert order == sorted(set(order))
    assert all(query < target for query, target in order)
    true = list_overlaps(long_reads, 600)
    found = {(line.query, line.target) for line in long_lines}
    assert len(found & set(true)) > 0.95 * len(true)
    assert np.median([line.divergence for line in long_lines]) == pytest.approx(0.09, abs=0.02)


@pytest.mark.skipif(not shutil.which("minimap2"), reason="minimap2 is not installed")
def test_minimap2_finds_the_same_overlaps(long_reads, long_lines, tmp_path):
    path = tmp_path / "reads.fa"
    path.write_text("".join(f">{name}\n{read.sequence}\n" for name, read in long_reads.items()))
    done = subprocess.run(["minimap2", "-x", "ava-ont", path, path], capture_output=True, text=True, check=True)
    theirs = {}
    for text in done.stdout.splitlines():
        columns = text.split("\t")
        one = columns[0], int(columns[2]), int(columns[3])
        other = columns[5], int(columns[7]), int(columns[8])
        theirs.setdefault((columns[4], *sorted([columns[0], columns[5]])), sorted([one, other]))
    agree = 0
    for line in long_lines:
        one = line.query, line.query_begin, line.query_end
        other = line.target, line.target_begin, line.target_end
        found = theirs.get((line.strand, *sorted([line.query, line.target])))
        if found:
            agree += abs(get_shift(line.strand, *found) - get_shift(line.strand, *sorted([one, other]))) < 100
    assert agree > 0.95 * len(long_lines)


def get_shift(strand: str, one: tuple[str, int, int], other: tuple[str, int, int]) -> float:
    """Return the diagonal in the middle of an overlap."""
    middles = (one[1] + one[2]) / 2, (other[1] + other[2]) / 2
    return middles[0] - middles[1] if strand == "+" else middles[0] + middles[1]


def test_mates_overlap_where_they_come_from_one_place(phage, tmp_path):
    """Pairs, some of them one read alone; names say which is meant. Those that end in a tail of G keep their length."""
    rng = np.random.default_rng(1)
    reads, fragments = {}, []
    for number, begin in enumerate(rng.integers(0, 8000, 400).tolist()):
        mates = [draw(rng, phage, begin + at, int(rng.integers(100, 151)), 0.004, 0) for at in (0, 200)]
        if number % 10 == 0:
            mates[1] = Read("", mates[1].positions[:0])
        if number % 10 == 1:
            mates[0] = Read(mates[0].sequence + 20 * "G", np.concatenate([mates[0].positions, np.full(20, -1)]))
        name = f"pair.{number}"
        reads |= {name: mates[0]} if number % 10 == 0 else {f"{name}/1": mates[0], f"{name}/2": mates[1]}
        fragments.append((name, mates[0].sequence, mates[1].sequence))
    lines = write(tmp_path, "illumina", fragments, [150, 250])
    assert all(check_places(line, reads) for line in lines)
    letters = {name: np.frombuffer(read.sequence.encode(), np.uint8) for name, read in reads.items()}
    for line in lines:
        one = letters[line.query][line.query_begin : line.query_end]
        other = letters[line.target][line.target_begin : line.target_end]
        if line.strand == "-":
            other = np.frombuffer(other.tobytes().translate(COMPLEMENT)[::-1], np.uint8)
        assert (one != other).sum() == line.edits
    assert sum(line.edits for line in lines) > 50
    names = list(reads)
    order = [(names.index(line.query), names.index(line.target)) for line in lines]
    assert order == sorted(order)
    found = set(map(frozenset, order))
    assert len(found) == len(order)  # each is told once
    # A read without one at an end is at the end of the genome, or lies within another.
    told = {name for line in lines for name in (line.query, line.target)}
    assert told == {name for name, read in reads.items() if read.sequence}


def test_reads_that_do_not_overlap_give_an_empty_file(phage, tmp_path):
    fragments = [(f"r{number}", phage[at : at + 200].decode(), "") for number, at in enumerate(range(0, 4000, 200))]
    assert write(tmp_path, "illumina", fragments, [20]) == []
