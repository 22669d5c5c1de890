"""A small community cut from the demo, and one complete run of the workflow over it."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pytest
import yaml

from tests.workflow.fork_snakemake import fork_snakemake

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"


@dataclass
class Project:
    """A folder of inputs, and the command that runs the workflow in a folder of its own."""

    inputs: Path
    directory: Path
    root: Path = ROOT
    ray_address: str = "local"

    def run(
        self, *arguments: str, config: dict | None = None, samples: str = "samples.tsv", environment=(), ctrl_c_at=None
    ):
        """Run Snakemake with the local profile, from another folder and without the environment of the caller.

        Args:
            ctrl_c_at: file; when it appears with something in it, all processes get what Ctrl-C sends.
        """
        configfile = self.inputs / "config.yaml"
        # A map of few fragments: t-SNE of thousands takes as long as all other stages.
        defaults = {"shards": {"bases": 400_000}, "clustering": {"k": 3}, "report": {"map_fragments": 300}}
        configfile.write_text(yaml.safe_dump(defaults | (config or {})))
        command = [
            Path(sys.executable).with_name("snakemake"),
            *arguments,
            "--snakefile",
            self.root / "Snakefile",
            "--profile",
            self.root / "profiles/local",
            "--directory",
            self.directory,
            "--config",
            f"samples={self.inputs / samples}",
            f"references={self.inputs / 'references.tsv'}",
            "--configfile",
            configfile,
        ]
        if self.ray_address != "local" and "--set-resources" not in arguments:
            command += ["--set-resources", *self._list_resources()]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ["HOME"], **dict(environment)}
        if {"-n", "--dry-run"} & set(arguments):
            return fork_snakemake(list(map(str, command[1:])), self.inputs, environment, 500)
        process = subprocess.Popen(
            list(map(str, command)), cwd=self.inputs, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # Tests that were started in the background ignore what Ctrl-C sends, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while ctrl_c_at is not None and process.poll() is None:
            if ctrl_c_at.exists() and ctrl_c_at.stat().st_size:
                os.killpg(process.pid, signal.SIGINT)
                break
            time.sleep(0.05)
        try:
            output = process.communicate(timeout=500)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(command, process.returncode, *output)

    def _list_resources(self) -> list[str]:
        """Return what the profile sets, which an option on the command line replaces, and where Ray is."""
        profile = yaml.safe_load((self.root / "profiles/local/config.yaml").read_text())
        rules = profile["set-resources"] | {"embed": {"ray_address": self.ray_address}}
        return [f"{rule}:{name}={value}" for rule, values in rules.items() for name, value in values.items()]

    def plan(self, *arguments: str, **options) -> dict[str, int]:
        """Return the number of jobs of each rule that a run would execute."""
        done = self.run("--dry-run", *arguments, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", done.stdout + done.stderr, re.DOTALL)
        rows = (line.split() for line in table[1].splitlines()) if table else ()
        return {name: int(count) for name, count in rows if name != "all"}


def assert_refused(done: subprocess.CompletedProcess, *words: str) -> None:
    """Check that a run failed and said all of the words."""
    output = done.stdout + done.stderr
    assert done.returncode != 0, output
    for word in words:
        assert word in output, output


def copy_head(source: Path, target: Path, records: int, lines: int = 4) -> None:
    """Copy the first records of a gzip file."""
    with gzip.open(source, "rt") as reader, gzip.open(target, "wt") as writer:
        writer.writelines(islice(reader, records * lines))


def copy_truth(source: Path, target: Path, reads: Path) -> None:
    """Copy the rows of a truth file for the reads of a FASTQ file."""
    with gzip.open(reads, "rt") as file:
        names = {re.sub("/[12]$", "", line[1:].split()[0]) for line in islice(file, 0, None, 4)}
    with gzip.open(source, "rt") if source.suffix == ".gz" else source.open() as file, target.open("w") as writer:
        writer.writelines(line for line in file if line[0] == "@" or line.split("\t")[0] in names)


def make_inputs(folder: Path) -> None:
    """Write two small samples and three references."""
    folder.mkdir(parents=True)
    for mate in (1, 2):
        copy_head(DEMO / f"reads/pairs_{mate}.fastq.gz", folder / f"pairs {mate}.fastq.gz", 3000)
    copy_head(DEMO / "reads/long.fastq.gz", folder / "long.fastq.gz", 250)
    copy_truth(DEMO / "truth/long.tsv", folder / "long.truth.tsv", folder / "long.fastq.gz")
    (folder / "samples.tsv").write_text(
        "sample\tfq1\tfq2\tplatform\ttruth\n"
        "pairs\tpairs 1.fastq.gz\tpairs 2.fastq.gz\tillumina\n"
        "long\tlong.fastq.gz\t\tont\tlong.truth.tsv\n"
    )
    header, *rows = (DEMO / "references.tsv").read_text().splitlines()
    rows = [row.replace("\tgenomes/", f"\t{DEMO}/genomes/") for row in rows]
    (folder / "references.tsv").write_text("\n".join([header, *rows[:6]]) + "\n")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """Return a folder of inputs to be copied: compressing them takes seconds."""
    folder = tmp_path_factory.mktemp("inputs") / "inputs"
    make_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory, inputs, ray_address) -> Project:
    """Return a project whose workflow has run to its end, with a Ray of its own; paths with blanks on purpose.

    Later runs join the Ray of the tests.
    """
    base = tmp_path_factory.mktemp("work flow")
    shutil.copytree(inputs, base / "in puts")
    # A copy of the code, so that a test may change it.
    root = base / "the repository"
    for name in ("config", "docs", "envs", "profiles", "requirements", "rules", "scripts", "src"):
        shutil.copytree(ROOT / name, root / name)  # with what was compiled: it is used as long as the code is the same
    for name in ("Snakefile", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy2(ROOT / name, root / name)
    project = Project(base / "in puts", base / "a run", root)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return replace(project, ray_address=ray_address)


@pytest.fixture
def finished(project, tmp_path) -> Project:
    """Return a copy of the finished project, for a test that changes it; its inputs are shared."""
    shutil.copytree(project.directory, tmp_path / "run", symlinks=True)
    return replace(project, directory=tmp_path / "run")


@pytest.fixture
def fresh(tmp_path, inputs, ray_address) -> Project:
    """Return a project that has not run yet, and joins the Ray of the tests when it does."""
    shutil.copytree(inputs, tmp_path / "inputs")
    return Project(tmp_path / "inputs", tmp_path / "run", ray_address=ray_address)
