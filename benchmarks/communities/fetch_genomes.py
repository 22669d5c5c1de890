"""Fetch the genomes of genomes.tsv from the Debian and Python packages that hold them, and check every sequence.

Example, from the repository root (as a user who may run apt-get download; `apt-get update` first, as root):
    PYTHONPATH=src .venv/bin/python benchmarks/communities/fetch_genomes.py --out ~/genomes

Writes DIR/<name>.fa.gz. A genome that is there with the right checksum is left alone, and a package of which nothing is
wanted is not downloaded, so the command may be given again after a failure. Packages are read, not installed (but pip
runs the build backend of a source distribution to learn its name). All together: about 330 MB, under two minutes.
"""

import gzip
import io
import logging
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path

from genome_list import LIST, SPLITS, Genome, hash_records, read_genomes
from simulation import write_gzip

from readclade.cli import make_parser, run, start_log
from readclade.errors import InputError, ReadcladeError
from readclade.storage.files import remove_leftovers, replace_when_done

LINE_BP = 80
log = logging.getLogger("readclade")


def is_complete(genome: Genome, out: Path) -> bool:
    """Return whether the genome's file is there and holds what the list says."""
    path = out / f"{genome.name}.fa.gz"
    try:
        return hash_records(parse_sequences(gzip.decompress(path.read_bytes()))) == genome.sha256
    except (OSError, EOFError, ValueError):
        return False


def download_package(package: str, folder: Path) -> Path:
    """Download one package of one version by the ordinary client of its registry; return the file.

    Args:
        package: `deb NAME=VERSION` or `sdist NAME==VERSION`.
        folder: an empty folder that takes it.

    Raises:
        ReadcladeError: that version is not to be had; the remedy says how to go on.
    """
    kind, _, pinned = package.partition(" ")
    name = pinned.partition("=")[0]
    if kind == "deb":
        command = ["apt-get", "download", "-q", pinned]
        look, listed = f"apt-cache policy {name}", "Debian 12 (bookworm) has this version"
    else:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", ":all:", pinned]
        look, listed = f"pip index versions {name}", "the list pins a source distribution"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        remedy = f"Run this where {command[0]} is, or put the genomes of this package into --out by hand."
        raise ReadcladeError(f"{command[0]} is missing, which gets {package}", remedy=remedy) from error
    files = [path for path in folder.iterdir() if path.is_file()]
    if done.returncode or len(files) != 1:
        remedy = (
            f"Run `apt-get update` as root if apt knows no packages; `{look}` shows the versions there are ({listed}). "
            f"If it is gone, name another in a copy of {LIST.name} (--list): the checksums of its sequences must be "
            "the same. --skip-missing fetches all the rest."
        )
        raise ReadcladeError(f"cannot download {package}: {done.stderr.strip()[-300:]}", remedy=remedy)
    return files[0]


def read_members(package_file: Path, paths: set[str]) -> dict[str, bytes]:
    """Return the bytes of files in a package, by the path that the list gives them.

    Args:
        package_file: a .deb or a source distribution (.tar.gz).
        paths: as in the list; in a source distribution without the folder that holds all.
    """
    if package_file.suffix == ".deb":
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", package_file], capture_output=True, check=True).stdout
        archive = tarfile.open(fileobj=io.BytesIO(unpacked))  # noqa: SIM115
    else:
        archive = tarfile.open(package_file)  # noqa: SIM115
    outer = defaultdict(list)
    for path in paths:
        outer[path.split(" :: ")[0]].append(path)
    found = {}
    with archive:
        for member in archive:
            inner = member.name.removeprefix(".") if package_file.suffix == ".deb" else member.name.partition("/")[2]
            for path in outer.get(inner, []):
                content = archive.extractfile(member).read()
                if " :: " in path:
                    with tarfile.open(fileobj=io.BytesIO(content)) as nested:
                        content = nested.extractfile(path.split(" :: ")[1]).read()
                found[path] = content
    return found


def parse_sequences(content: bytes) -> dict[str, str]:
    """Return the records of a FASTA or GenBank file, plain or compressed, by name, in upper case.

    A record's name is its header's first word, of which `gi|..|ref|NAME|` keeps NAME; in GenBank files its VERSION, or
    its LOCUS where that is empty.
    """
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    elif content[:6] == b"\xfd7zXZ\x00":
        content = lzma.decompress(content)
    text = content.decode("ascii", "replace").replace("\r", "")
    records = {}
    if text.startswith("LOCUS"):
        for entry in text.split("\n//")[:-1]:
            version = re.search(r"^(?:VERSION|LOCUS) +(\S+)", entry[entry.find("\nVERSION  ") + 1 :], re.MULTILINE)
            sequence = entry.split("\nORIGIN", 1)[1].split("\n", 1)[1]
            records[version[1]] = re.sub(r"[^a-z]", "", sequence.lower()).upper()
    else:
        for number, entry in enumerate(re.split(r"^>", text, flags=re.MULTILINE)[1:], start=1):
            header, _, sequence = entry.partition("\n")
            word = (header.split() or [""])[0] if header[:1] != " " else ""
            word = next((part for part in word.split("|")[3:4]), word)
            records[word or f"record{number}"] = "".join(sequence.split()).upper()
    return records


def pick_records(records_wanted: str, records: dict[str, str]) -> dict[str, str]:
    """Return the records of a file that the list's column `records` names; KeyError names one that is missing."""
    if records_wanted == "*":
        return records
    if records_wanted.startswith(">="):
        return {name: bases for name, bases in records.items() if len(bases) >= int(records_wanted[2:])}
    return {name: records[name] for name in records_wanted.split(",")}


def select_records(genome: Genome, records: dict[str, str]) -> dict[str, str]:
    """Return the records of a file that make a genome.

    Raises:
        InputError: a record is missing, or the sequences are not those of the list.
    """
    try:
        records = pick_records(genome.records, records)
    except KeyError as error:
        raise InputError(f"holds no record {error} for {genome.name}", path=genome.source) from None
    if hash_records(records) != genome.sha256:
        message = f"the sequences of {genome.name} are not those of the list: SHA-256 {hash_records(records)}"
        raise InputError(message, path=genome.source, remedy="Get the very version that genomes.tsv names.")
    return records


def write_genome(genome: Genome, records: dict[str, str], out: Path) -> None:
    """Write a genome as gzipped FASTA, whole or not at all."""
    lines = []
    for name, sequence in records.items():
        lines.append(f">{name} {genome.organism}")
        lines += [sequence[i : i + LINE_BP] for i in range(0, len(sequence), LINE_BP)]
    with replace_when_done(out / f"{genome.name}.fa.gz") as path:
        write_gzip(path, ("\n".join(lines) + "\n").encode("ascii"), level=6)


def fetch_package(package: str, genomes: list[Genome], out: Path) -> None:
    """Download one package and write the genomes that it holds."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # apt's own user writes here
        contents = read_members(download_package(package, Path(folder)), {genome.path for genome in genomes})
    for genome in genomes:
        if genome.path not in contents:
            raise InputError("the package has no such file", path=genome.source)
        write_genome(genome, select_records(genome, parse_sequences(contents[genome.path])), out)


def main() -> None:
    """Read the arguments and fetch what is missing."""
    parser = make_parser(__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder that takes <name>.fa.gz")
    parser.add_argument("--list", type=Path, default=LIST, help="table of genomes (default: genomes.tsv)")
    parser.add_argument("--split", choices=SPLITS, help="only the genomes of one split")
    parser.add_argument("--skip-missing", action="store_true", help="go on where a package is not to be had")
    arguments = parser.parse_args()
    start_log("fetch_genomes")
    arguments.out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(arguments.out)
    wanted = [genome for genome in read_genomes(arguments.list) if arguments.split in (None, genome.split)]
    by_package = defaultdict(list)
    for genome in wanted:
        if not is_complete(genome, arguments.out):
            by_package[genome.package].append(genome)
    log.info(f"{len(wanted) - sum(map(len, by_package.values()))} of {len(wanted)} genomes are there")
    failed = []
    for package, genomes in by_package.items():
        log.info(f"{package}: {', '.join(genome.name for genome in genomes)}")
        try:
            fetch_package(package, genomes, arguments.out)
        except ReadcladeError as error:
            if not arguments.skip_missing:
                raise
            failed += [genome.name for genome in genomes]
            log.info(f"skipped: {error.message}")
    if failed:
        raise ReadcladeError(f"{len(failed)} genomes are missing: {', '.join(failed)}")


if __name__ == "__main__":
    run(main)
