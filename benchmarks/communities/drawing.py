"""What a seed decides before any read is made: which genomes, which stretch of each, how deep.

Genomes and stretches depend on the seed, the split, the number of species, the kind and number of relatives and the
length of the stretch alone, so that the same seed gives short and long reads of one community.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from genome_list import Genome
from simulation import CODES

from readclade.errors import ConfigError

RANKS = ("family", "genus", "species")
WORD = 18  # k-mers that tell homologous stretches: rare by chance among millions of bases, common at 80 % identity
BIN_BP = 10_000
SHORTEST_PIECE_BP = 2000  # of a contig cut by the end of a stretch
GENOMES, STRETCHES, COVERAGES, READS, ORDER, HELD_OUT = range(6)  # one stream of chance for each decision


class Piece(NamedTuple):
    """A stretch of one record, 1-based, both ends included."""

    record: str
    start: int
    end: int


class Coverage(NamedTuple):
    """How depths are drawn: `even` at a, `uneven` log-uniform from a to b, `lognormal` with median a and sigma b."""

    kind: str
    a: float
    b: float = 0.0


def get_rng(seed: int, decision: int, *more: int) -> np.random.Generator:
    """Return the stream of chance of one decision."""
    return np.random.default_rng([seed, decision, *more])


def parse_coverage(text: str) -> Coverage:
    """Read `8`, `uneven`, `uneven:1-10`, `lognormal` or `lognormal:5,1`."""
    kind, _, rest = text.partition(":")
    try:
        if kind == "uneven":
            low, high = map(float, (rest or "1-20").split("-"))
            coverage, is_wrong = Coverage(kind, low, high), not 0 < low <= high
        elif kind == "lognormal":
            median, sigma = map(float, (rest or "5,1").split(","))
            coverage, is_wrong = Coverage(kind, median, sigma), not (median > 0 and sigma >= 0)
        else:
            coverage = Coverage("even", float(text))
            is_wrong = not coverage.a > 0
    except ValueError:
        is_wrong = True
    if is_wrong:
        remedy = "Write a depth, uneven, uneven:LOW-HIGH, lognormal or lognormal:MEDIAN,SIGMA."
        raise ConfigError(f"{text!r} is no coverage", remedy=remedy)
    return coverage


def draw_coverages(coverage: Coverage, count: int, seed: int) -> list[float]:
    """Return the mean depth of each genome, rounded to a thousandth."""
    rng = get_rng(seed, COVERAGES)
    if coverage.kind == "uneven":
        depths = np.exp(rng.uniform(np.log(coverage.a), np.log(coverage.b), count))
    elif coverage.kind == "lognormal":
        depths = coverage.a * rng.lognormal(0, coverage.b, count)
    else:
        depths = np.full(count, coverage.a)
    return [round(max(float(depth), 0.001), 3) for depth in depths]


def get_key(genome: Genome, rank: str) -> str:
    """Return what genomes of one family, genus or species have in common, "" where NCBI names no such taxon."""
    return genome.taxid if rank == "species" else genome.get_rank(rank[0])


def list_pairs(genomes: list[Genome], rank: str) -> dict[str, list[tuple[Genome, Genome]]]:
    """Return the pairs of relatives by family: alike at a rank, and of two species, or genera, below it.

    Args:
        genomes: those that may be drawn.
        rank: `species` for two strains of one species, `genus` for two species of one genus, `family` likewise.
    """
    below = {"family": "genus", "genus": "species"}.get(rank)
    pairs = defaultdict(list)
    for i, one in enumerate(genomes):
        for other in genomes[i + 1 :]:
            is_alike = get_key(one, rank) and get_key(one, rank) == get_key(other, rank)
            if is_alike and not (below and get_key(one, below) == get_key(other, below)):
                pairs[one.get_rank("f")].append((one, other))
    return dict(pairs)


def pick(choices: list, rng: np.random.Generator):
    """Return one of several choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def pick_by_taxon(pairs: list[tuple[Genome, Genome]], rng: np.random.Generator) -> tuple[Genome, Genome]:
    """Return one of several pairs: two species as likely as any two, however many strains the list holds of them."""
    by_species = defaultdict(list)
    for pair in pairs:
        by_species[pair[0].taxid, pair[1].taxid].append(pair)
    return pick(by_species[pick(sorted(by_species), rng)], rng)


def draw_genomes(genomes: list[Genome], species: int, relatives: str, pairs: int, seed: int) -> list[Genome]:
    """Draw the genomes of a community: pairs of relatives first, and all else of families of its own.

    Args:
        genomes: those that may be drawn.
        species: how many genomes.
        relatives: `none`, or the rank at which the two of a pair are alike (`list_pairs`).
        pairs: how many pairs; each is of another family.
        seed: of the draw.

    Raises:
        ConfigError: the list does not hold enough.
    """
    rng = get_rng(seed, GENOMES)
    drawn: list[Genome] = []
    if relatives != "none":
        candidates = list_pairs(genomes, relatives)
        if pairs > len(candidates):
            remedy = "Ask for fewer with --pairs."
            raise ConfigError(f"only {len(candidates)} families hold two of one {relatives}", remedy=remedy)
        for family in rng.choice(sorted(candidates), pairs, replace=False):
            drawn += pick_by_taxon(candidates[str(family)], rng)
    taken = {genome.get_rank("f") for genome in drawn}
    by_family = defaultdict(lambda: defaultdict(list))
    for genome in genomes:
        if genome.get_rank("f") not in taken:
            by_family[genome.get_rank("f")][genome.taxid].append(genome)
    missing = species - len(drawn)
    if not 0 <= missing <= len(by_family):
        most = len(drawn) + len(by_family)
        raise ConfigError(f"{species} genomes are asked for, but this draw gives {len(drawn)} to {most}")
    for family in rng.choice(sorted(by_family), missing, replace=False):
        strains = by_family[str(family)]
        drawn.append(pick(strains[pick(sorted(strains), rng)], rng))
    return drawn


def cut_stretch(records: dict[str, bytes], start: int, size_bp: int) -> list[Piece]:
    """Cut a stretch from records laid end to end in a ring; pieces under SHORTEST_PIECE_BP are left out.

    Args:
        records: the genome.
        start: 0-based place in the ring.
        size_bp: at most the genome's length.
    """
    total = sum(map(len, records.values()))
    pieces = []
    for begin, end in ((start, min(start + size_bp, total)), (0, start + size_bp - total)):
        offset = 0
        for name, sequence in records.items():
            low, high = max(begin - offset, 0), min(end - offset, len(sequence))
            if high - low >= min(SHORTEST_PIECE_BP, size_bp):
                pieces.append(Piece(name, low + 1, high))
            offset += len(sequence)
    return pieces


def hash_words(sequence: bytes) -> np.ndarray:
    """Return the canonical k-mer (k = WORD) at each place as a number, 0 where it holds an N.

    Returns:
        (bases - WORD + 1,) uint64.
    """
    codes = CODES[np.frombuffer(sequence, dtype=np.uint8)].astype(np.uint64)
    count = len(codes) - WORD + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    forward, reverse, unknown = np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, bool)
    for i in range(WORD):
        code = codes[i : i + count]
        unknown |= code > 3
        forward = (forward << np.uint64(2)) | (code & np.uint64(3))
        reverse |= (np.uint64(3) - (code & np.uint64(3))) << np.uint64(2 * i)
    words = np.minimum(forward, reverse) + np.uint64(1)
    words[unknown] = 0
    return words


def find_homologous_start(records: dict[str, bytes], model: list[bytes], size_bp: int) -> int:
    """Return where the stretch of a genome begins that shares most k-mers with pieces of a relative.

    Args:
        records: the genome, laid end to end in a ring.
        model: the relative's pieces.
        size_bp: of the stretch, at most the genome's length.
    """
    known = np.unique(np.concatenate([hash_words(piece) for piece in model]))
    hits = np.isin(hash_words(b"".join(records.values())), known[known > 0])
    bins = np.add.reduceat(hits.astype(np.int64), np.arange(0, len(hits), BIN_BP))  # (bins,)
    width = max(1, min(round(size_bp / BIN_BP), len(bins)))
    sums = np.cumsum(np.concatenate([[0], bins, bins]))
    return int(np.argmax(sums[width : width + len(bins)] - sums[: len(bins)])) * BIN_BP


def draw_stretch(
    records: dict[str, bytes], size_bp: int, seed: int, number: int, model: list[bytes] | None = None
) -> list[Piece]:
    """Draw a stretch of a genome, where a relative's pieces are given the one that is homologous to them.

    Args:
        records: the genome by record.
        size_bp: its length; 0, or more than there is, for the whole genome.
        seed: of the draw.
        number: the genome's place in the community.
        model: pieces of a relative that was drawn before.
    """
    total = sum(map(len, records.values()))
    if size_bp == 0 or size_bp >= total:
        return cut_stretch(records, 0, total)
    if model is not None:
        return cut_stretch(records, find_homologous_start(records, model, size_bp), size_bp)
    return cut_stretch(records, int(get_rng(seed, STRETCHES, number).integers(total)), size_bp)
