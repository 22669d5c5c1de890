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

from benchmarks.communities.simulation import COMPLEMENT, add_errors, read_fasta, simulate_long_reads
from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import Projection, fit_projection
from readclade.reads.batch import Batch
from readclade.shards.manifest import Manifest, read_manifest
from readclade.shards.parquet import write_shard

GENOMES = Path(__file__).parents[2] / "demo/genomes"
TIMEOUT_SECONDS = 300  # a rank that waits for ever would hit this; the slowest launch takes some seconds, alone


def write_sample(folder: Path, platform: str, fragments: list, sizes: list[int], projection: Projection) -> Path:
    """Write (name, sequence, mate) fragments as shards of the given sizes; return the path of their manifest.

    The sample is named after the folder.
    """
    embedder = KmerEmbedder(4)

    def embed(batch: Batch) -> np.ndarray:
        return projection.apply(embedder.embed(batch.sequences, batch.mates))

    shards, first = [], 0
    for number, size in enumerate(sizes):
        names, sequences, mates = zip(*fragments[first : first + size], strict=True)
        batch = Batch(
            first,
            *(pa.array(column, pa.string()) for column in (names, sequences, mates)),
            np.full(size, 0.01 if platform == "illumina" else 0.05, np.float32),
            sum(map(len, sequences + mates)),
        )
        shards.append(write_shard(folder / f"shard-{number:05d}.parquet", [(batch, embed(batch))], projection.d))
        first += size
    assert first == len(fragments)
    description = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": projection.to_json()}
    fingerprint = format(sum(map(ord, folder.name)), "064x")
    path = folder / "manifest.json"
    Manifest(folder.name, platform, description, projection.d, fingerprint, tuple(shards)).write(path)
    return path


def fit(fragments: list) -> Projection:
    """Return a projection to 24 dimensions that suits (name, sequence, mate) fragments."""
    vectors = KmerEmbedder(4).embed(pa.array([sequence for _, sequence, _ in fragments]))
    return fit_projection(vectors, 24, is_composition=True)


def read_slices(length: int) -> list[bytes]:
    """Return the beginning of two genomes."""
    names = ("Staphylococcus_aureus_N315", "Mycobacterium_leprae_TN")
    return [b"".join(read_fasta(GENOMES / f"{name}.fa.gz", "").values())[:length] for name in names]


def simulate_linked(rng: np.random.Generator) -> list:
    """Return 4000 read pairs of two genomes at 3x, copies and unknown ones among them."""
    fragments = []
    for genome in read_slices(200_000):
        for begin in rng.integers(0, len(genome) - 400, 2000):
            mates = genome[begin : begin + 150], genome[begin + 250 : begin + 400].translate(COMPLEMENT)[::-1]
            fragments.append([add_errors(mate, 0.003, rng).decode() for mate in mates][:: rng.choice([-1, 1])])
    rng.shuffle(fragments)
    fragments[3000:3010] = fragments[:10]
    fragments[2000:2010] = [("N" * 150, "N" * 150)] * 10
    return [(f"linked.{number}", *mates) for number, mates in enumerate(fragments)]


def simulate_long(rng: np.random.Generator) -> list:
    """Return long reads of two genomes at 8x."""
    reads = [read.decode() for genome in read_slices(150_000) for read, _ in simulate_long_reads(genome, 8, rng)]
    rng.shuffle(reads)
    return [(f"long.{number}", read, "") for number, read in enumerate(reads)]


def simulate_sparse(rng: np.random.Generator) -> list:
    """Return long reads of two genomes, of which no two overlap."""
    reads = [genome[begin : begin + 5200] for genome in read_slices(300_000) for begin in range(0, 294_800, 5200)]
    rng.shuffle(reads)
    return [(f"sparse.{number}", add_errors(read, 0.05, rng).decode(), "") for number, read in enumerate(reads)]


@pytest.fixture(scope="session")
def manifests(tmp_path_factory, take_reads) -> dict[str, Path]:
    """Return the manifests of samples by name; all but `other` share one projection.

    `pairs`: 700 read pairs in five shards, few of them linked; one shard holds one pair, and of the fourth nothing is
    known. `linked`: 4000 read pairs of two genomes in three shards. `long`: about 450 long reads of two genomes in two
    shards, the second of one read. `sparse`: 114 long reads in two shards, none of them linked. `other`: 20 reads
    with a projection of their own.
    """
    mates = zip(take_reads("pairs_1.fastq.gz", 700), take_reads("pairs_2.fastq.gz", 700), strict=True)
    pairs = [(one[0].removesuffix("/1"), one[1], other[1]) for one, other in mates]
    pairs[601:621] = [(name, "N" * len(sequence), "NNN") for name, sequence, _ in pairs[601:621]]
    simulations = (simulate_linked, simulate_long, simulate_sparse)
    linked, long, sparse = (simulate(np.random.default_rng(1)) for simulate in simulations)
    folder, projection = tmp_path_factory.mktemp("samples"), fit(long)
    return {
        "pairs": write_sample(folder / "pairs", "illumina", pairs, [400, 1, 200, 20, 79], projection),
        "linked": write_sample(folder / "linked", "illumina", linked, [2500, 1400, 100], projection),
        "long": write_sample(folder / "long", "ont", long, [len(long) - 1, 1], projection),
        "sparse": write_sample(folder / "sparse", "ont", sparse, [70, 44], projection),
        "other": write_sample(folder / "other", "illumina", pairs[:20], [20], fit(pairs[:20])),
    }


@pytest.fixture
def copy_manifest(manifests, tmp_path) -> Callable[[str], Path]:
    """Return a function that copies a sample's shards to where a test may damage them."""

    def copy(sample: str) -> Path:
        return shutil.copytree(manifests[sample].parent, tmp_path / sample) / "manifest.json"

    return copy


@pytest.fixture
def make_sample(manifests, tmp_path) -> Callable[..., Path]:
    """Return a function that writes (sequence, mate) fragments as shards of the given sizes."""
    projection = Projection.from_json(read_manifest(manifests["pairs"]).embedder["projection"])

    def make(fragments: list[tuple[str, str]], sizes: list[int], platform: str = "illumina") -> Path:
        named = [(f"r{number}", *mates) for number, mates in enumerate(fragments)]
        return write_sample(tmp_path / "made", platform, named, sizes, projection)

    return make


@pytest.fixture(scope="session")
def launch(repository) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs a Python program on a number of ranks, or without mpiexec on 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "HYDRA", "MPI"))}
    environment |= {"PYTHONPATH": f"{repository / 'src'}{os.pathsep}{repository}"}

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
