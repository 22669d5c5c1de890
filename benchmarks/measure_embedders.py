"""Compare the embedders on communities of real genomes, with d values and with all that they give, in one table.

Example, from the repository root, after communities/fetch_genomes.py:
    PYTHONPATH=src .venv/bin/python benchmarks/measure_embedders.py --genomes ~/genomes --split test \\
        --presets long-5kb-3x genera-2x --seeds 1 2 --out docs/embedders.tsv

Needs `make networks`, for lshvec. Each community is made, and for each embedder clustered twice by the scripts as the
workflow runs them (k: auto): with d values in its shards, and with all D. The other columns are those of
compare_embedders.py, which says what they are. A run that was stopped goes on where it was; the table is printed for a
page, medians over the seeds, with what d values cost beside all D after `cluster`: the mean over the seeds and the
worst of them.
"""

import logging
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from compare_embedders import FIGURES, embed_all, load, measure
from measure_communities import make_community, read_table
from mpi4py import MPI
from peers import ROOT
from threadpoolctl import threadpool_limits

from readclade.cli import make_parser, run, start_log
from readclade.clustering.groups.linking import link_fragments
from readclade.clustering.ranks.exchange import Layout
from readclade.embedders.protocol import get_embedder
from readclade.errors import ReadcladeError
from readclade.evaluation.job import evaluate_binnings
from readclade.inputs.tables import Sample
from readclade.storage.files import write_atomically

log = logging.getLogger("readclade")

# The embedders that need no weights, as options of embed_fragments.py.
EMBEDDERS = {
    "kmer, k = 4": ["--embedder", "kmer", "--k", "4"],
    "kmer, k = 5": ["--embedder", "kmer", "--k", "5"],
    "lshvec": ["--embedder", "lshvec", "--model", "lshvec.safetensors"],
}
_KEYS = ("preset", "split", "seed", "embedder")
_COLUMNS = (*_KEYS, "D", "d", *FIGURES, "clustered_d", "clustered_D")


def run_script(folder: Path, name: str, *arguments: object) -> None:
    """Run a script of the workflow in a folder, on one thread.

    Raises:
        ReadcladeError: it failed; the message ends with what it printed.
    """
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["RAY_raylet_start_wait_time_s"] = "600"  # Ray gives up after 30 s, which a busy machine may need
    command = [sys.executable, ROOT / "scripts" / f"{name}.py", *arguments]
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ReadcladeError(f"{name} failed: {done.stderr.strip()[-2000:]}")


def cluster_whole(sample: Sample, shards: Path, folder: Path) -> float:
    """Cluster shards as the workflow does; return the ARI over all fragments."""
    run_script(folder, "cluster_fragments", "--manifest", shards / "manifest.json", "--out", folder / "clusters")
    binning = folder / "clusters/binning.tsv"
    scores = evaluate_binnings(Path(sample.truth), [binning], folder / "scores.tsv", sample.name)
    return scores[str(binning)]["ari"]


class Community:
    """A community of reads, fetched and linked once for all embedders."""

    def __init__(self, sample: Sample, folder: Path):
        """Fetch the reads of a sample into the folder, and train lshvec on them."""
        self.sample, self.folder = sample, folder
        lanes = [word for lane in sample.lanes for word in ("--lane", lane.fq1, *([lane.fq2] if lane.fq2 else []))]
        options = ["--sample", sample.name, "--platform", sample.platform, *lanes, "--out", "reads"]
        run_script(folder, "fetch_reads", *options)
        run_script(folder, "train_lshvec", "--reads", "reads/reads.json", "--out", "lshvec.safetensors")
        self._linked = None

    def compare(self, name: str, d: int) -> dict[str, object]:
        """Return an embedder's figures, with d values and with all."""
        row: dict[str, object] = {}
        for column, values in (("clustered_d", d), ("clustered_D", 10**6)):
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                shards = Path(place) / "shards"
                common = ["--reads", "reads/reads.json", "--out", shards, "--d", values]
                run_script(self.folder, "embed_fragments", *common, *EMBEDDERS[name])
                row[column] = cluster_whole(self.sample, shards, Path(place))
                log.info(f"{name}, d = {values}: ARI {row[column]:.3f}")
                if column == "clustered_d":
                    row |= self._measure_vectors(shards, name, d)
        return row

    def _measure_vectors(self, shards: Path, name: str, d: int) -> dict[str, object]:
        options = dict(zip(*[iter(word.removeprefix("--") for word in EMBEDDERS[name])] * 2, strict=True))
        parameters = {"k": int(options["k"])} if "k" in options else {"model": str(self.folder / options["model"])}
        embedder = get_embedder(options["embedder"], parameters)
        with threadpool_limits(1):
            if self._linked is None:
                table, sequences, platform, truth = load(shards, Path(self.sample.truth))
                layout = Layout(MPI.COMM_SELF, np.array([0, len(table)]))
                errors = table["error_rate"].to_numpy()
                linked = link_fragments(layout, sequences, platform, errors)
                self._linked = table, layout, linked, sequences.lengths, truth
            table, layout, linked, lengths, truth = self._linked
            has_mates = pa.compute.any(pa.compute.not_equal(table["mate"], "")).as_py()
            vectors = embed_all(embedder, table, has_mates)
            figures = measure(vectors, embedder, min(d, embedder.dim), layout, linked, lengths, truth)
        return {"D": embedder.dim, "d": min(d, embedder.dim)} | dict(zip(FIGURES, figures, strict=True))


def make_lines(rows: list[dict[str, str]]) -> list[str]:
    """Return the table as Markdown: a line for each community and embedder, medians over its seeds."""
    heads = ["community", "embedder", "seeds", "D", "d", *(figure.replace("_", ", ") for figure in _COLUMNS[6:])]
    lines = [f"| {' | '.join(heads)} | fall, mean | fall, worst |", "|---" * (len(heads) + 2) + "|"]
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((f"{row['preset']} ({row['split']})", row["embedder"]), []).append(row)
    for key, group in groups.items():
        medians = (statistics.median(float(row[column]) for row in group) for column in _COLUMNS[6:])
        falls = [float(row["clustered_D"]) - float(row["clustered_d"]) for row in group]
        cells = [*key, str(len(group)), group[0]["D"], group[0]["d"], *(f"{median:.3f}" for median in medians)]
        lines.append(f"| {' | '.join(cells)} | {statistics.mean(falls):+.3f} | {max(falls):+.3f} |")
    return lines


def main() -> None:
    """Measure what is missing, write the table, and print it for a page."""
    parser = make_parser(__doc__)
    parser.add_argument("--genomes", required=True, type=Path, help="folder that fetch_genomes.py filled")
    parser.add_argument("--presets", required=True, nargs="+", help="names in communities/presets.tsv")
    parser.add_argument("--split", default="test", choices=["tune", "test"], help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default: 1 to 3")
    parser.add_argument("--embedders", nargs="+", default=list(EMBEDDERS), choices=EMBEDDERS, help="default: all")
    parser.add_argument("--d", type=int, default=32, help="values that a shard holds (default: %(default)s)")
    parser.add_argument("--out", required=True, type=Path, help="table to write (.tsv)")
    arguments = parser.parse_args()
    start_log("embedders")
    rows: list[dict] = read_table(arguments.out)
    for seed in arguments.seeds:
        for preset in arguments.presets:
            done = {tuple(row[key] for key in _KEYS) for row in rows}
            keys = {name: (preset, arguments.split, str(seed), name) for name in arguments.embedders}
            missing = [name for name in arguments.embedders if keys[name] not in done]
            if not missing:
                continue
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place).resolve()
                sample = make_community(arguments.genomes, preset, arguments.split, seed, folder / "community")
                community = Community(sample, folder)
                log.info(f"{preset} {arguments.split} seed {seed} is ready")
                for name in missing:
                    row = dict(zip(_KEYS, keys[name], strict=True)) | community.compare(name, arguments.d)
                    rows.append({column: str(row[column]) for column in _COLUMNS})
                    lines = ["\t".join(_COLUMNS), *("\t".join(row[column] for column in _COLUMNS) for row in rows)]
                    write_atomically(arguments.out, "\n".join(lines) + "\n")
    print("\n".join(make_lines(rows)))


if __name__ == "__main__":
    run(main)
