"""Cluster the fragments of a sample by their own 4-mers alone: the k-means that readclade is compared with.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python benchmarks/cluster_composition.py --samples demo/samples.tsv --sample long \\
        --engine sklearn --k 12 --out binning.tsv

A fragment's vector holds the square roots of the frequencies of its canonical 4-mers (136 values), so that Euclidean
distance is Hellinger distance. Ten starts; the best one by its objective is kept. Writes a CAMI binning file.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from peers import get_sample, write_binning

from readclade.cli import make_parser, run
from readclade.embedders.kmer import KmerEmbedder
from readclade.inputs.tables import Lane, Sample
from readclade.reads.records import get_fragment_name, open_lane

_STARTS = 10
_ROWS = 1 << 14


def read_fragments(lanes: tuple[Lane, ...]) -> Iterator[tuple[str, str, str | None]]:
    """Yield name, read and mate of each fragment; the mate is None for single reads."""
    for lane in lanes:
        with open_lane(lane) as reader:
            for record, mate in reader:
                yield get_fragment_name(record), record.sequence, None if mate is None else mate.sequence


def embed_sample(sample: Sample) -> tuple[list[str], np.ndarray]:
    """Return the names and the (n, 136) float32 Hellinger vectors; zeros for a fragment without a 4-mer."""
    embedder = KmerEmbedder(4)
    names, parts = [], []
    fragments = read_fragments(sample.lanes)
    while batch := list(islice(fragments, _ROWS)):
        names += [name for name, _, _ in batch]
        sequences = pa.array([sequence for _, sequence, _ in batch], pa.string())
        mates = pa.array([mate or "" for _, _, mate in batch], pa.string())
        parts.append(np.nan_to_num(np.sqrt(embedder.embed(sequences, mates))))
    return names, np.concatenate(parts)


def cluster_with_sklearn(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the (n,) clusters of scikit-learn's KMeans (k-means++, Lloyd)."""
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=_STARTS, random_state=seed).fit_predict(vectors)


def cluster_with_faiss(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the (n,) clusters of faiss.Kmeans (random centres, 25 iterations), trained on every vector."""
    import faiss

    kmeans = faiss.Kmeans(
        vectors.shape[1], k, nredo=_STARTS, seed=seed, max_points_per_centroid=len(vectors), min_points_per_centroid=1
    )
    kmeans.train(vectors)
    return kmeans.index.search(vectors, 1)[1][:, 0]


def main() -> None:
    """Read the arguments and cluster."""
    parser = make_parser(__doc__)
    parser.add_argument("--samples", required=True, type=Path, help="table of samples")
    parser.add_argument("--sample", required=True, help="name of the sample")
    parser.add_argument("--engine", required=True, choices=["sklearn", "faiss"])
    parser.add_argument("--k", required=True, type=int, help="number of clusters")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", required=True, type=Path, help="binning file to write")
    arguments = parser.parse_args()
    names, vectors = embed_sample(get_sample(arguments.samples, arguments.sample))
    if not 1 <= arguments.k <= len(names):
        parser.error(f"--k must be from 1 to the number of fragments, {len(names)}")
    cluster = {"sklearn": cluster_with_sklearn, "faiss": cluster_with_faiss}[arguments.engine]
    write_binning(arguments.out, arguments.sample, names, cluster(vectors, arguments.k, arguments.seed))


if __name__ == "__main__":
    run(main)
