"""A manifest with shards, for the tests of what carries them."""

import shutil
from pathlib import Path

import pytest

from readclade.shards.manifest import Manifest, Shard
from readclade.storage.files import hash_file

PROJECTION = {
    "method": "principal-directions",
    "mean": {"shape": [2], "float32": "AAAAAAAAAAA="},
    "components": {"shape": [2, 1], "float32": "AAAAAAAAAAA="},
}
EMBEDDER = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": PROJECTION}


@pytest.fixture
def source(tmp_path, repository) -> Path:
    """Return the manifest of four shards; for a copy any bytes will do, here those of real genomes."""
    folder = tmp_path / "shards"
    folder.mkdir()
    shards = []
    for number, genome in enumerate(sorted((repository / "demo/genomes").iterdir())[:4]):
        path = folder / f"shard-{number:05d}.parquet"
        shutil.copyfile(genome, path)
        shards.append(Shard(path.name, 10, 1000, path.stat().st_size, hash_file(path), 10 * number))
    Manifest("sample", "illumina", EMBEDDER, 1, "c" * 64, tuple(shards)).write(folder / "manifest.json")
    return folder / "manifest.json"
