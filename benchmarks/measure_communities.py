"""Measure readclade's clusters on communities of real genomes: the median and the worst of several seeds.

Example, from the repository root, after communities/fetch_genomes.py:
    PYTHONPATH=src .venv/bin/python benchmarks/measure_communities.py --genomes ~/genomes --split test \\
        --presets genera-8x long-5kb-3x --seeds 1 2 3 4 5 --out docs/quality.md

Each community is made, clustered by the scripts as the workflow runs them, scored against its truth, and removed. The
page's figures stand row by row in the table beside it (.tsv); a run that was stopped goes on where it was.
"""

import csv
import datetime
import statistics
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
from peers import ROOT, Task, get_sample, measure_own
from sklearn.metrics import adjusted_rand_score
from usage import get_machine

from readclade.cli import make_parser, run, start_log
from readclade.errors import ReadcladeError
from readclade.evaluation.agreement import compare, find_main_clusters, find_main_origins
from readclade.evaluation.job import evaluate_binnings
from readclade.inputs.tables import Sample, read_references
from readclade.results.cami import read_binning
from readclade.storage.files import write_atomically
from readclade.taxonomy.lineage import RANKS

_COLUMNS = ("preset", "split", "seed", "k", "genomes", "clusters", "ari", "ari_species", "ari_genus")
_COLUMNS += ("ari_genus_joined", "pairs", "pairs_apart")
_COLUMNS += ("purity", "completeness", "share_assigned", "fragments", "cpu_s", "peak_mb")
_CPU_LIMIT_S = 3600


def make_community(genomes: Path, preset: str, split: str, seed: int, out: Path) -> Sample:
    """Make one community in the folder `out`; return its sample."""
    make = [sys.executable, ROOT / "benchmarks/communities/make_community.py", "--genomes", genomes]
    make += ["--preset", preset, "--split", split, "--seed", seed, "--out", out]
    done = subprocess.run(list(map(str, make)), env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    if done.returncode:
        raise ReadcladeError(f"{preset} {split} {seed} cannot be made: {done.stderr.strip()[-2000:]}")
    name = (out / "samples.tsv").read_text(encoding="utf-8").splitlines()[1].split("\t")[0]
    return get_sample(out / "samples.tsv", name)


def measure(genomes: Path, preset: str, split: str, seed: int, k: str, threads: int, folder: Path) -> dict[str, object]:
    """Make one community, cluster it, and return its row of the table."""
    sample = make_community(genomes, preset, split, seed, folder / "community")
    name, table = sample.name, folder / "community/samples.tsv"
    truth = Path(sample.truth)
    count = len(set(read_binning(truth, name).bins.values()))
    place = folder / "run"
    place.mkdir()
    own_k = str(count) if k == "true" else k
    task = Task(table, sample, (), folder / "none", place, count, own_k, seed, threads)
    usage = measure_own(task, _CPU_LIMIT_S)
    references = folder / "community/references.tsv"
    scores = evaluate_binnings(truth, [task.binning], place / "scores.tsv", name, references)[str(task.binning)]
    row = {"preset": preset, "split": split, "seed": seed, "k": k, "genomes": count}
    row |= {metric: scores[metric] for metric in _COLUMNS if metric in scores}
    bins = [read_binning(path, name) for path in (truth, task.binning)]
    taxa = {str(entry.taxid): entry.lineage[RANKS.index("genus")] for entry in read_references(references)}
    row |= measure_relatives(bins[0].bins, bins[1].bins, {read: taxa[taxid] for read, taxid in bins[0].taxids.items()})
    return row | {"cpu_s": round(usage.cpu_s, 1), "peak_mb": round(usage.peak_mb)}


def measure_relatives(truth: dict[str, str], found: dict[str, str], genera: dict[str, str]) -> dict[str, float | int]:
    """Return how clusters stand at genus level when a genus may have several, and what became of relatives.

    Args:
        truth, found, genera: by fragment, its genome, cluster and genus; a fragment that is in none is not in `found`.

    Returns:
        ari_genus_joined: ARI of genera after clusters of one main genus became one: what two clusters of one genus
            cost at genus level is no error where they are its two species.
        pairs, pairs_apart: genomes of one genus, two by two, and how many of them have different main clusters.
    """
    names = list(truth)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(found.values()))}
    clusters = np.array([numbers[found[name]] if name in found else -1 for name in names])
    by_genus = compare([genera[name] for name in names], clusters)
    joined = np.append(find_main_origins(by_genus)[0], -1)[clusters]
    by_genome = compare([truth[name] for name in names], clusters)
    main = dict(zip(by_genome.origins, find_main_clusters(by_genome)[0].tolist(), strict=True))
    genus_of = {truth[name]: genera[name] for name in names}
    pairs = [(one, other) for one, other in combinations(main, 2) if genus_of[one] == genus_of[other]]
    return {
        "ari_genus_joined": float(adjusted_rand_score(by_genus.true, joined)),
        "pairs": len(pairs),
        "pairs_apart": sum(main[one] != main[other] for one, other in pairs),
    }


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows that an earlier run left."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    """Write all rows, atomically."""
    lines = ["\t".join(_COLUMNS), *("\t".join(str(row.get(column, "")) for column in _COLUMNS) for row in rows)]
    write_atomically(path, "\n".join(lines) + "\n")


def make_page(rows: list[dict[str, str]], command: str) -> str:
    """Return the page: a line for each preset, with the median and the worst of its seeds."""
    lines = [
        "# Quality on communities of real genomes",
        "",
        "The quality figures of readclade stand here, and nowhere else. Anyone can repeat this command. What the",
        "communities are stands in [benchmark communities](../benchmarks/communities/README.md).",
        "",
        "```text",
        command,
        "```",
        "",
        f"{datetime.date.today():%d %B %Y}, on {get_machine()}. A seed draws other genomes and other reads.",
        "The table beside this page (.tsv) has the single seeds, [the log](log/README.md#clustering) blind checks.",
        "",
        "- *ARI*: adjusted Rand index over all fragments, the unassigned as one more cluster. The median over the",
        "  seeds, and in brackets the worst.",
        "- *Joined*: clusters of one main genus count as one, since its species in a cluster each are no error.",
        "- *Relatives apart*: genomes of one genus, two by two, that have main clusters of their own, over all seeds.",
        "",
        "| community | split | k given | seeds | genomes | clusters | ARI | ARI, genus | joined | relatives apart |"
        " purity | assigned | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["preset"], row["split"], row["k"]), []).append(row)
    for (preset, split, k), group in groups.items():

        def show(column: str, digits: int = 3, with_worst: bool = False, group=group) -> str:
            values = [float(row[column]) for row in group if row.get(column)]
            if not values:
                return "–"
            worst = f" ({min(values):.{digits}f})" if with_worst else ""
            return f"{statistics.median(values):.{digits}f}{worst}"

        cells = [preset, split, k, str(len(group)), show("genomes", 0), show("clusters", 0), show("ari", 3, True)]
        apart, pairs = (sum(int(row.get(name) or 0) for row in group) for name in ("pairs_apart", "pairs"))
        cells += [show("ari_genus", 3, True), show("ari_genus_joined", 3, True)]
        cells += [f"{apart} of {pairs}" if pairs else "–", show("purity"), show("share_assigned"), show("cpu_s", 0)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, and write the table and the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--genomes", required=True, type=Path, help="folder that fetch_genomes.py filled")
    parser.add_argument("--presets", required=True, nargs="+", help="names in communities/presets.tsv")
    parser.add_argument("--split", default="tune", choices=["tune", "test"], help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="default: 1 to 5")
    parser.add_argument("--k", default="auto", help="number of clusters, 'true' or 'auto' (default)")
    parser.add_argument("--threads", type=int, default=2, help="actors and ranks (default: %(default)s)")
    parser.add_argument("--out", required=True, type=Path, help="page to write; the table stands beside it")
    arguments = parser.parse_args()
    log = start_log("measure")
    table = arguments.out.with_suffix(".tsv")
    rows: list[dict] = read_table(table)
    done = {(row["preset"], row["split"], row["seed"], row["k"]) for row in rows}
    for preset in arguments.presets:
        for seed in arguments.seeds:
            if (preset, arguments.split, str(seed), arguments.k) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                options = (preset, arguments.split, seed, arguments.k, arguments.threads, Path(folder))
                rows.append({key: str(value) for key, value in measure(arguments.genomes, *options).items()})
            log.info(f"{preset} {arguments.split} seed {seed}: ARI {float(rows[-1]['ari']):.3f}")
            write_table(table, rows)
    listed = f"--presets {' '.join(arguments.presets)} --seeds {' '.join(map(str, arguments.seeds))} --k {arguments.k}"
    out = arguments.out.resolve()
    out = out.relative_to(ROOT) if out.is_relative_to(ROOT) else out.name
    command = f"PYTHONPATH=src .venv/bin/python benchmarks/measure_communities.py --split {arguments.split} {listed}"
    write_atomically(arguments.out, make_page(rows, f"{command} --genomes GENOMES --out {out}"))


if __name__ == "__main__":
    run(main)
