"""The list of genomes that benchmark communities are drawn from: genomes.tsv beside this module.

Its columns:
    name        unique; the file is <name>.fa.gz, and the truth's BINID
    split       tune or test; no species is in both
    source      package, version and path in it; after `::` a member of the archive there
    records     the file's records that make the genome: `*` for all, `>=N` for those of N bases and more, or
                their names separated by commas
    accessions  of INSDC or RefSeq; empty where the file names none (see note)
    organism    species and strain
    taxid       NCBI's, of the species
    lineage     d__;p__;c__;o__;f__;g__;s__ with NCBI's names
    length_bp, n_records, sha256    of the genome as `hash_records` takes it
    relation    its relatives in the list by taxonomy: `species: ...; genus: ...`
    note        what else one should know
"""

import csv
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).with_name("genomes.tsv")
SPLITS = ("tune", "test")
NONE = "-"  # where a genome has no relatives


class Genome(NamedTuple):
    """One row of the list."""

    name: str
    split: str
    source: str
    records: str
    accessions: str
    organism: str
    taxid: str
    lineage: str
    length_bp: int
    n_records: int
    sha256: str
    relation: str
    note: str

    def get_rank(self, letter: str) -> str:
        """Return the name at a rank (d, p, c, o, f, g or s), "" where the lineage has none."""
        return dict(part.split("__", 1) for part in self.lineage.split(";"))[letter]

    @property
    def package(self) -> str:
        """Kind, name and version: `deb cct-examples=1:1.0.3-1` or `sdist gbdraw==0.14.2`."""
        return self.source.split(": ", 1)[0]

    @property
    def path(self) -> str:
        """The file in the package, with its member after `::`."""
        return self.source.split(": ", 1)[1]


def read_genomes(path: Path = LIST) -> list[Genome]:
    """Return the rows of a list of genomes in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [Genome(**row | {"length_bp": int(row["length_bp"]), "n_records": int(row["n_records"])}) for row in rows]


def hash_records(records: dict[str, str]) -> str:
    """Return the SHA-256 of the upper-case sequences, joined by newlines in the file's order; names do not count."""
    return hashlib.sha256("\n".join(records.values()).upper().encode("ascii")).hexdigest()


def group_by_species(genomes: list[Genome]) -> dict[str, list[Genome]]:
    """Return the genomes of each species, by its taxid, in the list's order."""
    groups = defaultdict(list)
    for genome in genomes:
        groups[genome.taxid].append(genome)
    return dict(groups)


def describe_relation(genome: Genome, genomes: list[Genome]) -> str:
    """Return the relatives of a genome in the list: others of its species, then other species of its genus."""
    species = [g.name for g in genomes if g.taxid == genome.taxid and g.name != genome.name]
    genus = genome.get_rank("g")
    others = [g.name for g in genomes if genus and g.get_rank("g") == genus and g.taxid != genome.taxid]
    parts = [f"{rank}: {', '.join(names)}" for rank, names in (("species", species), ("genus", others)) if names]
    return "; ".join(parts) or NONE
