"""A small run of the workflow through a profile: its command, and what must be true of its folder afterwards."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from readclade.shards.manifest import Shard, read_manifest

ROOT = Path(__file__).parents[2]
# What every run must write alike; the report and the crate tell of dates and machines.
RESULTS = [
    "cluster/clusters.h5", "cluster/assignments.parquet", "binning.tsv", "taxa.tsv", "profile.tsv", "evaluation.tsv",
]  # fmt: skip


def merge(base: dict, overlay: dict) -> dict:
    """Return a mapping with another one laid over it, level by level."""
    merged = dict(base)
    for key, value in overlay.items():
        merged[key] = merge(base.get(key) or {}, value) if isinstance(value, dict) else value
    return merged


def lay_over(name: str, overlay: dict, folder: Path) -> Path:
    """Write a profile of the repository with other values for some keys; None removes a key."""
    base = yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(merge(base, overlay)))
    return folder


@dataclass
class Project:
    """Inputs, a profile, and the folder that one run after another writes into."""

    inputs: Path
    directory: Path
    profile: Path
    samples: str = "samples.tsv"
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own, its output in a file beside the directory."""
        command = [
            sys.executable, Path(__file__).with_name("fast_snakemake.py"), *arguments,
            "--snakefile", ROOT / "Snakefile", "--profile", self.profile, "--directory", self.directory,
            "--configfile", self.inputs / "config.yaml",
            "--config", f"samples={self.inputs / self.samples}", f"references={self.inputs / 'references.tsv'}",
        ]  # fmt: skip
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/root")}
        with self.output.open("wb") as output:
            return subprocess.Popen(
                list(map(str, command)), cwd=self.inputs, env=environment | self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                # Tests that were started in the background ignore what Ctrl-C sends, and so would what they start.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def run(self, *arguments: str, seconds: float = 900) -> int:
        """Run Snakemake to its end; return its exit code."""
        return wait(self.start(*arguments), seconds)

    @property
    def output(self) -> Path:
        """The file with what the last run printed."""
        return self.directory.with_name(f"{self.directory.name}.out")

    def read_output(self) -> str:
        """Return what the last run printed."""
        return self.output.read_text(errors="replace")

    def copy(self, directory: Path, **changes) -> "Project":
        """Return the same project in another folder that holds the same files, with their times."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return replace(self, directory=directory, **changes)

    def read_logs(self) -> str:
        """Return what all jobs have printed."""
        folders = (self.directory / "logs", self.directory / ".snakemake/slurm_logs")
        paths = (path for folder in folders for path in sorted(folder.rglob("*.log")))
        return "".join(path.read_text(errors="replace") for path in paths)

    def read_shards(self, sample: str) -> tuple[Shard, ...]:
        """Return what a sample's manifest says of its shards."""
        return read_manifest(self.directory / "shards" / sample / "manifest.json").shards

    def read_results(self, sample: str) -> dict[str, bytes]:
        """Return the bytes of a sample's results."""
        folder = self.directory / "results" / sample
        return {name: (folder / name).read_bytes() for name in RESULTS if (folder / name).exists()}

    def find_leftovers(self) -> list[Path]:
        """Return files and folders that are half written."""
        paths = (path for name in ("shards", "staged", "results") for path in (self.directory / name).rglob("*"))
        return [path for path in paths if path.name.endswith((".tmp", ".incomplete"))]


def wait(process: subprocess.Popen, seconds: float) -> int:
    """Wait for the end of a process; end its group and fail where it takes too long."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
