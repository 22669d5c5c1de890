"""Where results come from: versions of the software, checksums of the inputs, and the RO-Crate that records both.

Source: RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profile Process Run Crate 0.5.
"""

import base64
import functools
import json
import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

from readclade.storage.files import hash_file, write_atomically

_ROOT = Path(__file__).parents[3]
_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_MIT = "https://spdx.org/licenses/MIT"
_PACKAGES = {
    "snakemake": "runs the stages",
    "dnaio": "reads FASTQ",
    "isal": "reads gzip",
    "rapidgzip": "reads gzip and bzip2 from the middle",
    "backports-zstd": "reads zstd",
    "pydustmasker": "masks simple repeats",
    "requests": "downloads reads",
    "ray": "embeds on many workers",
    "numba": "compiles the counting of k-mers and k-means",
    "numpy": "computes with arrays",
    "scipy": "numerical methods",
    "pyarrow": "reads and writes Parquet",
    "mpi4py": "lets ranks of the clustering talk",
    "mpich": "MPI library of mpi4py",
    "h5py": "reads and writes HDF5",
    "faiss-cpu": "finds the nearest references",
    "biopython": "reads FASTA",
    "scikit-learn": "t-SNE of the maps",
    "matplotlib": "draws the figures",
    "jinja2": "fills the report's template",
}
_NETWORK_PACKAGES = {
    "torch": "computes the networks of dnabert2 and dnabert-s",
    "tokenizers": "turns reads into their tokens",
    "safetensors": "reads their weights and lshvec's model",
    "gensim": "trains lshvec",
}
_TOOLS = {"cutadapt": "cuts adapters and bad ends of short reads", "mappy": "finds the reads of genomes to remove"}
_FORMATS = {
    ".fastq": ("text/plain", "http://edamontology.org/format_1930", "FASTQ"),
    ".fq": ("text/plain", "http://edamontology.org/format_1930", "FASTQ"),
    ".fasta": ("text/plain", "http://edamontology.org/format_1929", "FASTA"),
    ".fna": ("text/plain", "http://edamontology.org/format_1929", "FASTA"),
    ".fa": ("text/plain", "http://edamontology.org/format_1929", "FASTA"),
    ".tsv": ("text/tab-separated-values", "http://edamontology.org/format_3475", "TSV"),
    ".parquet": ("application/vnd.apache.parquet", None, None),
    ".h5": ("application/x-hdf5", "http://edamontology.org/format_3590", "HDF5"),
    ".html": ("text/html", None, None),
    ".json": ("application/json", None, None),
}


@dataclass(frozen=True)
class InputFile:
    """One file that the user gave: what it is for, its path, checksum, and size in bytes (None where unknown)."""

    purpose: str
    path: str
    sha256: str
    size: int | None

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return os.path.basename(self.path)

    @property
    def identifier(self) -> str:
        """A name by content (RFC 6920) that says nothing about the machine on which the file lies."""
        digest = base64.urlsafe_b64encode(bytes.fromhex(self.sha256)).decode("ascii").rstrip("=")
        return f"ni:///sha-256;{digest}"


@dataclass(frozen=True)
class Software:
    """One package: its version, and whether that is the pinned one because it is not installed where this runs."""

    name: str
    version: str
    use: str
    is_pinned: bool = False


def describe_input(purpose: str, path: str | os.PathLike[str], sha256: str | None = None) -> InputFile:
    """Return a file's checksum, unless it is known, and its size."""
    try:
        size = os.path.getsize(path)
    except OSError:
        size = None
    return InputFile(purpose, str(path), sha256 or hash_file(path), size)


def get_version() -> str:
    """Return readclade's version."""
    return tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


@functools.cache
def get_commit() -> str | None:
    """Return the git commit of the checkout, "-dirty" after it where files were changed; None outside a checkout."""
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None


def get_software(tools: dict[str, str] | None = None, embedder: str = "kmer") -> list[Software]:
    """Return Python and the packages that matter, as installed here or else as pinned for their own environment.

    Args:
        embedder: its name; kmer does without the packages of networks.
        tools: versions of the programs that cleaned the reads.
    """
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", _read_pins(), flags=re.MULTILINE))
    software = [Software("python", platform.python_version(), "runs readclade")]
    for name, use in (_PACKAGES if embedder == "kmer" else _PACKAGES | _NETWORK_PACKAGES).items():
        try:
            software.append(Software(name, metadata.version(name), use))
        except metadata.PackageNotFoundError:
            if name in pins:
                software.append(Software(name, pins[name], use, is_pinned=True))
    return software + [Software(name, version, _TOOLS[name]) for name, version in sorted((tools or {}).items())]


def get_date() -> str:
    """Return the time in UTC, or the one that SOURCE_DATE_EPOCH fixes, as in 2025-01-31T12:00:00+00:00."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return now.replace(microsecond=0).isoformat()


def flatten(config: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield (key, value) of a nested configuration, keys as in `clustering.k`."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def make_crate(
    folder: Path,
    files: dict[Path, str],
    inputs: Iterable[InputFile],
    config: dict,
    date: str,
    tools: dict[str, str] | None = None,
) -> dict:
    """Return the RO-Crate of a results folder as JSON-LD.

    Args:
        folder: root of the crate.
        files: result files inside the folder, and what each holds.
        inputs: files that the user gave; they are named by their content and need not be in the folder.
        config: the resolved configuration, nested.
        date: when the results were written, ISO 8601.
        tools: versions of the programs that cleaned the reads.
    """
    results = [
        _make_file(quote(path.relative_to(folder).as_posix()), path.name, text, hash_file(path), path.stat().st_size)
        for path, text in sorted(files.items())
    ]
    by_content = {entry.identifier: entry for entry in inputs}
    given = [
        _make_file(key, entry.name, entry.purpose, entry.sha256, entry.size)
        | ({"contentUrl": entry.path} if "://" in entry.path else {})
        for key, entry in by_content.items()
    ]
    parameters = [_make_entity(f"parameter-{key}", "PropertyValue", key, value=value) for key, value in flatten(config)]
    packages = [
        _make_entity(
            f"software-{entry.name}",
            "SoftwareApplication",
            entry.name,
            softwareVersion=entry.version,
            description=entry.use,
        )
        for entry in get_software(tools, config.get("embedder", {}).get("name", "kmer"))
    ]
    used = {part["encodingFormat"][1]["@id"] for part in results + given if isinstance(part["encodingFormat"], list)}
    formats = {url: name for _, url, name in _FORMATS.values() if url in used}
    run = _make_entity(
        "run",
        "CreateAction",
        "readclade run",
        description="Reads were embedded, clustered and labelled.",
        endTime=date,
        instrument={"@id": "#readclade"},
        object=_refer(given + parameters),
        result=_refer(results),
    )
    readclade = _make_entity(
        "readclade",
        "SoftwareApplication",
        "readclade",
        description="Group the reads of a metagenome by the organism they come from, and name the groups.",
        softwareVersion=get_version(),
        license={"@id": _MIT},
        softwareRequirements=_refer(packages),
        **({"identifier": f"git commit {get_commit()}"} if get_commit() else {}),
    )
    licence = _make_entity(
        "licence-of-the-results",
        "CreativeWork",
        "No licence chosen yet",
        description="Who publishes these results decides on their licence; readclade itself is under the MIT licence.",
    )
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": _SPECIFICATION},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": "Labelled microbial communities",
            "description": "Reads of metagenomes, grouped by the organism they come from and named by readclade.",
            "datePublished": date,
            "license": {"@id": licence["@id"]},
            "conformsTo": {"@id": _PROFILE},
            "hasPart": _refer(results + given),
            "mentions": [{"@id": run["@id"]}],
        },
        *results,
        *given,
        run,
        readclade,
        *packages,
        *parameters,
        licence,
        {"@id": _MIT, "@type": "CreativeWork", "name": "MIT License", "url": _MIT},
        {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        *({"@id": url, "@type": "CreativeWork", "name": name, "url": url} for url, name in formats.items()),
    ]
    return {"@context": [f"{_SPECIFICATION}/context", {"sha256": "https://schema.org/sha256"}], "@graph": graph}


def write_crate(path: Path, crate: dict) -> None:
    """Write an RO-Crate's metadata, atomically."""
    write_atomically(path, json.dumps(crate, indent=1, ensure_ascii=False) + "\n")


def _make_entity(key: str, type_: str, name: str, **properties: object) -> dict:
    return {"@id": f"#{quote(key)}", "@type": type_, "name": name, **properties}


def _make_file(identifier: str, name: str, description: str, sha256: str, size: int | None) -> dict:
    return {
        "@id": identifier,
        "@type": "File",
        "name": name,
        "description": description,
        "encodingFormat": _get_format(name),
        "sha256": sha256,
        **({} if size is None else {"contentSize": str(size)}),
    }


def _get_format(name: str) -> str | list:
    is_gzip = name.endswith(".gz")
    suffix = os.path.splitext(name.removesuffix(".gz"))[1].lower()
    media_type, url, _ = _FORMATS.get(suffix, ("application/octet-stream", None, None))
    media_type = "application/gzip" if is_gzip else media_type
    return [media_type, {"@id": url}] if url else media_type


def _refer(entities: Iterable[dict]) -> list[dict]:
    return [{"@id": entity["@id"]} for entity in entities]


def _read_pins() -> str:
    paths = [_ROOT / "requirements" / f"{name}.txt" for name in ("networks-gpu", "run")]
    return "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
