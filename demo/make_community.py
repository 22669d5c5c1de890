"""Make the demo community: slices of twelve real genomes, and two samples of simulated reads with their truth.

    python demo/make_community.py --genomes GENOMES --out demo     # cut the slices anew, then simulate
    python demo/make_community.py --out demo                       # simulate from the slices already in demo/

The community is `community.tsv` beside this script. The first form wants its source genomes (README.md says where they
come from), the second only what is shipped. Short reads come from art_illumina (Debian: art-nextgen-simulation-tools),
long ones from `simulate_long_reads`. The same inputs, seed and versions give the same bytes.
"""

import argparse
import csv
import gzip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

READ_BP = 150  # of each mate
INSERT_MEAN_BP, INSERT_SD_BP = 350, 50
LONG_MEDIAN_BP, LONG_SIGMA = 4500, 0.5  # lognormal: the mean is 4500 * exp(0.5**2 / 2) = 5.1 kb
LONG_MIN_BP, LONG_MAX_BP = 500, 25_000
LONG_PHRED, LONG_PHRED_SHARE = (12, 13, 14), (0.25, 0.5, 0.25)  # error rates 6.3, 5.0, 4.0 %: 5.1 % on average
SUBSTITUTED, INSERTED, DELETED = 0.4, 0.3, 0.3  # shares of all errors
PLAIN_TRUTH_BYTES = 1_000_000  # a larger truth is compressed

BASES = np.frombuffer(b"ACGTN", dtype=np.uint8)
CODES = np.zeros(256, dtype=np.uint8)
CODES[BASES] = range(5)
COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")
# Illumina's four levels of quality: about what today's sequencers write, and it compresses well.
BINNED = bytes(33 + (2 if q < 7 else 12 if q < 18 else 23 if q < 30 else 37) for q in range(94))
BIN_QUALITIES = bytes.maketrans(bytes(range(33, 127)), BINNED)


class Slice(NamedTuple):
    """A stretch of one record, 1-based, both ends included."""

    genome: str  # stem of the source genome's file
    accession: str
    start: int
    end: int


class Organism(NamedTuple):
    """One member of the community."""

    name: str  # the species, with underscores
    taxid: str  # NCBI's, of the species
    lineage: str  # d__;p__;c__;o__;f__;g__;s__ with NCBI's names
    pairs_x: float  # mean depth in the sample `pairs`
    long_x: float  # mean depth in the sample `long`
    reads: Slice  # where the reads come from
    reference: Slice | None  # what may be known of the organism; None makes it new


def read_community(path: Path) -> list[Organism]:
    """Return the members of the community in the table's order."""

    def parse_slice(genome: str, place: str) -> Slice | None:
        accession, _, span = place.partition(":")
        return Slice(genome, accession, *map(int, span.split("-"))) if genome else None

    with path.open(newline="") as file:
        return [
            Organism(
                name=row["lineage"].rpartition("s__")[2].replace(" ", "_"),
                taxid=row["taxid"],
                lineage=row["lineage"],
                pairs_x=float(row["pairs_x"]),
                long_x=float(row["long_x"]),
                reads=parse_slice(row["reads"], row["reads_slice"]),
                reference=parse_slice(row["reference"], row["reference_slice"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def get_slice_paths(organisms: list[Organism]) -> dict[Slice, str]:
    """Return where each slice lies: `genomes/` holds the references, `sources/` what only gives reads."""
    paths = {o.reads: f"sources/{o.reads.genome}.fa.gz" for o in organisms}
    return paths | {o.reference: f"genomes/{o.reference.genome}.fa.gz" for o in organisms if o.reference}


def read_fasta(path: Path, remedy: str) -> dict[str, bytes]:
    """Return the records of a gzipped FASTA by their header's first word, all but ACGT written as N."""
    if not path.is_file():
        sys.exit(f"make_community: {path} is missing: {remedy}")
    to_letters = bytes(base if base in b"ACGT" else ord("N") for base in range(256))
    records = {}
    for record in gzip.decompress(path.read_bytes()).split(b">")[1:]:
        header, _, sequence = record.partition(b"\n")
        records[header.split()[0].decode()] = b"".join(sequence.split()).upper().translate(to_letters)
    return records


def write_gzip(path: Path, content: bytes) -> None:
    """Write one gzip member without a time or a name, so that the same content gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(content)


def cut_slices(organisms: list[Organism], genomes: Path, out: Path) -> None:
    """Cut every slice of the community from the source genomes and write it as a FASTA of its own."""
    for piece, name in get_slice_paths(organisms).items():
        path = genomes / f"{piece.genome}.fa.gz"
        records = read_fasta(path, "put the source genome there, README.md names its origin")
        # A file of one record may name it otherwise than INSDC does (`chr1`).
        record = next(iter(records)) if len(records) == 1 else piece.accession
        if len(records.get(record, b"")) < piece.end:
            sys.exit(f"make_community: {path} does not reach {piece.accession}:{piece.end}: get that version of it")
        sequence = records[record][piece.start - 1 : piece.end].decode()
        lines = [f">{piece.accession}:{piece.start}-{piece.end} {piece.genome.replace('_', ' ')}"]
        lines += [sequence[i : i + 80] for i in range(0, len(sequence), 80)]
        write_gzip(out / name, ("\n".join(lines) + "\n").encode())


def add_errors(template: bytes, error_rate: float, rng: np.random.Generator) -> bytes:
    """Copy a template with errors: at each base a substitution, an insertion after it, its deletion, or nothing.

    Args:
        template: the true bases, ACGTN.
        error_rate: errors per template base, above 0 and at most 1; SUBSTITUTED, INSERTED and DELETED share them out.
        rng: the source of chance.

    Returns:
        The read's bases, ACGTN.
    """
    codes = CODES[np.frombuffer(template, dtype=np.uint8)]  # (bases,), 0..4 for ACGTN
    chance = rng.random(len(codes)) / error_rate
    is_substituted = (chance < SUBSTITUTED) & (codes < 4)
    is_inserted = (chance >= SUBSTITUTED) & (chance < SUBSTITUTED + INSERTED)
    is_deleted = (chance >= SUBSTITUTED + INSERTED) & (chance < SUBSTITUTED + INSERTED + DELETED)
    codes[is_substituted] = (codes[is_substituted] + rng.integers(1, 4, is_substituted.sum())) % 4
    copies = 1 + is_inserted.astype(int) - is_deleted
    read = np.repeat(codes, copies)
    read[np.cumsum(copies)[is_inserted] - 1] = rng.integers(0, 4, is_inserted.sum())
    return BASES[read].tobytes()


def simulate_long_reads(genome: bytes, coverage_x: float, rng: np.random.Generator) -> list[tuple[bytes, bytes]]:
    """Draw single long reads from both strands of a linear genome until their templates cover it as asked.

    Args:
        genome: bases, ACGTN, at least LONG_MIN_BP of them.
        coverage_x: mean depth of the templates, >= 0.
        rng: the source of chance; the same state gives the same reads.

    Returns:
        (sequence, qualities) of each read; the qualities, Phred + 33, are constant within a read and true: its errors
        were drawn at that rate.
    """
    reads, drawn_bp = [], 0
    while drawn_bp < coverage_x * len(genome):
        length_bp = int(np.clip(rng.lognormal(np.log(LONG_MEDIAN_BP), LONG_SIGMA), LONG_MIN_BP, LONG_MAX_BP))
        length_bp = min(length_bp, len(genome))
        start = int(rng.integers(0, len(genome) - length_bp + 1))
        template = genome[start : start + length_bp]
        if rng.random() < 0.5:
            template = template.translate(COMPLEMENT)[::-1]
        phred = int(rng.choice(LONG_PHRED, p=LONG_PHRED_SHARE))
        sequence = add_errors(template, 10 ** (-phred / 10), rng)
        reads.append((sequence, bytes([33 + phred]) * len(sequence)))
        drawn_bp += length_bp
    return reads


def simulate_pairs(genome: bytes, coverage_x: float, seed: int) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """Draw read pairs with art_illumina's HiSeq 2500 profile.

    Args:
        genome: bases, ACGTN; ART draws no read across an N.
        coverage_x: mean depth of both mates together.
        seed: ART's.

    Returns:
        (sequence 1, qualities 1, sequence 2, qualities 2) of each pair, the qualities binned.
    """
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder, "genome.fa")
        fasta.write_bytes(b">genome\n" + genome + b"\n")
        command = ["art_illumina", "-ss", "HS25", "-p", "-na", "-q", "-l", READ_BP, "-m", INSERT_MEAN_BP]
        command += ["-s", INSERT_SD_BP, "-f", coverage_x, "-rs", seed, "-i", fasta, "-o", Path(folder, "mate")]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"make_community: art_illumina failed: {done.stderr}")
        lines1, lines2 = (Path(folder, f"mate{mate}.fq").read_bytes().split(b"\n") for mate in (1, 2))
    pairs = zip(lines1[1::4], lines1[3::4], lines2[1::4], lines2[3::4], strict=True)
    return [(s1, q1.translate(BIN_QUALITIES), s2, q2.translate(BIN_QUALITIES)) for s1, q1, s2, q2 in pairs]


def write_sample(
    out: Path, sample: str, organisms: list[Organism], reads: list[list[tuple]], rng: np.random.Generator
) -> list[str]:
    """Shuffle the fragments of all organisms, write FASTQ and truth, and return the sample's row of samples.tsv.

    Args:
        out: the demo's folder.
        sample: its name, which the reads' names begin with.
        organisms: where the reads come from.
        reads: per organism, its fragments as (sequence, qualities) of each mate in turn.
        rng: orders the fragments.
    """
    fragments = [(organism, fields) for organism, some in zip(organisms, reads, strict=True) for fields in some]
    is_paired = len(fragments[0][1]) == 4
    suffixes = ["/1", "/2"] if is_paired else [""]
    fastqs = [[] for _ in suffixes]
    rows = ["@Version:0.9.1", f"@SampleID:{sample}", "@@SEQUENCEID\tBINID\tTAXID\t_LENGTH"]
    for number, place in enumerate(rng.permutation(len(fragments)), start=1):
        organism, fields = fragments[place]
        name = f"{sample}.{number:06d}"
        for fastq, suffix, sequence, qualities in zip(fastqs, suffixes, fields[::2], fields[1::2], strict=True):
            fastq.append(b"@%s%s\n%s\n+\n%s\n" % (name.encode(), suffix.encode(), sequence, qualities))
        rows.append(f"{name}\t{organism.name}\t{organism.taxid}\t{sum(map(len, fields[::2]))}")

    fastq_names = [f"reads/{sample}{suffix.replace('/', '_')}.fastq.gz" for suffix in suffixes]
    for name, fastq in zip(fastq_names, fastqs, strict=True):
        write_gzip(out / name, b"".join(fastq))
    truth, truth_name = ("\n".join(rows) + "\n").encode(), f"truth/{sample}.tsv"
    if len(truth) > PLAIN_TRUTH_BYTES:
        truth_name += ".gz"
        write_gzip(out / truth_name, truth)
    else:
        (out / "truth").mkdir(parents=True, exist_ok=True)
        (out / truth_name).write_bytes(truth)
    return [sample, *fastq_names, *[""] * (not is_paired), "illumina" if is_paired else "ont", truth_name]


def write_table(path: Path, *rows: list[str]) -> None:
    """Write rows tab separated."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows))


def main() -> None:
    """Parse the command line and write the community."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=Path, metavar="DIR", help="source genomes (default: the slices in --out)")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="the demo's folder")
    parser.add_argument("--seed", type=int, default=1, help="of all simulation and shuffling (default: 1)")
    args = parser.parse_args()
    if not shutil.which("art_illumina"):
        sys.exit("make_community: art_illumina is missing: install the Debian package art-nextgen-simulation-tools")

    organisms = read_community(Path(__file__).with_name("community.tsv"))
    if args.genomes:
        cut_slices(organisms, args.genomes, args.out)
    slice_paths = get_slice_paths(organisms)
    pairs, long = [], []
    for number, organism in enumerate(organisms):
        slice_path = args.out / slice_paths[organism.reads]
        (genome,) = read_fasta(slice_path, "pass --genomes to cut it anew").values()
        pairs.append(simulate_pairs(genome, organism.pairs_x, 1000 * args.seed + number))
        long.append(simulate_long_reads(genome, organism.long_x, np.random.default_rng([args.seed, number])))

    shuffler = np.random.default_rng(args.seed)
    write_table(
        args.out / "samples.tsv",
        ["sample", "fq1", "fq2", "platform", "truth"],
        write_sample(args.out, "pairs", organisms, pairs, shuffler),
        write_sample(args.out, "long", organisms, long, shuffler),
    )
    write_table(
        args.out / "references.tsv",
        ["accession", "fasta", "taxid", "lineage"],
        *([o.reference.accession, slice_paths[o.reference], o.taxid, o.lineage] for o in organisms if o.reference),
    )


if __name__ == "__main__":
    main()
