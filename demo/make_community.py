"""Make the demo community: slices of twelve real genomes, and two samples of simulated reads with their truth.

    python demo/make_community.py --genomes GENOMES --out demo     # cut the slices anew, then simulate
    python demo/make_community.py --out demo                       # simulate from the slices already in demo/

The community is `community.tsv` beside this script. The first form wants its source genomes (origin.md says where they
come from), the second only what is shipped. Short reads come from art_illumina (Debian: art-nextgen-simulation-tools),
long ones from benchmarks/communities/simulation.py. The same inputs, seed and versions give the same bytes.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from benchmarks.communities.simulation import (
    check_art,
    read_fasta,
    simulate_long_reads,
    simulate_pairs,
    write_gzip,
    write_sample,
    write_table,
)
from readclade.cli import run


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


def cut_slices(organisms: list[Organism], genomes: Path, out: Path) -> None:
    """Cut every slice of the community from the source genomes and write it as a FASTA of its own."""
    for piece, name in get_slice_paths(organisms).items():
        path = genomes / f"{piece.genome}.fa.gz"
        records = read_fasta(path, "put the source genome there, origin.md names its origin")
        # A file of one record may name it otherwise than INSDC does (`chr1`).
        record = next(iter(records)) if len(records) == 1 else piece.accession
        if len(records.get(record, b"")) < piece.end:
            sys.exit(f"make_community: {path} does not reach {piece.accession}:{piece.end}: get that version of it")
        sequence = records[record][piece.start - 1 : piece.end].decode()
        lines = [f">{piece.accession}:{piece.start}-{piece.end} {piece.genome.replace('_', ' ')}"]
        lines += [sequence[i : i + 80] for i in range(0, len(sequence), 80)]
        write_gzip(out / name, ("\n".join(lines) + "\n").encode())


def main() -> None:
    """Parse the command line and write the community."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=Path, metavar="DIR", help="source genomes (default: the slices in --out)")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="the demo's folder")
    parser.add_argument("--seed", type=int, default=1, help="of all simulation and shuffling (default: 1)")
    args = parser.parse_args()
    check_art()

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
        write_sample(args.out, "pairs", organisms, pairs, shuffler, platform="illumina"),
        write_sample(args.out, "long", organisms, long, shuffler, platform="ont"),
    )
    write_table(
        args.out / "references.tsv",
        ["accession", "fasta", "taxid", "lineage"],
        *([o.reference.accession, slice_paths[o.reference], o.taxid, o.lineage] for o in organisms if o.reference),
    )


if __name__ == "__main__":
    run(main)
