"""The manifest of a sample's shards: what exists, how it was made, and the checksum of each file."""

import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from readclade.errors import InputError
from readclade.inputs.schemas import Validator, load_schema
from readclade.storage import locations
from readclade.storage.files import hash_file, write_atomically


@dataclass(frozen=True)
class Shard:
    """One Parquet file: fragments first_fragment .. first_fragment + rows - 1 of the sample.

    Attributes:
        file: name, relative to the manifest's folder.
        bases: letters of all reads in it.
        bytes: size of the file.
        sha256: checksum of the file.
    """

    file: str
    rows: int
    bases: int
    bytes: int
    sha256: str
    first_fragment: int

    def is_complete(self, folder: Path) -> bool:
        """Return whether the file is there with the right size (cheap; the checksum is not read)."""
        path = folder / self.file
        return path.is_file() and path.stat().st_size == self.bytes

    def is_intact(self, folder: Path) -> bool:
        """Return whether the file is there with the right size and checksum."""
        return self.is_complete(folder) and hash_file(folder / self.file) == self.sha256


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` holds; see config/schemas/manifest.schema.yaml.

    Attributes:
        embedder: name, revision, parameters and projection.
        d: length of the embeddings.
        fingerprint: SHA-256 over all that decides the shards' content.
        shards: in the order of their fragments.
        location: s3://bucket/prefix of the shards; None where they lie beside the manifest.
    """

    sample: str
    platform: str
    embedder: dict
    d: int
    fingerprint: str
    shards: tuple[Shard, ...]
    location: str | None = None

    @property
    def fragments(self) -> int:
        """The number of fragments in all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bases(self) -> int:
        """The number of bases in all shards."""
        return sum(shard.bases for shard in self.shards)

    def to_json(self) -> str:
        """Return the manifest as the text of its file."""
        value = asdict(self)
        if self.location is None:
            del value["location"]
        return json.dumps(value, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write the manifest as JSON, atomically."""
        write_atomically(path, self.to_json())


def read_manifest(path: str | PathLike[str]) -> Manifest:
    """Read and check a manifest, a local file or an object on S3.

    Raises:
        InputError: the file is missing, no JSON, does not fit the schema, or its shards leave a gap.
    """
    try:
        value = json.loads(locations.read_bytes(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path, remedy="run `embed` for this sample") from None
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", path=path, remedy="delete it and run `embed` again") from None
    for flaw in Validator(load_schema("manifest")).iter_errors(value):
        raise InputError(
            f"is no manifest of shards: {flaw.json_path}: {flaw.message[:200]}",
            path=path,
            remedy="give a manifest.json that `embed` wrote, or delete it and run `embed` again",
        )
    value["shards"] = tuple(Shard(**shard) for shard in value["shards"])
    manifest = Manifest(**value)
    first = 0
    for shard in manifest.shards:
        if shard.first_fragment != first:
            raise InputError(
                f"{shard.file} begins with fragment {shard.first_fragment:,}, expected {first:,}",
                path=path,
                remedy="delete the manifest and run `embed` again",
            )
        first += shard.rows
    return manifest
