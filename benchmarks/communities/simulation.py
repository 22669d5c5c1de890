"""Simulated reads whose origin is known: pairs from art_illumina, long reads from a small model of our own.

Both the demo and the benchmark communities are made with it. The same inputs and seeds give the same bytes.
"""

import gzip
import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from readclade.errors import InputError, ReadcladeError

INSERT_MEAN_BP, INSERT_SD_BP = 350, 50
ART_PROFILES = {150: "HS25", 250: "MSv3"}  # the longest read of each of ART's profiles
SUBSTITUTED, INSERTED, DELETED = 0.4, 0.3, 0.3  # shares of all errors

BASES = np.frombuffer(b"ACGTN", dtype=np.uint8)
CODES = np.zeros(256, dtype=np.uint8)
CODES[BASES] = range(5)
COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")
TO_LETTERS = bytes(base if base in b"ACGT" else ord("N") for base in range(256))
# Illumina's four levels of quality: about what today's sequencers write, and it compresses well.
BINNED = bytes(33 + (2 if q < 7 else 12 if q < 18 else 23 if q < 30 else 37) for q in range(94))
BIN_QUALITIES = bytes.maketrans(bytes(range(33, 127)), BINNED)


class LongReads(NamedTuple):
    """What the long reads of a sample look like; the defaults are the demo's."""

    median_bp: float = 4500  # lognormal: with sigma 0.5 the mean is 4500 * exp(0.5**2 / 2) = 5.1 kb
    sigma: float = 0.5
    min_bp: int = 500
    max_bp: int = 25_000
    phreds: tuple[int, ...] = (12, 13, 14)  # error rates 6.3, 5.0, 4.0 %: 5.1 % on average
    phred_shares: tuple[float, ...] = (0.25, 0.5, 0.25)


class Organism(Protocol):
    """What `write_sample` has to know of a member of a community."""

    name: str  # its bin in the truth
    taxid: str


def describe_long_reads(mean_bp: float, error_rate: float, sigma: float = 0.5) -> LongReads:
    """Return long reads of a mean length and of about an error rate, which Phred's whole numbers can only approach.

    Args:
        mean_bp: mean length of the templates before they are clipped to a tenth and five times of it.
        error_rate: errors per base, above 0 and at most 0.5.
        sigma: of the lognormal lengths, >= 0.

    Source: the mean of a lognormal distribution, exp(mu + sigma**2 / 2).
    """
    phred = max(2, round(-10 * math.log10(error_rate)))
    return LongReads(
        median_bp=mean_bp / math.exp(sigma**2 / 2),
        sigma=sigma,
        min_bp=round(mean_bp / 10),
        max_bp=round(mean_bp * 5),
        phreds=(phred - 1, phred, phred + 1),
    )


def read_fasta(path: Path, remedy: str) -> dict[str, bytes]:
    """Return the records of a gzipped FASTA by their header's first word, all but ACGT written as N."""
    if not path.is_file():
        raise InputError("the file is missing", path=path, remedy=remedy)
    records = {}
    for record in gzip.decompress(path.read_bytes()).split(b">")[1:]:
        header, _, sequence = record.partition(b"\n")
        records[header.split()[0].decode()] = b"".join(sequence.split()).upper().translate(TO_LETTERS)
    return records


def write_gzip(path: Path, content: bytes, level: int = 9) -> None:
    """Write one gzip member without a time or a name, so that the same content gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=level, fileobj=raw, mtime=0) as file:
        file.write(content)


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


def simulate_long_reads(
    genome: bytes, coverage_x: float, rng: np.random.Generator, look: LongReads | None = None
) -> list[tuple[bytes, bytes]]:
    """Draw single long reads from both strands of a linear genome until their templates cover it as asked.

    Args:
        genome: bases, ACGTN.
        coverage_x: mean depth of the templates, >= 0.
        rng: the source of chance; the same state gives the same reads.
        look: the reads' lengths and qualities; None means the demo's.

    Returns:
        (sequence, qualities) of each read; the qualities, Phred + 33, are constant within a read and true: its errors
        were drawn at that rate.
    """
    look = look or LongReads()
    reads, drawn_bp = [], 0
    while drawn_bp < coverage_x * len(genome):
        length_bp = int(np.clip(rng.lognormal(np.log(look.median_bp), look.sigma), look.min_bp, look.max_bp))
        length_bp = min(length_bp, len(genome))
        start = int(rng.integers(0, len(genome) - length_bp + 1))
        template = genome[start : start + length_bp]
        if rng.random() < 0.5:
            template = template.translate(COMPLEMENT)[::-1]
        phred = int(rng.choice(look.phreds, p=look.phred_shares))
        sequence = add_errors(template, 10 ** (-phred / 10), rng)
        reads.append((sequence, bytes([33 + phred]) * len(sequence)))
        drawn_bp += length_bp
    return reads


def check_art() -> None:
    """Refuse to begin where art_illumina is not installed."""
    if not shutil.which("art_illumina"):
        remedy = "Install the Debian package art-nextgen-simulation-tools."
        raise ReadcladeError("art_illumina is missing", remedy=remedy)


def simulate_pairs(
    genome: bytes, coverage_x: float, seed: int, read_bp: int = 150
) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """Draw read pairs with art_illumina's profile of a HiSeq 2500, or of a MiSeq for reads beyond 150 bases.

    Args:
        genome: bases, ACGTN; ART draws no read across an N.
        coverage_x: mean depth of both mates together.
        seed: ART's.
        read_bp: length of each mate, at most 250.

    Returns:
        (sequence 1, qualities 1, sequence 2, qualities 2) of each pair, the qualities binned.
    """
    profile = next((name for longest_bp, name in ART_PROFILES.items() if read_bp <= longest_bp), None)
    if profile is None:
        raise ReadcladeError(f"no profile of art_illumina has reads of {read_bp} bases", remedy="Ask for 250 at most.")
    insert_bp = max(INSERT_MEAN_BP, 2 * read_bp)
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder, "genome.fa")
        fasta.write_bytes(b">genome\n" + genome + b"\n")
        command = ["art_illumina", "-ss", profile, "-p", "-na", "-q", "-l", read_bp, "-m", insert_bp]
        command += ["-s", INSERT_SD_BP, "-f", coverage_x, "-rs", seed, "-i", fasta, "-o", Path(folder, "mate")]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            raise ReadcladeError(f"art_illumina failed: {done.stderr}")
        lines1, lines2 = (Path(folder, f"mate{mate}.fq").read_bytes().split(b"\n") for mate in (1, 2))
    pairs = zip(lines1[1::4], lines1[3::4], lines2[1::4], lines2[3::4], strict=True)
    return [(s1, q1.translate(BIN_QUALITIES), s2, q2.translate(BIN_QUALITIES)) for s1, q1, s2, q2 in pairs]


def write_sample(
    out: Path,
    sample: str,
    organisms: list[Organism],
    reads: list[list[tuple]],
    rng: np.random.Generator,
    *,
    platform: str,
    level: int = 9,
    plain_truth_bytes: int = 1_000_000,
) -> list[str]:
    """Shuffle the fragments of all organisms, write FASTQ and truth, and return the sample's row of samples.tsv.

    Args:
        out: the folder that samples.tsv will lie in.
        sample: its name, which the reads' names begin with.
        organisms: where the reads come from.
        reads: per organism, its fragments as (sequence, qualities) of each mate in turn.
        rng: orders the fragments.
        platform: what samples.tsv says of it.
        level: of gzip, 1 to 9.
        plain_truth_bytes: a larger truth is compressed.
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
        write_gzip(out / name, b"".join(fastq), level)
    truth, truth_name = ("\n".join(rows) + "\n").encode(), f"truth/{sample}.tsv"
    if len(truth) > plain_truth_bytes:
        truth_name += ".gz"
        write_gzip(out / truth_name, truth, level)
    else:
        (out / "truth").mkdir(parents=True, exist_ok=True)
        (out / truth_name).write_bytes(truth)
    return [sample, *fastq_names, *[""] * (not is_paired), platform, truth_name]


def write_table(path: Path, *rows: list[str]) -> None:
    """Write rows tab separated."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
