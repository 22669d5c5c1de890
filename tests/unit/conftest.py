"""A manifest with shards, for the tests of what carries them, and scripts that are called without a process."""

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

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


@pytest.fixture
def call_here(repository, monkeypatch, capsys) -> Callable[..., SimpleNamespace]:
    """Return a function that runs a script within this process, from the repository root: its imports are done."""
    monkeypatch.chdir(repository)
    monkeypatch.setenv("COLUMNS", "120")

    def call(name: str, *arguments) -> SimpleNamespace:
        monkeypatch.setattr("sys.argv", [f"scripts/{name}", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(f"scripts/{name}", run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=printed.out, stderr=printed.err)

    return call
