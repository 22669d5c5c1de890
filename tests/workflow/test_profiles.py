"""The profiles of clusters plan a whole run; by their path, and one of them by its name. tests/cluster runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]


def plan(project, profile: str | Path, home: Path, *arguments: str) -> str:
    """Return what a dry run prints; without conda, which is asked for its version even then."""
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("snakemake"), "--dry-run", "--printshellcmds", "--sdm", "env-modules"),
            *("--snakefile", project.root / "Snakefile", "--profile", profile, "--directory", project.directory),
            *("--config", f"samples={project.inputs / 'samples.tsv'}"),
            *(f"references={project.inputs / 'references.tsv'}", *arguments),
        ],
        cwd=project.inputs,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def count_jobs(output: str) -> dict[str, int]:
    """Return the number of jobs of each rule."""
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", output, re.DOTALL)[1]
    return {name: int(count) for name, count in map(str.split, table.splitlines())}


JOBS = {
    "clean": 1, "fetch": 2, "index_references": 1, "embed": 2, "stage": 2, "cluster": 2, "label": 2, "evaluate": 1,
    "report": 1, "all": 1,
}  # fmt: skip


def test_every_profile_is_planned_by_a_test():
    # All other tests run `local`.
    assert {path.name for path in (ROOT / "profiles").iterdir()} == {"local", "slurm", "aws-pcluster"}


def test_slurm_starts_ranks_by_srun_on_its_nodes(fresh, tmp_path):
    output = plan(fresh, fresh.root / "profiles/slurm", tmp_path)
    assert count_jobs(output) == JOBS
    assert "srun --mpi=pmi2 --kill-on-bad-exit=1 -n 32 python -m mpi4py" in output
    assert "--ranks 32" in output
    assert "--way in-place" in output


def test_aws_pcluster_by_path_and_after_one_step_by_name(fresh, tmp_path):
    by_path = plan(fresh, fresh.root / "profiles/aws-pcluster", tmp_path)
    assert count_jobs(by_path) == JOBS | {"sync_results": 1}
    assert "submit_embedding.py" in by_path
    assert "--store s3://BUCKET/shards" in by_path
    assert "--way copy" in by_path
    # The step that docs/clusters.md shows.
    page = (fresh.root / "docs/clusters.md").read_text()
    [step] = re.findall(r"^mkdir -p ~/.config/snakemake && .*$", page, re.MULTILINE)
    subprocess.run(
        ["bash", "-c", step], cwd=fresh.root, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=True
    )
    by_name = plan(fresh, "aws-pcluster", tmp_path)
    assert count_jobs(by_name) == count_jobs(by_path)
    assert re.findall(r"^ +python .*$", by_name, re.MULTILINE) == re.findall(r"^ +python .*$", by_path, re.MULTILINE)
