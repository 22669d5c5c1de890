"""Runs of ENA, SRA and DDBJ by accession: what ENA's file report says of their FASTQ files.

Source: ENA Portal API, https://www.ebi.ac.uk/ena/portal/api/, end point filereport. ENA mirrors the public runs of SRA
and DDBJ and serves the same paths by ftp and https.
"""

import csv
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from readclade.downloads.files import Source
from readclade.errors import InputError
from readclade.inputs.addresses import is_run

_PORTAL = "https://www.ebi.ac.uk/ena/portal/api"
_FIELDS = ("run_accession", "library_layout", "instrument_platform", "fastq_ftp", "fastq_md5", "fastq_bytes")
# What our three kinds of reads are called there. Reads of BGI's and Element's machines have Illumina's kind of errors.
_PLATFORMS = {
    "ILLUMINA": "illumina",
    "BGISEQ": "illumina",
    "DNBSEQ": "illumina",
    "ELEMENT": "illumina",
    "OXFORD_NANOPORE": "ont",
    "PACBIO_SMRT": "pacbio",
}


@dataclass(frozen=True)
class Run:
    """Hold the files of one run: one or two, mates in order, and those that are left out."""

    accession: str
    files: tuple[Source, ...]
    unpaired: tuple[Source, ...] = ()


def get_report_url(accession: str) -> str:
    """Return the address of a run's file report; READCLADE_ENA_URL names another server."""
    base = os.environ.get("READCLADE_ENA_URL") or _PORTAL
    query = {"accession": accession, "result": "read_run", "fields": ",".join(_FIELDS), "format": "tsv"}
    return f"{base.rstrip('/')}/filereport?{urlencode(query, safe=',')}"


def resolve_run(accession: str, platform: str, is_interleaved: bool, fetch: Callable[[str], str]) -> Run:
    """Ask ENA which files a run has.

    Args:
        accession: of a run.
        platform: what the table says; compared with what ENA says.
        is_interleaved: whether the table says that one file holds both mates.
        fetch: returns the text behind a URL.

    Raises:
        InputError: the run is unknown, has no FASTQ files, or others than its layout and the table say.
    """
    url = get_report_url(accession)
    row = _read_report(fetch(url), accession, url)
    found = _PLATFORMS.get(row["instrument_platform"])
    if found != platform:
        raise InputError(
            f"run {accession} was sequenced on {row['instrument_platform'] or 'an unknown platform'}, but its platform "
            f"in the table is {platform}",
            remedy=f"write {found} there"
            if found
            else "if its reads are of that kind all the same, give its files by their https addresses",
        )
    files = _list_files(row, accession, url)
    return _choose_files(accession, row["library_layout"], files, is_interleaved)


def _read_report(text: str, accession: str, url: str) -> dict[str, str]:
    """Return the one row of a report."""
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    header = text.splitlines()[0].split("\t") if text.strip() else []
    missing = [field for field in _FIELDS if field not in header]
    if missing or any(None in row or None in row.values() for row in rows):
        raise InputError(
            f"ENA's answer is no file report: it begins with {text[:60]!r}",
            path=url,
            remedy="run again later: its service may be out of order; of a run with controlled access it names no "
            "files",
        )
    if not rows:
        raise InputError(
            f"ENA knows no run {accession}",
            path=url,
            remedy="check the accession; new and restricted runs are not there, and a service out of order says the "
            f"same: https://www.ebi.ac.uk/ena/browser/view/{accession}",
        )
    if is_run(accession) and any(row["run_accession"] != accession for row in rows):
        raise InputError(
            f"ENA answers about run {rows[0]['run_accession']} where it was asked about {accession}",
            path=url,
            remedy="run again later: its service may be out of order",
        )
    if len(rows) > 1 or not is_run(accession):
        runs = [row["run_accession"] for row in rows]
        raise InputError(
            f"{accession} stands for {len(rows):,} runs",
            path=url,
            remedy=f"give each its own row in the table: {', '.join(runs[:10])}{', ...' if len(runs) > 10 else ''}",
        )
    return rows[0]


def _list_files(row: dict[str, str], accession: str, url: str) -> list[Source]:
    # Each has its place: without one checksum, the others would be taken for those of other files.
    paths, sums, sizes = (row[f"fastq_{key}"].removesuffix(";").split(";") for key in ("ftp", "md5", "bytes"))
    if paths == [""]:
        raise InputError(
            f"ENA has no FASTQ files of run {accession}",
            path=url,
            remedy="it may hold only what was submitted, or be out of order: look at "
            f"https://www.ebi.ac.uk/ena/browser/view/{accession}, convert the file with fasterq-dump or samtools "
            "fastq, and give the path",
        )
    is_sound = all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in sums) and all(map(str.isdigit, sizes))
    if not is_sound or not all(paths) or not len(paths) == len(sums) == len(sizes):
        raise InputError(
            f"ENA's report on {accession} does not state size and MD5 of each file",
            path=url,
            remedy="run again later: its service may be out of order",
        )
    files = zip(paths, sums, sizes, strict=True)
    return [Source(f"https://{re.sub('^[a-z]+://', '', path)}", md5, None, int(size)) for path, md5, size in files]


def _choose_files(accession: str, layout: str, files: list[Source], is_interleaved: bool) -> Run:
    """Return the files of a run that are read."""
    mates = [[file for file in files if re.search(rf"_{mate}\.f(ast)?q(\.\w+)?$", file.url)] for mate in (1, 2)]
    if is_interleaved and len(files) == 1:
        return Run(accession, tuple(files))
    if layout == "PAIRED" and not is_interleaved and [len(found) for found in mates] == [1, 1]:
        pair = (mates[0][0], mates[1][0])
        return Run(accession, pair, tuple(file for file in files if file not in pair))
    if layout == "SINGLE" and not is_interleaved and len(files) == 1:
        return Run(accession, tuple(files))
    listed = "".join(f"\n    {file.url}#md5={file.md5}" for file in files)
    what = "is interleaved in the table" if is_interleaved else f"is {layout or 'without a layout'}"
    raise InputError(
        f"run {accession} {what}, but has {len(files)} file{'s' if len(files) != 1 else ''}, so that it is not clear "
        "how to read it",
        remedy="leave the accession out, and give what you want of these addresses as fq1, with fq2 empty, "
        f"'interleaved' or the mates:{listed}",
    )
