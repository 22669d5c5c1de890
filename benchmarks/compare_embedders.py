"""Compare embedders on one sample: how well k-means tells its genomes apart, before and after linking and calibration.

Example, from the repository root, after `make demo` and, for lshvec, scripts/train_lshvec.py:
    PYTHONPATH=src .venv/bin/python benchmarks/compare_embedders.py --shards demo/run/shards/long \\
        --truth demo/truth/long.tsv --embedders kmer:k=4 kmer:k=5 lshvec:model=models/lshvec.safetensors

Prints a table, a row an embedder: ARI of k-means with the true number of clusters on the vectors of single fragments (d
values each, as a shard holds them, and all D), on the same d values whitened, and on the pooled and calibrated vectors
of groups of linked fragments, each fragment with its group's cluster. The composition models that `cluster` decides by
are left out: they take over from the vectors and would give nearly the same clusters for all.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from mpi4py import MPI
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from readclade.cli import make_parser, run, start_log
from readclade.clustering.genomes.kmeans import run_kmeans
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.groups.calibration import Calibration, fit_calibration
from readclade.clustering.groups.linkage import Linkage
from readclade.clustering.groups.linking import link_fragments
from readclade.clustering.groups.pooling import are_apart, pool_groups
from readclade.clustering.links.sequences import Sequences, encode_sequences
from readclade.clustering.ranks.exchange import Layout
from readclade.embedders.projection import fit_projection
from readclade.embedders.protocol import Embedder, get_embedder
from readclade.errors import ConfigError
from readclade.results.cami import read_binning
from readclade.shards.manifest import read_manifest
from readclade.shards.parquet import read_shard

_HEADER = (
    "| embedder | D | d | single, d values | single, all D | single, whitened | groups, d values | groups, all D |"
)
_BATCH = 16384
# What `measure` returns, in this order.
FIGURES = ("single_d", "single_D", "single_whitened", "groups_d", "groups_D")


def parse_embedder(text: str) -> tuple[str, dict[str, object]]:
    """Return the name and the parameters of `name` or `name:parameter=value,...`; whole numbers become int."""
    name, _, rest = text.partition(":")
    parameters: dict[str, object] = {}
    for pair in filter(None, rest.split(",")):
        key, is_given, value = pair.partition("=")
        if not is_given:
            raise ConfigError(f"'{pair}' in '{text}' is no parameter", remedy="write name:parameter=value,...")
        parameters[key] = int(value) if value.isdecimal() else value
    return name, parameters


def embed_all(embedder: Embedder, table: pa.Table, has_mates: bool) -> np.ndarray:
    """Return (n, D) float32 vectors of the columns `sequence` and `mate`."""
    parts = []
    for begin in range(0, len(table), _BATCH):
        rows = table.slice(begin, _BATCH).combine_chunks()
        reads, mates = (rows[name].combine_chunks() for name in ("sequence", "mate"))
        parts.append(embedder.embed(reads, mates if has_mates else None))
    return np.concatenate(parts)


def cluster(calibration: Calibration, vectors: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """Return (n,) int64, the cluster of each calibrated vector by k-means with 8 seedings."""
    points = Points(MPI.COMM_SELF, calibration.to_lattice(vectors), weights, np.arange(len(vectors)))
    return points.get_distances(run_kmeans(points, k, 0, 8).centroids)[0]


def cluster_groups(vectors, known, layout: Layout, linked: Linkage, lengths, k: int) -> np.ndarray:
    """Return (n,) int64, the cluster of each fragment's group by k-means on pooled and calibrated vectors."""
    roots = linked.levels[-1]
    data = (vectors, lengths, known, linked.depths)
    groups = pool_groups(layout, roots, *data)
    parts = pool_groups(layout, linked.levels[0] if linked.is_short else layout.ids, *data)
    outer = roots[parts.ids]
    inside = are_apart(layout, parts, groups, outer)
    deviations = parts.vectors.look_up(parts.ids[inside]) - groups.vectors.look_up(outer[inside])
    used = groups.fragments > 0
    means = groups.vectors.look_up(groups.ids[used])
    calibration = fit_calibration(means, groups.bases[used], deviations, parts.bases[inside], 16)
    labels = np.full(len(known), -1)
    labels[groups.ids[used]] = cluster(calibration, means, groups.bases[used], k)
    return labels[roots]


def measure(
    vectors: np.ndarray, embedder: Embedder, d: int, layout: Layout, linked: Linkage, lengths, truth: np.ndarray
) -> list[float]:
    """Return the ARI named in FIGURES of one embedder's (n, D) vectors, over the fragments that it has a vector for."""
    known = ~np.isnan(vectors[:, 0])
    k = truth.max() + 1
    whole = np.ones(known.sum(), np.int64)
    projected = fit_projection(vectors[: embedder.fit_fragments], d, embedder.is_composition).apply(vectors)
    found = []
    for single in (projected[known], vectors[known]):
        # No whitening: one unit for all directions.
        scale = np.eye(single.shape[1]) / max(single.std(), 1e-12)
        found.append(cluster(Calibration(single.mean(axis=0), scale, scale, False), single, whole, k))
    nothing = np.zeros((0, projected.shape[1])), np.zeros(0)
    found.append(
        cluster(fit_calibration(projected[known].astype(np.float64), whole, *nothing, 16), projected[known], whole, k)
    )
    for kept in (projected, np.nan_to_num(vectors)):
        found.append(cluster_groups(kept, known, layout, linked, lengths, k)[known])
    return [adjusted_rand_score(truth[known], labels) for labels in found]


def load(shards: Path, truth: Path) -> tuple[pa.Table, Sequences, str, np.ndarray]:
    """Return the reads of a sample, their codes, its platform and the number of each fragment's genome."""
    manifest = read_manifest(shards / "manifest.json")
    columns = ["name", "sequence", "mate", "error_rate"]
    table = pa.concat_tables([read_shard(manifest, shard, shards, columns) for shard in manifest.shards])
    bins = read_binning(truth, manifest.sample).bins
    genomes = np.unique([bins[name] for name in table["name"].to_pylist()], return_inverse=True)[1]
    return table, encode_sequences([table.select(["sequence", "mate"])]), manifest.platform, genomes


def main() -> None:
    """Read, link once, and measure each embedder."""
    parser = make_parser(__doc__)
    parser.add_argument("--shards", required=True, type=Path, help="shards of the sample")
    parser.add_argument("--truth", required=True, type=Path, help="its CAMI binning file")
    parser.add_argument("--embedders", nargs="+", default=["kmer:k=4", "kmer:k=5"], help="name:parameter=value,...")
    parser.add_argument("--d", type=int, default=32, help="values that a shard holds (default: %(default)s)")
    arguments = parser.parse_args()
    chosen = [(text, get_embedder(*parse_embedder(text))) for text in arguments.embedders]
    table, sequences, platform, truth = load(arguments.shards, arguments.truth)
    layout = Layout(MPI.COMM_SELF, np.array([0, len(table)]))
    start_log("compare")
    print(_HEADER, "|---|---|---|---|---|---|---|---|", sep="\n", flush=True)
    with threadpool_limits(1):
        errors = table["error_rate"].to_numpy()
        linked = link_fragments(layout, sequences, platform, errors)
        for text, embedder in chosen:
            vectors = embed_all(embedder, table, platform == "illumina")
            d = min(arguments.d, embedder.dim)
            figures = measure(vectors, embedder, d, layout, linked, sequences.lengths, truth)
            print(f"| {text} | {embedder.dim} | {d} |", *(f"{figure:.3f} |" for figure in figures), flush=True)


if __name__ == "__main__":
    run(main)
