"""Compile the loops that Numba makes machine code of before a run wants them, by two small made-up samples.

Numba compiles a loop when it is first called, for the processor that it runs on, and keeps it beside its module.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import fit_projection
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads.fragments import read_batches
from readclade.reads.summary import summarise_reads
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import write_shard

_GENOME_BP, _DEPTH, _STRAYS = 100_000, 10, 10
_READ_BP = {"illumina": 150, "ont": 5000}
_COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


def _write_reads(path: Path, platform: str) -> None:
    """Write reads of two random genomes with unlike GC and some of none, in random order: pairs, or long reads."""
    rng = np.random.default_rng(0)
    size, letters = _READ_BP[platform], np.frombuffer(b"ACGT", np.uint8)
    genomes = [
        rng.choice(letters, _GENOME_BP, p=p).tobytes() for p in ([0.35, 0.15, 0.15, 0.35], [0.15, 0.35, 0.35, 0.15])
    ]
    reads = []
    for genome in genomes:
        for begin in rng.integers(0, _GENOME_BP - 2 * size - 100, _GENOME_BP * _DEPTH // size).tolist():
            mate = genome[begin + size + 50 : begin + 2 * size + 50].translate(_COMPLEMENT)[::-1]
            reads.append(
                [genome[begin : begin + size], mate] if platform == "illumina" else [genome[begin : begin + size]]
            )
    # Some are linked with nothing, and are placed one by one.
    reads += [[rng.choice(letters, size).tobytes() for _ in reads[0]] for _ in range(_STRAYS)]
    quality = b"5" * size
    with open(path, "wb") as file:
        for number in rng.permutation(len(reads)).tolist():
            for read in reads[number]:
                file.write(b"@r%d\n%s\n+\n%s\n" % (number, read, quality))


def _compile_for(platform: str) -> None:
    """Read, embed and cluster a sample of a platform."""
    from mpi4py import MPI  # here: a process that MPI has started in must not start others

    from readclade.clustering.job import Parameters, cluster_fragments

    with TemporaryDirectory(prefix="readclade-") as name:
        folder = Path(name)
        _write_reads(folder / "reads.fastq", platform)
        lane = Lane(str(folder / "reads.fastq"), INTERLEAVED if platform == "illumina" else None)
        plan = summarise_reads("compile", platform, [lane], folder, 1 << 30)
        embedder = KmerEmbedder(4)
        embedded = [(batch, embedder.embed(batch.sequences, batch.mates)) for batch in read_batches(plan, 0, folder)]
        projection = fit_projection(np.concatenate([vectors for _, vectors in embedded]), 32, is_composition=True)
        projected = [(batch, projection.apply(vectors)) for batch, vectors in embedded]
        shard = write_shard(folder / "shard-00000.parquet", projected, projection.d)
        described = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": projection.to_json()}
        Manifest("compile", platform, described, projection.d, "0" * 64, (shard,)).write(folder / "manifest.json")
        parameters, manifests = Parameters("kmeans", None, 0, 16, 8), [folder / "manifest.json"]
        cluster_fragments(MPI.COMM_SELF, manifests, folder / "out", parameters, has_overlaps=True)


def compile_loops() -> None:
    """Read, embed by k-mers and cluster pairs and long reads side by side."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(_compile_for, _READ_BP))
