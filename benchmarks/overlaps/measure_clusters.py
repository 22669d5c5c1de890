"""Cluster simulated reads by the scripts as the workflow runs them, and judge the clusters by the truth.

Example, from the repository root, with reads of sim.py:
    PYTHONPATH=src .venv/bin/python benchmarks/overlaps/measure_clusters.py pairs.npz long.npz --qualities '?'

A genome is recovered where a cluster of it has this purity and completeness, by fragments. "rest" leaves out what
--spoil element added. Each line of the table is one file of reads.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sim import load_reads
from sklearn.metrics import adjusted_rand_score

from readclade.cli import make_parser, run
from readclade.results.cami import read_binning

sys.path.insert(0, str(Path(__file__).parents[1]))
from peers import Task, get_sample, measure_own
from usage import Usage

CPU_LIMIT_S = 20_000
BARS = ((0.9, 0.5), (0.95, 0.9))  # purity and completeness
ELEMENT = 10**9  # where the places of an element begin
COLUMNS = ("reads", "genomes", "clusters", "ARI", "rest", "purity", "assigned", "0.9/0.5", "0.95/0.9", "CPU s", "GB")


def write_reads(reads: dict[str, np.ndarray], folder: Path, qualities: str | None) -> Path:
    """Write FASTQ and a table of samples; return the table. Fragments are named by their numbers.

    Args:
        qualities: one letter for all bases, or None: each fragment's true error rate.
    """
    codes = np.frombuffer(b"ACGTN", np.uint8)[reads["codes"]].tobytes()
    offsets, count = reads["offsets"], len(reads["genome"])
    mates = (len(offsets) - 1) // count
    letters = [chr(33 + int(score)) for score in np.rint(-10 * np.log10(reads["rate"]))]
    names = [f"reads_{mate + 1}.fastq" for mate in range(mates)]
    for mate, name in enumerate(names):
        with open(folder / name, "wb") as file:
            for f in range(count):
                sequence = codes[offsets[mates * f + mate] : offsets[mates * f + mate + 1]]
                quality = (qualities or letters[f]).encode() * len(sequence)
                file.write(b"@%d\n%s\n+\n%s\n" % (f, sequence, quality))
    platform = "illumina" if mates == 2 else "ont"
    table = folder / "samples.tsv"
    row = ["reads", *names, *[""] * (2 - mates), platform]
    table.write_text("sample\tfq1\tfq2\tplatform\n" + "\t".join(row) + "\n")
    return table


def cluster(table: Path, count: int, folder: Path, threads: int) -> tuple[np.ndarray, Usage]:
    """Return each fragment's cluster, -1 where it has none, and what that took."""
    sample = get_sample(table, "reads")
    task = Task(table, sample, (), folder / "none", folder, 0, "auto", 0, threads)
    usage = measure_own(task, CPU_LIMIT_S)
    bins = read_binning(task.binning, "reads").bins
    numbers = {name: number for number, name in enumerate(dict.fromkeys(bins.values()))}
    return np.array([numbers[bins[str(f)]] if str(f) in bins else -1 for f in range(count)]), usage


def judge(reads: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, object]:
    """Return the figures of the table."""
    genome, is_rest = reads["genome"], reads["start"] < ELEMENT
    counts = np.zeros((int(genome.max()) + 1, int(labels.max()) + 2), np.int64)
    np.add.at(counts, (genome, labels), 1)
    counts = counts[:, :-1]  # without the unassigned
    purity = counts / np.maximum(counts.sum(axis=0), 1)
    completeness = counts / np.maximum(np.bincount(genome, minlength=len(counts)), 1)[:, None]
    figures = {
        "genomes": len(set(genome.tolist())),
        "clusters": counts.shape[1],
        "ARI": adjusted_rand_score(genome, labels),
        "rest": adjusted_rand_score(genome[is_rest], labels[is_rest]),
        "purity": counts.max(axis=0).sum() / max(counts.sum(), 1),
        "assigned": float((labels >= 0).mean()),
    }
    for pure, complete in BARS:
        figures[f"{pure}/{complete}"] = int(((purity >= pure) & (completeness >= complete)).any(axis=1).sum())
    return figures


def main() -> None:
    """Cluster each file of reads, and print its line."""
    parser = make_parser(__doc__)
    parser.add_argument("reads", nargs="+", type=Path, metavar="READS.npz")
    parser.add_argument("--qualities", metavar="LETTER", help="of all bases (default: the true error rates)")
    parser.add_argument("--threads", type=int, default=2, help="actors and ranks (default: %(default)s)")
    arguments = parser.parse_args()
    print("\t".join(COLUMNS), flush=True)
    for path in arguments.reads:
        reads = load_reads(path)
        with tempfile.TemporaryDirectory() as folder:
            table = write_reads(reads, Path(folder), arguments.qualities)
            labels, usage = cluster(table, len(reads["genome"]), Path(folder), arguments.threads)
        row = {"reads": path.stem} | judge(reads, labels)
        row |= {"CPU s": round(usage.cpu_s), "GB": usage.peak_mb / 1000}
        cells = [row[column] for column in COLUMNS]
        print("\t".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells), flush=True)


if __name__ == "__main__":
    run(main)
