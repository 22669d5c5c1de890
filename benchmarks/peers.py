"""The tools that readclade is compared with: how each is run, with which settings, and how its clusters are read.

Every peer ends in a CAMI binning file. The tools that compare single reads (mmseqs2, vsearch) get both mates of a pair
under the fragment's number; afterwards all clusters that hold one of its mates are one.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from usage import Usage, measure_command

from readclade.errors import ConfigError, InputError
from readclade.inputs.tables import Sample, read_samples
from readclade.report.provenance import get_version
from readclade.results.binning import open_binning

ROOT = Path(__file__).parents[1]
_PYTHON = sys.executable
# Two reads of one place agree in about (1 - error)^2 of their bases; neither manual has settings for such reads.
_IDENTITY = {"illumina": 0.97, "pacbio": 0.97, "ont": 0.80}
_LINCLUST = "-c 0.5 --cov-mode 0 --cluster-mode 1 --kmer-per-seq 60"
_VSEARCH = "--strand both --maxseqlength 1000000"


@dataclass(frozen=True)
class Task:
    """One sample for one peer.

    Attributes:
        table: the table of samples.
        names: of the fragments, in the order of the files.
        fasta: all reads, mates included, named by their fragment's number.
        folder: to work in.
        k: the true number of genomes.
        own_k: what readclade is told: a number or "auto".
    """

    table: Path
    sample: Sample
    names: Sequence[str]
    fasta: Path
    folder: Path
    k: int
    own_k: str
    seed: int
    threads: int

    @property
    def binning(self) -> Path:
        """The binning file of the peer."""
        return self.folder / "binning.tsv"

    @property
    def identity(self) -> float:
        """The least identity at which two reads are put together."""
        return _IDENTITY[self.sample.platform]


@dataclass(frozen=True)
class Peer:
    """One tool.

    Attributes:
        name: as in the table.
        install: how to get it.
        is_seeded: whether its result depends on a seed.
        get_version: None where it is not installed.
        describe: its settings.
        get_steps: name and command of each of its steps.
        finish: makes the binning file from what the steps left; not measured.
    """

    name: str
    install: str
    is_seeded: bool
    get_version: Callable[[], str | None]
    describe: Callable[[Task], str]
    get_steps: Callable[[Task], list[tuple[str, list[object]]]]
    finish: Callable[[Task], None] = lambda task: None


def get_sample(table: Path, name: str) -> Sample:
    """Return one sample of a table.

    Raises:
        InputError: the table cannot be used, or has no such sample.
    """
    samples = read_samples(table)
    if name not in samples:
        raise InputError(f"has no sample '{name}'", path=table, remedy=f"give one of: {', '.join(samples)}")
    return samples[name]


def write_binning(path: Path, sample: str, names: Sequence[str], clusters: np.ndarray) -> None:
    """Write a CAMI binning file; fragments of cluster -1 have no row."""
    with open_binning(path, sample) as add:
        add(names, clusters.tolist())


def parse_linclust(lines: Iterable[str]) -> tuple[list[int], list[str]]:
    """Return fragment and cluster of each read in the table of mmseqs createtsv (representative, member)."""
    rows = [line.split() for line in lines]
    return [int(member) for _, member in rows], [cluster for cluster, _ in rows]


def parse_uc(lines: Iterable[str]) -> tuple[list[int], list[str]]:
    """Return fragment and cluster of each read in vsearch's .uc file: its S (centroid) and H (member) records."""
    rows = [line.rstrip("\n").split("\t") for line in lines if line[:1] in "SH"]
    return [int(row[8]) for row in rows], [row[1] for row in rows]


def join_mates(fragments: Sequence[int], clusters: Sequence[str], count: int) -> np.ndarray:
    """Unite the clusters that hold reads of one fragment.

    Args:
        fragments: of each read, from 0 to count - 1.
        clusters: of each read.

    Returns:
        (count,) int64: cluster of each fragment, from 0 on; -1 where none of its reads has one.
    """
    _, numbers = np.unique(np.array(clusters, str), return_inverse=True)
    members = np.array(fragments, np.int64)
    size = count + int(numbers.max(initial=-1)) + 1
    links = coo_array((np.ones(len(members), np.int8), (members, count + numbers)), shape=(size, size))
    labels = connected_components(links, directed=False)[1][:count]
    joined = np.full(count, -1, np.int64)
    known = np.zeros(count, bool)
    known[members] = True
    joined[known] = np.unique(labels[known], return_inverse=True)[1]
    return joined


def _finish_reads(file: str, parse: Callable) -> Callable[[Task], None]:
    def finish(task: Task) -> None:
        with open(task.folder / file, encoding="utf-8") as lines:
            fragments, clusters = parse(lines)
        write_binning(task.binning, task.sample.name, task.names, join_mates(fragments, clusters, len(task.names)))

    return finish


def _ask_version(command: Sequence[str], pattern: str) -> Callable[[], str | None]:
    def get() -> str | None:
        if shutil.which(command[0]) is None:
            return None
        done = subprocess.run(command, capture_output=True, text=True)
        found = re.search(pattern, done.stdout + done.stderr)
        return found[1] if found else "unknown"

    return get


def _ask_package(package: str) -> Callable[[], str | None]:
    def get() -> str | None:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    return get


def _get_own_steps(task: Task) -> list[tuple[str, list[object]]]:
    scripts, reads, shards = ROOT / "scripts", task.folder / "reads", task.folder / "shards"
    lanes = [
        word for lane in task.sample.lanes for word in ("--lane", lane.fq1, *([] if lane.fq2 is None else [lane.fq2]))
    ]
    name, platform = task.sample.name, task.sample.platform
    fetch = [scripts / "fetch_reads.py", "--sample", name, "--platform", platform, *lanes, "--out", reads]
    embed = [scripts / "embed_fragments.py", "--reads", reads / "reads.json", "--out", shards]
    cluster = [scripts / "cluster_fragments.py", "--manifest", shards / "manifest.json", "--out", task.folder]
    options = ["--k", task.own_k, "--seed", task.seed, "--ranks", task.threads]
    mpiexec = [Path(_PYTHON).with_name("mpiexec"), "-n", task.threads, _PYTHON, "-m", "mpi4py"]
    return [
        ("fetch", [_PYTHON, *fetch, "--threads", task.threads]),
        ("embed", [_PYTHON, *embed, "--actors", task.threads]),
        ("cluster", [*mpiexec, *cluster, *options]),
    ]


def _make_kmeans(engine: str, package: str, settings: str) -> Peer:
    def get_steps(task: Task) -> list[tuple[str, list[object]]]:
        script = [_PYTHON, Path(__file__).with_name("cluster_composition.py"), "--engine", engine]
        data = ["--samples", task.table, "--sample", task.sample.name, "--k", task.k, "--seed", task.seed]
        return [("k-means", [*script, *data, "--out", task.binning])]

    def describe(task: Task) -> str:
        return f"4-mers of each fragment, Hellinger, k = {task.k} (true), {settings}"

    install = f"pip install {package}"
    return Peer(f"{engine} k-means", install, True, _ask_package(package), describe, get_steps)


def _get_linclust_steps(task: Task) -> list[tuple[str, list[object]]]:
    reads, clusters = task.folder / "reads", task.folder / "clusters"
    options = ["--min-seq-id", task.identity, *_LINCLUST.split(), "--threads", task.threads]
    return [
        ("createdb", ["mmseqs", "createdb", task.fasta, reads]),
        ("linclust", ["mmseqs", "linclust", reads, clusters, task.folder / "tmp", *options]),
        ("createtsv", ["mmseqs", "createtsv", reads, reads, clusters, task.folder / "clusters.tsv"]),
    ]


def _get_vsearch_steps(task: Task) -> list[tuple[str, list[object]]]:
    output = ["--uc", task.folder / "clusters.uc", "--threads", task.threads]
    options = ["--id", task.identity, *_VSEARCH.split()]
    return [("cluster_fast", ["vsearch", "--cluster_fast", task.fasta, *options, *output])]


PEERS = (
    Peer("readclade", "make demo", True, get_version, lambda task: f"4-mers, k = {task.own_k}", _get_own_steps),
    _make_kmeans("sklearn", "scikit-learn", "k-means++, 10 starts"),
    _make_kmeans("faiss", "faiss-cpu", "10 starts, 25 iterations, all fragments"),
    Peer(
        "mmseqs2 linclust",
        "apt-get install mmseqs2",
        False,
        _ask_version(["mmseqs", "version"], r"(\S+)"),
        lambda task: f"--min-seq-id {task.identity} {_LINCLUST}",
        _get_linclust_steps,
        _finish_reads("clusters.tsv", parse_linclust),
    ),
    Peer(
        "vsearch cluster_fast",
        "apt-get install vsearch",
        False,
        _ask_version(["vsearch", "--version"], r"vsearch v([0-9.]+)"),
        lambda task: f"--id {task.identity} {_VSEARCH}",
        _get_vsearch_steps,
        _finish_reads("clusters.uc", parse_uc),
    ),
)


def measure_own(task: Task, limit_s: float) -> Usage:
    """Run readclade's steps, one thread a process; return what they took together.

    Args:
        limit_s: CPU seconds of each.
    """
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    usage = Usage()
    for step, command in _get_own_steps(task):
        usage += measure_command(command, limit_s, task.folder / f"{step}.log", environment)
    return usage


def choose_peers(names: Sequence[str] | None) -> list[Peer]:
    """Return the peers whose names begin with one of the words, or all of them.

    Raises:
        ConfigError: there is no such peer.
    """
    for name in names or []:
        if not any(peer.name.startswith(name) for peer in PEERS):
            known = ", ".join(peer.name.split()[0] for peer in PEERS)
            raise ConfigError(f"there is no peer '{name}'", remedy=f"give one of: {known}")
    return [peer for peer in PEERS if not names or peer.name.startswith(tuple(names))]
