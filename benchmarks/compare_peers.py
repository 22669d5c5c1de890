"""Compare readclade with other ways of clustering the same reads: quality, CPU time and memory, in one table.

Example, from the repository root (or: make bench):
    PYTHONPATH=src .venv/bin/python benchmarks/compare_peers.py --samples demo/samples.tsv --sample pairs \\
        --out docs/peers.md

The tools run one after the other. Writes a page and, beside it, the same figures as a table (.tsv). mmseqs2 and vsearch
come from Debian (make system-deps); a tool that is not installed has a row that says so.
"""

import csv
import datetime
import logging
import shlex
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cluster_composition import read_fragments
from peers import PEERS, ROOT, Peer, Task, choose_peers, get_sample
from usage import CommandError, TimeLimitError, Usage, get_machine, measure_command

from readclade.cli import make_parser, run, start_log
from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.evaluation.job import evaluate_binnings
from readclade.inputs.tables import Sample, read_samples
from readclade.results.cami import read_binning
from readclade.storage.files import write_atomically

log = logging.getLogger("readclade")

_COLUMNS = (
    *("sample", "tool", "version", "settings", "status", "clusters", "large_clusters", "ari", "purity", "completeness"),
    *("share_assigned", "cpu_s", "wall_s", "peak_mb", "cpu_ratio", "seed", "steps_cpu_s"),
)
_HEADS = (
    *("tool", "version", "settings", "clusters (≥ 1%)", "ARI", "purity", "completeness", "assigned"),
    *("CPU s", "wall s", "peak MB", "CPU ratio"),
)
_DEMO = ROOT / "demo/samples.tsv"
_METHOD = """\
Every tool clusters the same reads, one tool at a time. The columns:

- **clusters (≥ 1%)**: all clusters, and those with at least 1% of the fragments.
- **ARI**: over all fragments of the truth; the unassigned count as one more cluster.
- **purity**: the share of the assigned fragments that belong to the largest genome of their cluster.
- **completeness**: the share of all fragments that are in the cluster with most of their genome.
- **CPU s**: user and system time of all processes of the tool, from the operating system.
- **peak MB**: their highest memory, shared pages counted once, from the operating system.
- **CPU ratio**: the CPU time over that of readclade.

[Evaluation](evaluation.md) defines the measures. A cluster of one read is pure, so read purity together with the number
of clusters and completeness. The tools:

- **readclade**: its scripts `fetch_reads`, `embed_fragments` and `cluster_fragments`, as the workflow runs them. Its
  time includes the start of Ray and MPI, the checksums and the Parquet shards; the others do without.
- **k-means**: one process reads, counts 4-mers and clusters. A vector holds the square roots of the frequencies of the
  136 canonical 4-mers of a fragment, both mates together (Hellinger distance).
- **mmseqs2, vsearch**: they get a FASTA file of all reads. Then all clusters that hold one of two mates are joined.
  Neither of these two steps is counted.
- **Identity for ONT reads**: 0.80, since two reads with 5 to 10% errors agree in 81 to 90%. Neither manual has settings
  for reads with many errors. All else is as for short reads.
"""


@dataclass
class Row:
    """One tool on one sample: its figures, or why there are none (status)."""

    sample: str
    tool: str
    version: str = ""
    settings: str = ""
    status: str = "ok"
    figures: dict[str, float | int] = field(default_factory=dict)
    usage: Usage | None = None
    seed: int | None = None
    steps: dict[str, Usage] = field(default_factory=dict)


def score_binning(truth: Path, binning: Path, sample: str) -> dict[str, float | int]:
    """Return the figures of a binning file over all fragments of the truth.

    large_clusters: those that hold at least 1% of the fragments.

    Raises:
        InputError: a file cannot be read, or the binning names fragments that the truth does not have.
    """
    scores = evaluate_binnings(truth, [binning], binning.with_suffix(".scores"), sample)
    figures = scores[str(binning)]
    sizes = Counter(read_binning(binning, sample).bins.values())
    large = sum(size >= 0.01 * figures["fragments"] for size in sizes.values())
    return figures | {"large_clusters": large}


def run_peer(peer: Peer, task: Task, truth: Path, limit_s: float) -> Row:
    """Run one tool once and score what it finds.

    Args:
        limit_s: CPU seconds that all its steps may take.
    """
    version = peer.get_version()
    row = Row(
        task.sample.name, peer.name, version or "", peer.describe(task), seed=task.seed if peer.is_seeded else None
    )
    if version is None:
        row.status = f"not installed: {peer.install}"
        return row
    task.folder.mkdir(parents=True)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: str(task.threads) for name in names}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}
    total = Usage()
    try:
        for name, command in peer.get_steps(task):
            log = task.folder / f"{name}.log"
            row.steps[name] = measure_command(command, limit_s - total.cpu_s, log, environment)
            total += row.steps[name]
        peer.finish(task)
        row.figures = score_binning(truth, task.binning, task.sample.name)
        row.usage = total
    except TimeLimitError:
        row.status = f"did not finish in {limit_s:g} s of CPU time"
    except CommandError as error:
        row.status = str(error)
    return row


def run_seeds(peer: Peer, make_task: Callable[[int], Task], truth: Path, seeds: list[int], limit_s: float) -> Row:
    """Run a tool with every seed that it takes; return the run of median ARI, or the first without a result."""
    rows = []
    for seed in seeds if peer.is_seeded else seeds[:1]:
        rows.append(run_peer(peer, make_task(seed), truth, limit_s))
        if not rows[-1].figures:
            return rows[-1]
    return sorted(rows, key=lambda row: row.figures["ari"])[(len(rows) - 1) // 2]


def get_cells(row: Row, own: Usage | None) -> dict[str, str]:
    """Return the cells of a row by column of the table."""
    cells = {column: getattr(row, column) for column in ("sample", "tool", "version", "settings", "status")}
    if row.usage is not None:
        cells |= {column: str(row.figures[column]) for column in ("clusters", "large_clusters")}
        shares = ("ari", "purity", "completeness", "share_assigned")
        cells |= {column: f"{row.figures[column]:.3f}" for column in shares}
        cells |= {column: f"{getattr(row.usage, column):.1f}" for column in ("cpu_s", "wall_s")}
        cells["peak_mb"] = f"{row.usage.peak_mb:.0f}"
        cells["cpu_ratio"] = f"{row.usage.cpu_s / own.cpu_s:.2f}" if own else ""
        cells["seed"] = "" if row.seed is None else str(row.seed)
        cells["steps_cpu_s"] = ", ".join(f"{name} {usage.cpu_s:.1f}" for name, usage in row.steps.items())
    return {column: cells.get(column, "") for column in _COLUMNS}


def make_section(sample: str, about: str, rows: list[dict[str, str]]) -> list[str]:
    """Return the page's lines about one sample."""
    lines = [f"## {sample}", "", about, "", f"| {' | '.join(_HEADS)} |", "|---|---|---|" + "---:|" * (len(_HEADS) - 3)]
    for row in rows:
        cells = [
            row["tool"],
            row["version"],
            f"`{row['settings']}`" if row["settings"][:2] == "--" else row["settings"],
        ]
        if row["status"] == "ok":
            cells.append(f"{int(row['clusters']):,} ({row['large_clusters']})")
            cells += [row[column] for column in ("ari", "purity", "completeness", "share_assigned")]
            cells += [row[column] for column in ("cpu_s", "wall_s", "peak_mb", "cpu_ratio")]
        else:
            cells += [row["status"].replace("|", "/"), *[""] * (len(_HEADS) - 4)]
        lines.append(f"| {' | '.join(cells)} |")
    steps = [f"{row['tool']}: {row['steps_cpu_s']}" for row in rows if "," in row["steps_cpu_s"]]
    return [*lines, "", f"CPU seconds by step: {'; '.join(steps)}.", ""] if steps else [*lines, ""]


def write_page(out: Path, head: list[str], sections: list[list[str]], cells: list[dict[str, str]]) -> None:
    """Write the page and the table beside it."""
    lines = [*head, "", _METHOD, *(line for section in sections for line in section)]
    write_atomically(out, "\n".join(lines).rstrip() + "\n")
    rows = ["\t".join(_COLUMNS), *("\t".join(row.values()) for row in cells)]
    write_atomically(out.with_suffix(".tsv"), "\n".join(rows) + "\n")


def make_head(arguments, usages: list[Usage]) -> list[str]:
    """Return the page's first lines: the command, the day, the machine, the community, and what else ran."""
    date = datetime.date.today()
    community = arguments.community
    if community is None:
        is_demo = arguments.samples.resolve() == _DEMO
        community = (
            "the demo community (`demo/README.md`), simulated with seed 1" if is_demo else arguments.samples.name
        )
    seeds = ", ".join(map(str, arguments.seeds))
    several = "; of several runs, the one of median ARI is shown" if len(arguments.seeds) > 1 else ""
    others = [usage.others for usage in usages] or [0.0]
    command = shlex.join(["benchmarks/compare_peers.py", *sys.argv[1:]])
    return [
        "# readclade and its peers",
        "",
        "```text",  # the tests run every block of sh
        f"PYTHONPATH=src .venv/bin/python {command}",
        "```",
        "",
        f"Made by this command on {date.day} {date:%B %Y}, on {arguments.machine}, {arguments.threads} threads a tool.",
        f"Community: {community}. Seed of the clustering: {seeds}{several}.",
        f"While the tools ran, other jobs kept {np.mean(others):.1f} cores busy on average ({min(others):.1f} to"
        f" {max(others):.1f}),",
        "which makes wall seconds longer, and CPU seconds a little.",
    ]


def choose_samples(table: Path, names: list[str] | None) -> list[Sample]:
    """Return the named samples of a table, or all that have a truth.

    Raises:
        InputError: the table cannot be used, or one of the samples is not there or has no truth.
    """
    samples = [sample for sample in read_samples(table).values() if sample.truth]
    if names:
        samples = [get_sample(table, name) for name in dict.fromkeys(names)]
    missing = [sample.name for sample in samples if sample.truth is None]
    if missing or not samples:
        what = f"sample '{missing[0]}'" if missing else "every sample"
        raise InputError(f"{what} lacks a truth to compare with", path=table, remedy="fill in the column truth")
    return samples


def compare_sample(arguments, sample: Sample, peers: list[Peer], folder: Path) -> tuple[str, list[Row]]:
    """Run the peers on one sample; return a sentence about its reads, and a row for each."""
    truth = Path(sample.truth)
    genomes = read_binning(truth, sample.name).bins
    folder.mkdir()
    fasta, names, bases = folder / "reads.fasta", [], 0
    with open(fasta, "w", encoding="ascii") as file:
        for number, (name, *reads) in enumerate(read_fragments(sample.lanes)):
            names.append(name)
            for read in filter(None, reads):
                file.write(f">{number}\n{read}\n")
                bases += len(read)
    if set(names) != genomes.keys():
        raise InputError(
            "its fragments are not those of the sample", path=truth, remedy="give the truth of these reads"
        )
    k = len(set(genomes.values()))
    own_k = str(k) if arguments.k == "true" else arguments.k
    rows = []
    for peer in peers:

        def make_task(seed: int, peer: Peer = peer) -> Task:
            place = folder / f"{peer.name.replace(' ', '-')}-{seed}"
            return Task(arguments.samples.resolve(), sample, names, fasta, place, k, own_k, seed, arguments.threads)

        rows.append(run_seeds(peer, make_task, truth, arguments.seeds, arguments.time_limit))
        done = rows[-1]
        told = f"ARI {done.figures['ari']:.3f}, {done.usage.cpu_s:.1f} s of CPU time" if done.usage else done.status
        log.info(f"{sample.name}: {peer.name}: {told}")
    unit = "pairs" if sample.lanes[0].fq2 else "reads"
    return f"{len(names):,} {unit}, {bases / 1e6:.1f} Mb, {k} genomes, platform {sample.platform}.", rows


def main() -> None:
    """Read the arguments, run the tools and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--samples", type=Path, default=_DEMO, help="table of samples (default: the demo's)")
    parser.add_argument("--sample", nargs="+", help="samples of the table (default: all with a truth)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the clustering (default: 0)")
    parser.add_argument("--k", default="auto", help="what readclade is told: true, auto (default) or a number")
    parser.add_argument("--threads", type=int, default=2, help="of each tool (default: %(default)s)")
    parser.add_argument("--time-limit", type=float, default=600, help="CPU seconds of a run (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of: {', '.join(p.name.split()[0] for p in PEERS)}")
    parser.add_argument("--machine", default=get_machine(), help="the machine in plain words (default: %(default)s)")
    parser.add_argument("--community", help="the community and its seed in plain words")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/peers.md", help="page (default: docs/peers.md)")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.time_limit <= 0 or min(arguments.seeds) < 0:
        parser.error("--threads must be at least 1, --time-limit more than 0, --seeds at least 0")
    if arguments.k not in ("true", "auto") and not arguments.k.isdecimal():
        parser.error("--k must be true, auto or a number")
    if arguments.out.suffix == ".tsv":
        raise ConfigError("--out is the page; the table beside it ends in .tsv", remedy="give a name that ends in .md")
    peers = choose_peers(arguments.only)
    samples = choose_samples(arguments.samples, arguments.sample)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing stays behind
    start_log("peers")
    cells, sections, usages, failed = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for sample in samples:
            about, rows = compare_sample(arguments, sample, peers, Path(folder, sample.name))
            own = next((row.usage for row in rows if row.tool == "readclade"), None)
            here = [get_cells(row, own) for row in rows]
            cells += here
            sections.append(make_section(sample.name, about, here))
            usages += [row.usage for row in rows if row.usage]
            failed += [row for row in rows if "failed" in row.status]
    write_page(arguments.out, make_head(arguments, usages), sections, cells)
    csv.writer(sys.stdout, delimiter="\t", lineterminator="\n").writerows([_COLUMNS, *(row.values() for row in cells)])
    if failed:
        raise ReadcladeError(f"{len(failed)} of the tools failed; the table says which", remedy="see its column status")


if __name__ == "__main__":
    run(main)
