"""Make a community of real genomes: simulated reads, their true origin, and the tables that the workflow takes.

Example, from the repository root, after fetch_genomes.py:
    PYTHONPATH=src .venv/bin/python benchmarks/communities/make_community.py --genomes ~/genomes \\
        --preset genera-8x --split tune --seed 1 --out ~/communities/genera-8x.tune.1

Writes into --out: reads/, truth/ (CAMI binning file: BINID the genome, TAXID its species, _LENGTH), samples.tsv,
references.tsv (the whole genomes that the reads come from), and community.json, written last: everything that decides
the reads. The same arguments give the same bytes. A preset is a row of presets.tsv; any option beside it overrides it.
"""

import csv
import json
import logging
import os
import platform
import re
import subprocess
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import NamedTuple

import drawing
import numpy as np
from genome_list import LIST, SPLITS, Genome, hash_records, read_genomes
from simulation import (
    check_art,
    describe_long_reads,
    read_fasta,
    simulate_long_reads,
    simulate_pairs,
    write_sample,
    write_table,
)

from readclade.cli import make_parser, run, start_log
from readclade.errors import ConfigError, InputError
from readclade.storage.files import write_atomically

PRESETS = Path(__file__).with_name("presets.tsv")
PLATFORMS = {"pairs": "illumina", "long": "ont", "hifi": "pacbio"}
# What an option is where neither the command line nor the preset says it.
DEFAULTS = {
    "species": 10, "relatives": "none", "pairs": 2, "coverage": "8", "read_length": 150, "slice_mb": 1.0,
    "mean_length": {"long": 5000, "hifi": 10_000}, "error_rate": {"long": 0.05, "hifi": 0.005},
}  # fmt: skip
TYPES = {"species": int, "pairs": int, "read_length": int, "mean_length": int, "error_rate": float, "slice_mb": float}
GZIP_LEVEL = 1  # communities are read once or twice, and are large
log = logging.getLogger("readclade")


class Member(NamedTuple):
    """One genome of a community."""

    genome: Genome
    coverage_x: float
    pieces: list[drawing.Piece]
    sequences: list[bytes]  # of the pieces

    @property
    def name(self) -> str:
        """Its bin in the truth."""
        return self.genome.name

    @property
    def taxid(self) -> str:
        """Its species."""
        return self.genome.taxid


def read_presets() -> dict[str, dict[str, str]]:
    """Return the rows of presets.tsv by name."""
    with PRESETS.open(newline="", encoding="utf-8") as file:
        return {row["preset"]: row for row in csv.DictReader(file, delimiter="\t")}


def settle_options(given: dict[str, object], preset: dict[str, str] | None) -> dict[str, object]:
    """Return what a community is made with: what was given, else the preset's, else the default.

    Args:
        given: options of the command line by name, None where not given.
        preset: a row of presets.tsv, or None.

    Raises:
        ConfigError: neither says the kind of the reads, or a value makes no sense.
    """
    options = {}
    for name in ("kind", *DEFAULTS):
        value = given.get(name)
        if value is None and preset and preset[name]:
            value = TYPES.get(name, str)(preset[name])
        options[name] = value
    kind = options["kind"]
    if kind is None:
        raise ConfigError("neither --preset nor --kind is given", remedy=f"Presets: {', '.join(read_presets())}.")
    for name, default in DEFAULTS.items():
        if options[name] is None:
            options[name] = default.get(kind) if isinstance(default, dict) else default
    if kind == "pairs":
        options["mean_length"] = options["error_rate"] = None
    else:
        options["read_length"] = None
    if options["relatives"] == "none":
        options["pairs"] = 0
    elif options["pairs"] < 1:
        raise ConfigError("--pairs must be 1 or more where --relatives is given")
    if options["species"] < 1 or options["slice_mb"] < 0:
        raise ConfigError("--species must be 1 or more, --slice-mb 0 (whole genomes) or more")
    if kind != "pairs" and not (0 < options["error_rate"] <= 0.5 and options["mean_length"] >= 100):
        raise ConfigError("--error-rate must be above 0 and at most 0.5, --mean-length 100 or more")
    return options


def load_genome(genome: Genome, folder: Path) -> dict[str, bytes]:
    """Return the records of a fetched genome.

    Raises:
        InputError: the file is missing, or its sequences are not those of the list.
    """
    path = folder / f"{genome.name}.fa.gz"
    remedy = "Run benchmarks/communities/fetch_genomes.py."
    records = read_fasta(path, remedy)
    # Letters beside ACGT are N here; only a genome without them can be compared with the list.
    text = {name: bases.decode() for name, bases in records.items()}
    is_plain = not any("N" in bases for bases in text.values())
    if sum(map(len, text.values())) != genome.length_bp or (is_plain and hash_records(text) != genome.sha256):
        raise InputError("the sequences are not those of the list", path=path, remedy=remedy)
    return records


def draw_members(genomes: list[Genome], folder: Path, options: dict[str, object], seed: int) -> list[Member]:
    """Draw genomes, stretches and depths.

    Args:
        genomes: those that may be drawn.
        folder: of the fetched genomes.
        options: as `settle_options` gives them.
        seed: of all.
    """
    drawn = drawing.draw_genomes(genomes, options["species"], options["relatives"], options["pairs"], seed)
    depths = drawing.draw_coverages(drawing.parse_coverage(options["coverage"]), len(drawn), seed)
    members = []
    for number, (genome, depth) in enumerate(zip(drawn, depths, strict=True)):
        records = load_genome(genome, folder)
        is_second = number < 2 * options["pairs"] and number % 2 == 1
        model = members[-1].sequences if is_second else None
        pieces = drawing.draw_stretch(records, round(options["slice_mb"] * 1e6), seed, number, model)
        sequences = [records[piece.record][piece.start - 1 : piece.end] for piece in pieces]
        members.append(Member(genome, depth, pieces, sequences))
    return members


def simulate_member(member: Member, options: dict[str, object], rng: np.random.Generator) -> list[tuple]:
    """Return the fragments of one genome."""
    fragments = []
    for sequence in member.sequences:
        if options["kind"] == "pairs":
            seed = int(rng.integers(1, 2**31 - 1))
            fragments += simulate_pairs(sequence, member.coverage_x, seed, options["read_length"])
        else:
            look = describe_long_reads(options["mean_length"], options["error_rate"])
            fragments += simulate_long_reads(sequence, member.coverage_x, rng, look)
    return fragments


def choose_held_out(text: str | None, members: list[Member], seed: int) -> set[str]:
    """Return the genomes that references.tsv leaves out: a number of them, drawn, or names separated by commas."""
    names = [member.name for member in members]
    if not text:
        return set()
    if text.isdecimal() and int(text) <= len(names):
        return set(drawing.get_rng(seed, drawing.HELD_OUT).choice(sorted(names), int(text), replace=False).tolist())
    if unknown := set(text.split(",")) - set(names):
        remedy = f"This community has {', '.join(names)}."
        raise ConfigError(f"--hold-out: {', '.join(sorted(unknown))} is not in the community", remedy=remedy)
    return set(text.split(","))


def describe_versions(kind: str) -> dict[str, str]:
    """Return the versions of what makes the reads."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if kind == "pairs":
        usage = subprocess.run(["art_illumina"], capture_output=True, text=True).stdout
        versions["art_illumina"] = found[1] if (found := re.search(r"Version (\S+)", usage)) else "unknown"
    return versions


def make_community(arguments: Namespace) -> None:
    """Draw, simulate and write."""
    preset = read_presets()[arguments.preset] if arguments.preset else None
    options = settle_options(vars(arguments), preset)
    if options["kind"] == "pairs":
        check_art()
    out, seed = arguments.out, arguments.seed
    (out / "community.json").unlink(missing_ok=True)
    listed = read_genomes(arguments.list)
    eligible = [g for g in listed if g.split == arguments.split and g.length_bp >= arguments.min_mb * 1e6]
    members = draw_members(eligible, arguments.genomes, options, seed)
    held_out = choose_held_out(arguments.hold_out, members, seed)

    fragments = []
    for number, member in enumerate(members):
        fragments.append(simulate_member(member, options, drawing.get_rng(seed, drawing.READS, number)))
        log.info(f"{member.name}: {member.coverage_x:g}x, {len(fragments[-1])} fragments")
    order = drawing.get_rng(seed, drawing.ORDER)
    row = write_sample(
        out, arguments.sample, members, fragments, order, platform=PLATFORMS[options["kind"]], level=GZIP_LEVEL
    )
    write_table(out / "samples.tsv", ["sample", "fq1", "fq2", "platform", "truth"], row)
    genomes = arguments.genomes.resolve()
    paths = {m.name: os.path.relpath(genomes / f"{m.name}.fa.gz", out.resolve()) for m in members}
    references = [[m.name, paths[m.name], m.taxid, m.genome.lineage] for m in members if m.name not in held_out]
    write_table(out / "references.tsv", ["accession", "fasta", "taxid", "lineage"], *references)
    community = {
        "preset": arguments.preset, "split": arguments.split, "seed": seed, "sample": arguments.sample,
        "min_mb": arguments.min_mb, "options": options, "held_out": sorted(held_out),
        "versions": describe_versions(options["kind"]),
        "genomes": [
            {
                "name": m.name, "accessions": m.genome.accessions, "taxid": m.taxid, "sha256": m.genome.sha256,
                "relative_of": members[i - 1].name if i % 2 and i < 2 * options["pairs"] else None,
                "coverage_x": m.coverage_x, "pieces": [piece._asdict() for piece in m.pieces],
                "fragments": len(some), "bases": sum(len(s) for fields in some for s in fields[::2]),
            }
            for i, (m, some) in enumerate(zip(members, fragments, strict=True))
        ],
    }  # fmt: skip
    write_atomically(out / "community.json", json.dumps(community, indent=2) + "\n")


def parse_coverage_text(text: str) -> str:
    """Return a coverage as it was written, if it can be read."""
    try:
        drawing.parse_coverage(text)
    except ConfigError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def main() -> None:
    """Read the arguments and make the community."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--genomes", required=True, type=Path, metavar="DIR", help="where fetch_genomes.py put them")
    add("--out", required=True, type=Path, metavar="DIR", help="folder that takes the community")
    add("--split", required=True, choices=SPLITS, help="genomes to draw from: tune while working, test for claims")
    add("--seed", required=True, type=int, help="of genomes, stretches, depths and reads; 0 or more")
    add("--preset", choices=read_presets(), metavar="NAME", help="a row of presets.tsv")
    add("--kind", choices=PLATFORMS, help="of reads: pairs, long (Nanopore) or hifi")
    add("--species", type=int, metavar="N", help="how many genomes (default: 10)")
    add("--relatives", choices=("none", *drawing.RANKS), help="at which rank the two of a pair are alike")
    add("--pairs", type=int, metavar="N", help="how many pairs of relatives (default: 2)")
    add("--coverage", type=parse_coverage_text, help="8, uneven[:1-20] (log-uniform) or lognormal[:MEDIAN,SIGMA]")
    add("--read-length", type=int, metavar="BP", help="of each mate, at most 250 (default: 150)")
    add("--mean-length", type=int, metavar="BP", help="of long reads, lognormal (default: 5000; hifi: 10000)")
    add("--error-rate", type=float, help="of long reads (default: 0.05; hifi: 0.005)")
    add("--slice-mb", type=float, help="stretch of each genome; 0 for whole genomes (default: 1)")
    add("--min-mb", type=float, default=0.6, help="leave out shorter genomes (default: 0.6)")
    add("--hold-out", metavar="N|NAMES", help="genomes that references.tsv leaves out: how many, or which")
    add("--sample", default="community", help="its name (default: community)")
    add("--list", type=Path, default=LIST, help="table of genomes (default: genomes.tsv)")
    make_community(parser.parse_args())
    start_log("make_community")


if __name__ == "__main__":
    run(main)
