"""What the MPI tests share: small samples of real reads in uneven shards, and a launcher."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from readclade.kmer import KmerEmbedder
from readclade.manifest import Manifest
from readclade.projection import Projection, fit_projection
from readclade.shards import Batch, write_shard

TIMEOUT_SECONDS = 120  # a rank that waits for ever would hit this; the slowest launch takes some seconds


def write_sample(folder: Path, sample: str, fragments: list, sizes: list[int], projection: Projection) -> Path:
    """Write (name, sequence, mate) fragments as shards of the given sizes; return the path of their manifest."""
    embedder = KmerEmbedder(4)

    def embed(batch: Batch) -> np.ndarray:
        return projection.apply(embedder.embed(batch.sequences, batch.mates))

    shards, first = [], 0
    for number, size in enumerate(sizes):
        names, sequences, mates = zip(*fragments[first : first + size], strict=True)
        batch = Batch(
            first,
            *(pa.array(column, pa.string()) for column in (names, sequences, mates)),
            np.full(size, 0.01, np.float32),
            sum(map(len, sequences + mates)),
        )
        shards.append(write_shard(folder / f"shard-{number:05d}.parquet", [batch], embed, projection.d))
        first += size
    assert first == len(fragments)
    description = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": projection.to_json()}
    fingerprint = format(sum(map(ord, sample)), "064x")
    path = folder / "manifest.json"
    Manifest(sample, "illumina", description, projection.d, fingerprint, tuple(shards)).write(path)
    return path


@pytest.fixture(scope="session")
def manifests(tmp_path_factory, take_reads) -> dict[str, Path]:
    """Return the manifests of three samples by name.

    `pairs`: 700 read pairs in five shards; one shard holds one pair, and of the fourth nothing is known.
    `long`: 150 long reads in two shards, embedded with the same projection as `pairs`.
    `other`: 20 long reads, embedded with a projection of their own.
    """
    mates = zip(take_reads("pairs_1.fastq.gz", 700), take_reads("pairs_2.fastq.gz", 700), strict=True)
    pairs = [(one[0].removesuffix("/1"), one[1], other[1]) for one, other in mates]
    pairs[601:621] = [(name, "N" * len(sequence), "NNN") for name, sequence, _ in pairs[601:621]]
    long = [(name, sequence, "") for name, sequence, _ in take_reads("long.fastq.gz", 150)]

    def fit(fragments: list) -> Projection:
        vectors = KmerEmbedder(4).embed(pa.array([sequence for _, sequence, _ in fragments]))
        return fit_projection(vectors, 24, is_composition=True)

    folder = tmp_path_factory.mktemp("samples")
    projection = fit(long)
    return {
        "pairs": write_sample(folder / "pairs", "pairs", pairs, [400, 1, 200, 20, 79], projection),
        "long": write_sample(folder / "long", "long", long, [149, 1], projection),
        "other": write_sample(folder / "other", "other", long[:20], [20], fit(long[:20])),
    }


@pytest.fixture
def copy_manifest(manifests, tmp_path) -> Callable[[str], Path]:
    """Return a function that copies a sample's shards to where a test may damage them."""

    def copy(sample: str) -> Path:
        return shutil.copytree(manifests[sample].parent, tmp_path / sample) / "manifest.json"

    return copy


@pytest.fixture(scope="session")
def launch(repository) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs a Python program on a number of ranks, or without mpiexec on 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "HYDRA", "MPI"))}
    environment |= {"PYTHONPATH": str(repository / "src")}

    def run(ranks: int, *arguments) -> subprocess.CompletedProcess:
        command = [sys.executable, *(["-m", "mpi4py"] if ranks else []), *map(str, arguments)]
        if ranks:
            command = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(ranks), *command]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_SECONDS)

    return run


@pytest.fixture(scope="session")
def cluster(launch, repository) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs cluster_fragments.py on a number of ranks, or without mpiexec on 0."""

    def run(ranks: int, manifest: Path | list[Path], out: Path, *arguments) -> subprocess.CompletedProcess:
        manifests = manifest if isinstance(manifest, list) else [manifest]
        script = repository / "scripts/cluster_fragments.py"
        return launch(ranks, script, "--manifest", *manifests, "--out", out, "--seedings", 2, *arguments)

    return run
