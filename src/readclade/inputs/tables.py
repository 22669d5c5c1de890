"""The tables of samples and references, checked before anything runs.

The schemas in config/schemas/ say what a row may hold; this module turns a violation into one sentence with its place
and its remedy, and checks what a schema cannot see: other rows and the files themselves.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

from jsonschema.exceptions import ValidationError

from readclade.errors import InputError
from readclade.inputs.addresses import check_url, is_other_accession, is_remote, is_run
from readclade.inputs.schemas import Validator, describe, load_schema, suggest
from readclade.storage.locations import Lookup, is_s3
from readclade.taxonomy.lineage import format_lineage, split_lineage

# How long S3 is tried while a table is checked: a person is waiting.
PARSE_PATIENCE_S = 15.0
# What people write into a cell to say that there is nothing.
_EMPTY = {"na", "n/a", "nan", "none", "null", "-", "."}
INTERLEAVED = "interleaved"


@dataclass(frozen=True)
class Lane:
    """Name the files of one lane; `fq2` is None, a path, or "interleaved".

    Paths are absolute. In a lane of the table, `fq1` and `fq2` may also be what is downloaded first: an address, or as
    `fq1` the accession of a run.
    """

    fq1: str
    fq2: str | None

    @property
    def paths(self) -> list[str]:
        """The one or two files of the lane."""
        return [self.fq1] if self.fq2 in (None, INTERLEAVED) else [self.fq1, self.fq2]


@dataclass(frozen=True)
class Sample:
    """Hold the lanes of one sample in the order of the table."""

    name: str
    platform: str
    lanes: tuple[Lane, ...]
    truth: str | None


@dataclass(frozen=True)
class Reference:
    """Hold one reference genome; `lineage` has a name for each of `RANKS`, "" where it is unknown."""

    accession: str
    fasta: str
    taxid: int
    lineage: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """Hold the filled cells of one row by column, with the place that an error about them names."""

    path: str | PathLike[str]
    line: int
    cells: dict[str, str]

    def fail(self, message: str, remedy: str | None) -> NoReturn:
        raise InputError(message, path=self.path, line=self.line, remedy=remedy)

    def find_reads(self, column: str, seen: dict[str, int], lookup: Lookup | None) -> str:
        """Return an entry for reads: a run's accession or an address as it stands, else the path of a file."""
        entry = self.cells[column]
        if not is_remote(entry):
            return self.find_file(column, seen)
        if is_s3(entry):
            if lookup is not None:
                self._look_on_s3(column, entry, lookup)
        elif is_run(entry):
            if column == "fq2" or self.cells.get("fq2") not in (None, INTERLEAVED):
                self.fail(
                    f"fq1 '{self.cells['fq1']}' and fq2 '{self.cells['fq2']}' name a run and a file of mates",
                    "write the accession as fq1 and leave fq2 empty: the run's own layout decides on pairs",
                )
        else:
            try:
                check_url(entry)
            except InputError as error:
                self.fail(f"{column} {error.message}", error.remedy)
        self._refuse_second(column, entry, entry.partition("#")[0], seen)
        return entry

    def find_file(self, column: str, seen: dict[str, int] | None = None) -> str:
        """Return the absolute path of the file in a column; refuse one that `seen` (file -> line) has already."""
        entry = self.cells[column]
        if is_remote(entry):
            self.fail(
                f"{column} '{entry}' is remote, which is not supported yet",
                "download it and give the path of the file",
            )
        file = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(self.path)), entry))
        if is_other_accession(entry) and not os.path.exists(file):
            self.fail(
                f"{column} '{entry}' is the accession of a study, sample or experiment, which may have many runs",
                "give each run its own row, as SRR..., ERR... or DRR...; "
                f"https://www.ebi.ac.uk/ena/browser/view/{entry} lists them",
            )
        if entry.lower() in _EMPTY and not os.path.isfile(file):
            self.fail(f"{column} is '{entry}', and there is no such file", "leave a cell empty where there is nothing")
        if not os.path.isfile(file):
            what = "is not a file" if os.path.exists(file) else "does not exist"
            self.fail(
                f"{column} '{entry}' {what} ({file})",
                "correct the path; a relative one starts at the table's own folder",
            )
        if seen is not None:
            self._refuse_second(column, entry, os.path.realpath(file), seen)
        return file

    def _refuse_second(self, column: str, entry: str, key: str, seen: dict[str, int]) -> None:
        if key in seen and column == "fasta":
            self.fail(
                f"fasta '{entry}' is already listed in line {seen[key]}",
                "give each genome a FASTA file of its own: split a file that holds several",
            )
        if key in seen:
            self.fail(f"{column} '{entry}' is already listed in line {seen[key]}", "list every file only once")
        seen[key] = self.line

    def _look_on_s3(self, column: str, url: str, lookup: Lookup) -> None:
        try:
            is_missing = lookup.find(url) is None
        except InputError as error:
            self.fail(f"{column} '{url}' {error.message}", error.remedy)
        if is_missing:
            self.fail(f"{column} '{url}' does not exist", "correct the URL; keys are case-sensitive")


def read_samples(path: str | PathLike[str], ask_s3: bool = True) -> dict[str, Sample]:
    """Read and check the table of samples.

    Args:
        path: tab-separated table with a header; relative paths in it are relative to its folder.
        ask_s3: whether files on S3 are looked for.

    Returns:
        The samples by name, in the order of the table.

    Raises:
        InputError: the table, a row, or a file that a row names cannot be used.
    """
    samples: dict[str, Sample] = {}
    lines: dict[str, int] = {}
    seen: dict[str, int] = {}
    lookup = Lookup(PARSE_PATIENCE_S) if ask_s3 else None
    for row in _read_rows(path, "samples"):
        name, platform, fq2 = row.cells["sample"], row.cells["platform"], row.cells.get("fq2")
        if fq2 is not None and platform != "illumina":
            row.fail(
                f"sample '{name}' has platform {platform}, whose reads have no mates, but fq2 is '{fq2}'",
                "leave fq2 empty, or correct the platform",
            )
        fq1 = row.find_reads("fq1", seen, lookup)
        lane = Lane(fq1, fq2 if fq2 in (None, INTERLEAVED) else row.find_reads("fq2", seen, lookup))
        truth = row.find_file("truth") if "truth" in row.cells else None
        sample = samples.get(name, Sample(name, platform, (), None))
        for column, here, there in (("platform", platform, sample.platform), ("truth", truth, sample.truth)):
            if here and there and here != there:
                row.fail(
                    f"{column} of this lane of sample '{name}' is '{here}', but '{there}' from line {lines[name]} on",
                    f"give all lanes of a sample the same {column}, or make this row a sample of its own",
                )
        lines.setdefault(name, row.line)
        samples[name] = Sample(name, platform, (*sample.lanes, lane), sample.truth or truth)
    return samples


def read_references(path: str | PathLike[str]) -> list[Reference]:
    """Read and check the table of reference genomes.

    Args:
        path: tab-separated table with a header; relative paths in it are relative to its folder.

    Raises:
        InputError: the table, a row, or a file that a row names cannot be used.
    """
    references = []
    species: dict[str, tuple[tuple[str, ...], int]] = {}
    lines: dict[str, int] = {}
    seen: dict[str, int] = {}
    for row in _read_rows(path, "references"):
        accession = row.cells["accession"]
        if accession in lines:
            row.fail(f"accession '{accession}' is already in line {lines[accession]}", "remove one of the two rows")
        lines[accession] = row.line
        fasta = row.find_file("fasta", seen)
        lineage = _split_lineage(row)
        known, line = species.setdefault(lineage[-1], (lineage, row.line))
        if lineage[-1] and lineage != known:
            row.fail(
                f"species '{lineage[-1]}' has the lineage {format_lineage(lineage)} here, "
                f"and {format_lineage(known)} in line {line}",
                "give a species one lineage: take all names from one taxonomy",
            )
        references.append(Reference(accession, fasta, int(row.cells["taxid"]), lineage))
    return references


def _read_rows(path: str | PathLike[str], table: str) -> Iterator[_Row]:
    """Yield each row that passes the table's schema."""
    schema = load_schema(table)
    validator = Validator(schema)
    columns: list[str] = []
    row = None
    for line, content in enumerate(_read_text(path, table).split("\n"), 1):
        if not content.strip() or content.startswith("#"):
            continue
        cells = [cell.strip() for cell in content.rstrip().split("\t")]
        if quoted := next((cell for cell in cells if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "\"'"), None):
            _Row(path, line, {}).fail(
                f"the cell {quoted} stands in quotation marks",
                "save the table as tab-separated text without quotation marks",
            )
        if not columns:
            _check_header(_Row(path, line, {}), cells, schema)
            columns = cells
            continue
        row = _Row(path, line, {name: cell for name, cell in zip(columns, cells, strict=False) if cell})
        if len(cells) > len(columns):
            row.fail(
                f"the row has {len(cells)} cells, but the header has {len(columns)} columns",
                "remove what is too much; a tab separates two cells, even inside quotation marks",
            )
        for error in validator.iter_errors(row.cells):
            _fail_cell(row, error)
        yield row
    if row is None:
        remedy = f"give it a header and rows as in config/{table}.tsv"
        raise InputError(f"the table of {table} has no rows", path=path, remedy=remedy)


def _read_text(path: str | PathLike[str], table: str) -> str:
    try:
        # utf-8-sig drops the mark that spreadsheets put first; universal newlines take their CRLF.
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        message = f"the table of {table} does not exist"
        remedy = f"write its path as '{table}' into the configuration; config/{table}.tsv is a template"
    except OSError as error:
        message, remedy = f"the table of {table} cannot be read: {error.strerror}", "give a file that you may read"
    except UnicodeDecodeError:
        message, remedy = f"the table of {table} is not UTF-8 text", "save it as tab-separated text in UTF-8"
    raise InputError(message, path=path, remedy=remedy)


def _check_header(row: _Row, columns: list[str], schema: dict) -> None:
    known = list(schema["properties"])
    tabs = f"the columns are {', '.join(known)}, separated by tabs"
    for column in columns:
        if column not in known:
            row.fail(f"unknown column '{column}'", suggest(column, known, tabs))
        if columns.count(column) > 1:
            row.fail(f"column '{column}' appears {columns.count(column)} times", "keep one of them")
    for column in schema["required"]:
        if column not in columns:
            row.fail(f"there is no column '{column}'", tabs)


def _fail_cell(row: _Row, error: ValidationError) -> NoReturn:
    """Turn a violation of a row's schema into a sentence about the cell."""
    if error.validator == "required":
        column = next(name for name in error.validator_value if name not in row.cells)
        meaning = error.schema["properties"][column]["description"]
        row.fail(f"the row has no {column}", f"fill it in: {meaning}")
    column = error.absolute_path[0]
    if error.validator == "not":
        row.fail(f"{column} '{error.instance}' is the name of a result of the workflow", "rename it")
    allowed = describe(error.schema) if "enum" in error.schema else error.schema["description"]
    row.fail(f"{column} '{error.instance}' is not allowed", f"give {allowed}")


def _split_lineage(row: _Row) -> tuple[str, ...]:
    try:
        return split_lineage(row.cells["lineage"])
    except InputError as error:
        row.fail(error.message, error.remedy)
