"""CAMI's files: bioboxes binning (read; `binning` writes it) and profiling (written), version 0.9.1.

Source: https://github.com/bioboxes/rfc/tree/master/data-format
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from readclade.errors import InputError
from readclade.reads.names import escape
from readclade.results.binning import VERSION
from readclade.storage.files import open_text, replace_when_done
from readclade.taxonomy.lineage import RANKS, Taxon, get_taxa, split_lineage

# CAMI calls the highest rank by NCBI's older name.
_PROFILE_RANKS = ("superkingdom", *RANKS[1:])
_FORM = "give a CAMI binning file: @Version, @SampleID, then @@SEQUENCEID, BINID and TAXID separated by tabs"


@dataclass
class Binning:
    """One sample's section of a binning file, in its order.

    Attributes:
        bins: BINID by SEQUENCEID; the TAXID where the file has no BINID.
        taxids: TAXID by SEQUENCEID, "" where it is unknown; empty where the file has no such column.
        lengths: bases by SEQUENCEID, of the column LENGTH or _LENGTH; empty cells are left out.
        lineages: a name for each of `lineage.RANKS` by SEQUENCEID, of the column LINEAGE, which is an addition of
            ours (d__;p__;c__;o__;f__;g__;s__); empty cells are left out.
    """

    bins: dict[str, str] = field(default_factory=dict)
    taxids: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    lineages: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_binning(path: Path, sample: str | None) -> Binning:
    """Read the section of one sample from a binning file, plain or gzip.

    A file with a single section is that sample's, whatever it calls it; one with several must name it. Without a
    sample the file must have a single section.

    Raises:
        InputError: the file cannot be read, breaks the format, names a sequence twice or lacks the sample.
    """
    sections: dict[str, Binning] = {}
    section = Binning()
    columns: dict[str, int] = {}
    lineages: dict[str, tuple[str, ...]] = {}
    for line, text in _read_lines(path):
        if text.startswith("@@"):
            columns = _read_columns(path, line, text)
        elif text.startswith("@") and not (columns and "\t" in text):  # a name may begin with @, in a file of others
            key, _, value = text[1:].partition(":")
            if key.strip().upper() == "SAMPLEID":
                section = sections.setdefault(value.strip(), Binning())
                columns = {}
        else:
            if not columns:
                raise InputError("there is a row before the line @@SEQUENCEID", path=path, line=line, remedy=_FORM)
            if not sections:
                sections[""] = section
            cells = text.split("\t")
            if len(cells) < len(columns):
                raise InputError(
                    f"the row has {len(cells)} cells, but the header has {len(columns)} columns",
                    path=path,
                    line=line,
                    remedy="separate the cells by single tabs and keep empty ones",
                )
            name = escape(cells[columns["SEQUENCEID"]])
            if name in section.bins:
                raise InputError(
                    f"sequence '{name}' is there twice", path=path, line=line, remedy="keep one row for each fragment"
                )
            # Millions of rows repeat a few names: each is kept once.
            section.bins[name] = sys.intern(cells[columns.get("BINID", columns.get("TAXID", 0))])
            if "TAXID" in columns:
                section.taxids[name] = sys.intern(cells[columns["TAXID"]])
            if length := cells[columns["LENGTH"]] if "LENGTH" in columns else "":
                section.lengths[name] = _parse_length(path, line, length)
            if lineage := cells[columns["LINEAGE"]] if "LINEAGE" in columns else "":
                if lineage not in lineages:
                    lineages[lineage] = _parse_lineage(path, line, lineage)
                section.lineages[name] = lineages[lineage]
    if len(sections) == 1:
        return next(iter(sections.values()))
    found = ", ".join(f"'{name}'" for name in list(sections)[:5]) or "none"
    if sample is None:
        message = f"there is not one sample; the samples are: {found}"
        raise InputError(message, path=path, remedy="say which one is meant" if sections else _FORM)
    if sample not in sections:
        raise InputError(
            f"there is no section of sample '{sample}'; the samples are: {found}",
            path=path,
            remedy=f"write @SampleID:{sample} above its rows" if sections else _FORM,
        )
    return sections[sample]


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are neither blank nor comments."""
    try:
        with open_text(path, "utf-8") as file:
            for line, text in enumerate(file, 1):
                text = text.rstrip("\r\n")
                if text.strip() and not text.startswith("#"):
                    yield line, text
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", path=path, remedy=_FORM) from None


def _read_columns(path: Path, line: int, text: str) -> dict[str, int]:
    names = [name.strip().upper() for name in text[2:].split("\t")]
    names = ["LENGTH" if name == "_LENGTH" and "LENGTH" not in names else name for name in names]
    columns = {name: index for index, name in enumerate(names)}
    if len(columns) < len(names):
        raise InputError("a column appears twice", path=path, line=line, remedy=_FORM)
    if "SEQUENCEID" not in columns or not {"BINID", "TAXID"} & set(columns):
        raise InputError("the columns lack SEQUENCEID, or both BINID and TAXID", path=path, line=line, remedy=_FORM)
    return columns


def _parse_length(path: Path, line: int, text: str) -> int:
    if not text.isdecimal():
        raise InputError(
            f"length '{text}' is no whole number", path=path, line=line, remedy="give the bases of the fragment"
        )
    return int(text)


def _parse_lineage(path: Path, line: int, text: str) -> tuple[str, ...]:
    try:
        return split_lineage(text)
    except InputError as error:
        raise InputError(error.message, path=path, line=line, remedy=error.remedy) from None


def write_profile(path: Path, sample: str, shares: Mapping[Taxon, float], taxids: Mapping[Taxon, str]) -> None:
    """Write a profile: the share of every taxon at every rank.

    The table of references gives taxids of species only: any other TAXID is the element of the lineage, g__Vibrio.

    Args:
        shares: percentage of the sample's bases by the taxa that were found; each counts for all ranks above it
            too, and what is missing to 100 has no name.
        taxids: by taxon, where there is one.
    """
    sums: dict[Taxon, float] = {}
    for found, share in shares.items():
        for taxon in get_taxa(found.path):
            sums[taxon] = sums.get(taxon, 0.0) + share

    def get_id(taxon: Taxon) -> str:
        return taxids.get(taxon) or taxon.element

    with replace_when_done(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"@SampleID:{sample}\n@Version:{VERSION}\n@Ranks:{'|'.join(_PROFILE_RANKS)}\n")
        file.write("@@TAXID\tRANK\tTAXPATH\tTAXPATHSN\tPERCENTAGE\n")
        for taxon in sorted(sums, key=lambda taxon: (len(taxon.path), -sums[taxon], taxon.path)):
            above = {len(other.path): get_id(other) for other in get_taxa(taxon.path)}
            ids = "|".join(above.get(i + 1, "") for i in range(len(taxon.path)))
            rank = _PROFILE_RANKS[len(taxon.path) - 1]
            file.write(f"{get_id(taxon)}\t{rank}\t{ids}\t{'|'.join(taxon.path)}\t{sums[taxon]:.5f}\n")
