"""Simulate reads of genomes quickly, with true places: pairs, 5 kb reads or HiFi, of uneven depths.

Example, from the repository root, with the genomes of benchmarks/communities/fetch_genomes.py or others (*.fa.gz):
    PYTHONPATH=src .venv/bin/python benchmarks/overlaps/sim.py --genomes ~/genomes --kind pairs --out pairs.npz

Depths are log-normal (sigma 1) about a mean, and fall 1.5-fold from each record's origin to its middle. A genome's
genus is the first word of its file's name. --identity takes the first genome alone and a relative that evolved from it.
--spoil puts poly-G tails, adapters or a 5 kb element at 1000x into pairs.
"""

# ruff: noqa: NPY002 (numba compiles the legacy generator)
import gzip
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from readclade.cli import make_parser, run
from readclade.errors import InputError

ERRORS = {"pairs": 0.004, "long": 0.05, "hifi": 0.002}
LENGTHS = {"long": (5000, 0.5), "hifi": (10_000, 0.25)}  # mean, sigma of the lognormal
READ, INSERT, INSERT_SD = 150, 350, 50
# One genus for what is of one family and near: links between them are judged together.
RELATIVES = {"Salmonella": "Escherichia", "Pectobacterium": "Escherichia"}
ADAPTERS = (
    b"AGATCGGAAGAGCACACGTCTGAACTCCAGTCACATCACGATCTCGTATGCCGTCTTCTGCTTG",
    b"AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGTAGATCTCGGTGGTCGCCGTATCATT",
)
_CODES = np.full(256, 4, np.uint8)
for _code, _base in enumerate(b"ACGT"):
    _CODES[_base] = _CODES[_base + 32] = _code


class Genomes(NamedTuple):
    """Genomes by name, the number of each one's genus, and their records as codes 0 to 3, 4 for N."""

    names: list[str]
    genus: np.ndarray
    records: list[list[np.ndarray]]


def load_genomes(folder: Path, names: list[str] | None = None) -> Genomes:
    """Return the named genomes of a folder of NAME.fa.gz, or all; records below 1 kb are left out."""
    names = names or sorted(path.name.removesuffix(".fa.gz") for path in folder.glob("*.fa.gz"))
    if not names:
        raise InputError("has no *.fa.gz", path=folder, remedy="fetch_genomes.py in benchmarks/communities makes some")
    genomes = []
    for name in names:
        records = gzip.decompress((folder / f"{name}.fa.gz").read_bytes()).replace(b"\r", b"").split(b">")[1:]
        codes = [_CODES[np.frombuffer(b"".join(record.split(b"\n")[1:]), np.uint8)] for record in records]
        genomes.append([record for record in codes if len(record) >= 1000])
    words = [name.removeprefix("Zymo_").split("_")[0] for name in names]
    genus = np.unique([RELATIVES.get(word, word) for word in words], return_inverse=True)[1]
    return Genomes(names, genus, genomes)


def load_reads(path: Path) -> dict[str, np.ndarray]:
    """Return what `simulate` made."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@numba.njit(cache=True)
def _draw_places(n, size, slope, seed):
    np.random.seed(seed)
    out = np.empty(n, np.int64)
    i = 0
    while i < n:
        x = np.random.random()
        if np.random.random() < slope ** (-2 * min(x, 1 - x)):
            out[i] = int(x * size)
            i += 1
    return out


@numba.njit(cache=True)
def _make_pairs(genome, middles, inserts, rates, length, seed, codes, starts, strands):
    np.random.seed(seed)
    at = 0
    for i in range(len(middles)):
        insert = min(inserts[i], len(genome))
        s = min(max(middles[i] - insert // 2, 0), len(genome) - insert)
        is_reverse = np.random.random() < 0.5
        starts[i], strands[i] = s, is_reverse
        for mate in range(2):
            is_forward = (mate == 0) != is_reverse
            for j in range(length):
                if j >= insert:
                    c = np.random.randint(0, 4)
                    if not is_forward:
                        c = 3 - c
                elif is_forward:
                    c = genome[s + j]
                else:
                    c = genome[s + insert - 1 - j]
                    if c < 4:
                        c = 3 - c
                if c < 4 and np.random.random() < rates[i]:
                    c = (c + np.random.randint(1, 4)) % 4
                codes[at] = c
                at += 1


@numba.njit(cache=True)
def _make_long(genome, starts, lengths, strands, rates, seed, codes, ends):
    np.random.seed(seed)
    at = 0
    for i in range(len(starts)):
        s, n = starts[i], lengths[i]
        for j in range(n):
            if strands[i]:
                c = genome[s + n - 1 - j]
                if c < 4:
                    c = 3 - c
            else:
                c = genome[s + j]
            u = np.random.random() / rates[i]
            if u < 0.4:
                c = (c + np.random.randint(1, 4)) % 4 if c < 4 else c
            elif 0.7 <= u < 1:
                continue
            codes[at] = c
            at += 1
            if 0.4 <= u < 0.7:
                codes[at] = np.random.randint(0, 4)
                at += 1
        ends[i] = at


@numba.njit(cache=True)
def _shuffle(codes, begins, order, out):
    at = 0
    for i in range(len(order)):
        for j in range(begins[order[i]], begins[order[i] + 1]):
            out[at] = codes[j]
            at += 1


def simulate(kind, genomes, seed, mean=6.0, depths=None, error=None, slope=1.5):
    """Return reads and their truth.

    Args:
        kind: pairs, long or hifi.
        genomes: a Genomes.
        seed: of everything that is drawn.
        mean: depth of a genome on average; depths are drawn unless given.
        depths: (genomes,).
        error: errors per base; 40, 30 and 30 % of those of long reads are substitutions, insertions and deletions.
        slope: how often deeper a record's origin is than its middle.

    Returns:
        A dict: codes, offsets (of reads, mates side by side); genome, start, stop, strand, rate (of fragments, places
        run on from record to record); depths, genus (of genomes).
    """
    rng = np.random.default_rng([seed, 7])
    if depths is None:
        depths = mean * rng.lognormal(0, 1, len(genomes.names)) / np.exp(0.5)
    error = error or ERRORS[kind]
    parts, base = [], 0
    for g, records in enumerate(genomes.records):
        for record in records:
            part_seed = int(rng.integers(1 << 31))
            bases = depths[g] * len(record)
            if kind == "pairs":
                n = rng.poisson(bases / (2 * READ))
                middles = _draw_places(n, len(record), slope, part_seed)
                inserts = np.clip(np.rint(rng.normal(INSERT, INSERT_SD, n)), 160, 700).astype(np.int64)
                rates = error * rng.choice([0.5, 1, 2], n, p=[0.4, 0.4, 0.2])
                codes, starts, strands = np.empty(n * 2 * READ, np.uint8), np.empty(n, np.int64), np.empty(n, bool)
                _make_pairs(record, middles, inserts, rates, READ, part_seed, codes, starts, strands)
                lengths, stops = np.full(2 * n, READ), starts + inserts
            else:
                mean_bp, sigma = LENGTHS[kind]
                n = rng.poisson(bases / mean_bp)
                sizes = np.clip(rng.lognormal(np.log(mean_bp) - sigma**2 / 2, sigma, n), mean_bp / 10, mean_bp * 5)
                sizes = np.minimum(sizes.astype(np.int64), len(record))
                middles = _draw_places(n, len(record), slope, part_seed)
                starts = np.clip(middles - sizes // 2, 0, len(record) - sizes)
                rates = error * rng.choice([0.79, 1, 1.26], n, p=[0.25, 0.5, 0.25])
                strands = rng.random(n) < 0.5
                codes, ends = np.empty(int(sizes.sum() * (1 + error)) + 10_000, np.uint8), np.empty(n, np.int64)
                _make_long(record, starts, sizes, strands, rates, part_seed, codes, ends)
                codes = codes[: ends[-1] if n else 0].copy()
                lengths, stops = np.diff(ends, prepend=0), starts + sizes
            parts.append((codes, lengths, np.full(n, g, np.int16), starts + base, stops + base, strands, rates))
            base += len(record) + 100_000
    codes, lengths, genome, start, stop, strand, rate = map(np.concatenate, zip(*parts, strict=True))
    order = rng.permutation(len(genome))
    mates = 2 if kind == "pairs" else 1
    begins = np.concatenate([[0], np.cumsum(lengths)])
    shuffled = np.empty_like(codes)
    _shuffle(codes, begins[::mates], order, shuffled)
    lengths = lengths.reshape(-1, mates)[order].reshape(-1)
    return {
        "codes": shuffled,
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "genome": genome[order],
        "start": start[order],
        "stop": stop[order],
        "strand": strand[order],
        "rate": rate[order].astype(np.float32),
        "depths": np.asarray(depths),
        "genus": genomes.genus,
    }


def evolve(genome, identity, rng):
    """Return a relative of a genome: nine tenths of what differs is substituted, the rest indels of one base.

    The rate varies by windows of 1 kb as gamma(2), about 1 - identity.
    """
    windows = np.minimum(rng.gamma(2, 0.5, len(genome) // 1000 + 1) * (1 - identity), 0.6)
    is_changed = rng.random(len(genome)) < np.repeat(windows, 1000)[: len(genome)]
    kind = rng.random(len(genome))
    relative = genome.copy()
    is_substituted = is_changed & (kind < 0.9)
    relative[is_substituted] = (relative[is_substituted] + rng.integers(1, 4, is_substituted.sum())) % 4
    copies = np.ones(len(genome), np.int64)
    copies[is_changed & (kind >= 0.95)] = 0
    copies[is_changed & (kind >= 0.9) & (kind < 0.95)] = 2
    return np.repeat(relative, copies)


def add_poly_g(reads, rng, share=0.2):
    """Put tails of G (2 % errors) of 20 to 100 bases into a share of the reads, in place."""
    matrix = reads["codes"].reshape(-1, READ)
    begin = np.where(rng.random(len(matrix)) < share, rng.integers(50, 131, len(matrix)), READ)
    is_tail = np.arange(READ) >= begin[:, None]
    count = is_tail.sum()
    matrix[is_tail] = np.where(rng.random(count) < 0.98, 2, rng.integers(0, 4, count))


def add_adapters(reads, rng, share=0.2):
    """Shorten the inserts of a share of the fragments to 40 to 149 bases, in place; adapters follow them."""
    mates = reads["codes"].reshape(-1, 2, READ)
    adapters = [_CODES[np.frombuffer(adapter.ljust(READ, b"A"), np.uint8)] for adapter in ADAPTERS]
    for f in np.flatnonzero(rng.random(len(mates)) < share):
        insert = rng.integers(40, READ)
        other = np.where(mates[f, 0, :insert] < 4, 3 - mates[f, 0, :insert], 4)[::-1]
        is_wrong = rng.random(insert) < ERRORS["pairs"]
        mates[f, 1, :insert] = np.where(is_wrong, (other + 1) % 4, other)
        for mate in range(2):
            mates[f, mate, insert:] = adapters[mate][: READ - insert]


def add_element(reads, genomes, seed):
    """Return reads with 5 kb of the last genome at 1000x, as its own plasmid."""
    element = genomes.records[-1][0][100_000:105_000]
    more = simulate("pairs", Genomes(["element"], genomes.genus[-1:], [[element]]), seed, depths=np.array([1000.0]))
    more["genome"][:] = len(genomes.names) - 1
    more["start"] += 10**9
    more["stop"] += 10**9
    names = ("codes", "genome", "start", "stop", "strand", "rate")
    both = reads | {name: np.concatenate([reads[name], more[name]]) for name in names}
    return both | {"offsets": np.arange(2 * len(both["genome"]) + 1) * READ}


def main():
    """Simulate reads and write them with their truth."""
    parser = make_parser(__doc__)
    parser.add_argument("--genomes", required=True, type=Path, metavar="DIR", help="folder of NAME.fa.gz")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="only these genomes, in this order")
    parser.add_argument("--kind", choices=list(ERRORS), default="pairs")
    parser.add_argument("--mean", type=float, default=6, help="mean depth (default: %(default)s)")
    parser.add_argument("--depths", nargs="+", type=float, metavar="DEPTH", help="depth of each genome, not drawn")
    parser.add_argument("--error", type=float, metavar="RATE", help=f"errors per base (default: {ERRORS})")
    parser.add_argument("--identity", type=float, metavar="SHARE", help="of an evolved relative, 0.6 to 1")
    parser.add_argument("--spoil", choices=("poly-g", "adapters", "element"), help="what is put into pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, type=Path, metavar="READS.npz")
    arguments = parser.parse_args()
    if arguments.spoil and arguments.kind != "pairs":
        parser.error("--spoil needs --kind pairs")
    genomes = load_genomes(arguments.genomes, arguments.names)
    rng = np.random.default_rng([arguments.seed, 11])
    if arguments.identity:
        record = genomes.records[0][0]
        relative = evolve(record, arguments.identity, rng)
        genomes = Genomes([genomes.names[0], "relative"], np.array([0, 0]), [[record], [relative]])
    if arguments.depths and len(arguments.depths) != len(genomes.names):
        parser.error(f"--depths needs {len(genomes.names)} numbers")
    depths = np.array(arguments.depths) if arguments.depths else None
    reads = simulate(arguments.kind, genomes, arguments.seed, arguments.mean, depths, arguments.error)
    if arguments.spoil == "poly-g":
        add_poly_g(reads, rng)
    elif arguments.spoil == "adapters":
        add_adapters(reads, rng)
    elif arguments.spoil == "element":
        reads = add_element(reads, genomes, arguments.seed + 1)
    np.savez(arguments.out, **reads)
    print(f"{len(reads['genome']):,} fragments, {len(reads['codes']) / 1e6:.0f} Mb, depths {reads['depths'].round(1)}")


if __name__ == "__main__":
    run(main)
