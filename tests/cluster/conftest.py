"""What the tests of the cluster path share: Slurm, S3 and Ray, all real, and one undisturbed run through them."""

import gzip
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import yaml

from tests.cluster.projects import ROOT, Project, lay_over, merge, wait
from tests.cluster.start_cluster import Cluster, explain_absence, run_cluster
from tests.ray_head import RayHead
from tests.s3_server import S3Server

DEMO = ROOT / "demo"
FRAGMENTS = 2000
FAULTY_LAUNCHER = ROOT / "tests/cluster/faulty_launcher.sh"
# Small shards, so that there is a middle of the embedding to disturb.
CONFIG = {"shards": {"bases": 15_000}, "clustering": {"k": 3}}


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Cluster]:
    """Start Slurm with two nodes."""
    if reason := explain_absence():
        pytest.skip(f"no Slurm can be started: {reason}")
    with run_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def store(s3_server) -> Iterator[S3Server]:
    """Return the S3 server; from here on the environment leads to it, so that Ray's workers find it too."""
    with pytest.MonkeyPatch.context() as patch:
        s3_server.lead_here(patch, 120)
        yield s3_server


@pytest.fixture(scope="session")
def head(store, plain_run) -> Iterator[RayHead]:
    """Start a Ray head with its job server."""
    head = RayHead(cpus=3)
    try:
        yield head.start()
    finally:
        head.close()


def make_inputs(folder: Path) -> None:
    """Write one sample of read pairs with its truth, references, and the configuration."""
    folder.mkdir()
    names = set()
    for mate in (1, 2):
        with gzip.open(DEMO / f"reads/pairs_{mate}.fastq.gz", "rt") as reads:
            lines = list(islice(reads, 4 * FRAGMENTS))
        names |= {line[1:].split()[0].removesuffix(f"/{mate}") for line in lines[::4]}
        with gzip.open(folder / f"pairs_{mate}.fastq.gz", "wt", compresslevel=1) as file:
            file.writelines(lines)
    with gzip.open(DEMO / "truth/pairs.tsv.gz", "rt") as file:
        truth = [line for line in file if line[0] == "@" or line.split("\t")[0] in names]
    (folder / "truth.tsv").write_text("".join(truth))
    header, *rows = (DEMO / "references.tsv").read_text().splitlines()
    rows = [row.replace("\tgenomes/", f"\t{DEMO}/genomes/") for row in rows[:4]]
    (folder / "references.tsv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    write_samples(folder / "samples.tsv", folder)


def write_samples(path: Path, place: Path | str) -> None:
    """Write a table whose reads lie in a folder or below a prefix on S3."""
    path.write_text(
        "sample\tfq1\tfq2\tplatform\ttruth\n"
        f"pairs\t{place}/pairs_1.fastq.gz\t{place}/pairs_2.fastq.gz\tillumina\ttruth.tsv\n"
    )


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """Return the folder of the inputs."""
    folder = tmp_path_factory.mktemp("work") / "inputs"
    make_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def plain_run(slurm, inputs, tmp_path_factory) -> Iterator[tuple[Project, subprocess.Popen]]:
    """Start a plain run on one machine, without Slurm, S3 or a remote Ray; it goes on while these are started."""
    project = Project(inputs, tmp_path_factory.mktemp("plain") / "run", ROOT / "profiles/local")
    process = project.start()
    yield project, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def plain(plain_run) -> dict[str, bytes]:
    """Return the results of the plain run."""
    project, process = plain_run
    assert wait(process, 900) == 0, project.read_output()
    return project.read_results("pairs")


@pytest.fixture(scope="session")
def bucket(store, inputs) -> str:
    """Return s3://bucket of a bucket that holds the reads, and the samples.tsv that says so."""
    name = f"cluster-{uuid.uuid4().hex[:12]}"
    client = store.make_client()
    client.create_bucket(Bucket=name)
    for path in inputs.glob("*.fastq.gz"):
        client.put_object(Bucket=name, Key=f"reads/{path.name}", Body=path.read_bytes())
    write_samples(inputs / "cloud.tsv", f"s3://{name}/reads")
    return f"s3://{name}"


@pytest.fixture(scope="session")
def make_profile(head, bucket, tmp_path_factory):
    """Return a function that lays this machine's places and sizes, and more, over the profile aws-pcluster."""

    def make(name: str, more: dict) -> Path:
        folder = tmp_path_factory.mktemp(name)
        return lay_over("aws-pcluster", merge(get_overlay(f"{bucket}/{folder.name}", head), more), folder / "profile")

    return make


@pytest.fixture(scope="session")
def make_project(slurm, head, bucket, inputs, make_profile):
    """Return a function that makes a project that has places of its own on S3."""

    def make(name: str) -> Project:
        profile = make_profile(name, {})
        environment = {key: value for key, value in os.environ.items() if key.startswith(("AWS_", "READCLADE_"))}
        return Project(inputs, profile.with_name("run"), profile, "cloud.tsv", environment | head.environment)

    return make


@pytest.fixture(scope="session")
def staged(make_project) -> Project:
    """Return a project that is done as far as `stage`."""
    project = make_project("chain")
    assert project.run("staged/pairs", "references/index.parquet", "--notemp") == 0, project.read_output()
    return project.copy(project.directory.with_name("staged"))


@pytest.fixture(scope="session")
def chain(staged) -> Project:
    """Return the project that was brought to its end, undisturbed."""
    project = replace(staged, directory=staged.directory.with_name("run"))
    assert project.run() == 0, project.read_output()
    return project


@pytest.fixture(scope="session")
def fetched(make_project, staged):
    """Return a function that makes a project that is done as far as `fetch`."""

    def make(name: str) -> Project:
        project = make_project(name)
        for folder in ("reads", "references", ".snakemake/metadata"):
            shutil.copytree(staged.directory / folder, project.directory / folder)
        return project

    return make


def get_launcher() -> str:
    """Return what starts the ranks in the profile aws-pcluster."""
    profile = yaml.safe_load((ROOT / "profiles/aws-pcluster/config.yaml").read_text())
    return profile["set-resources"]["cluster"]["mpi"]


def get_overlay(target: str, head: RayHead) -> dict:
    """Return what differs from aws-pcluster's profile on one small machine; None removes a key."""
    return {
        # No conda channel can be reached from a test: every rule runs in the virtual environment.
        "software-deployment-method": None,
        "conda-prefix": None,
        "directory": None,
        "latency-wait": 5,
        "retries": 0,
        "slurm-init-seconds-before-status-checks": 1,
        "set-threads": {"embed": 1, "stage": 4, "sync_results": 4},
        "set-resources": {
            "embed": {
                "ray_address": head.address,
                "actors": 2,
                "actor_gpus": 0,
                "shard_store": f"{target}/shards",
                "mem_mb": 1000,
            },
            "cluster": {"mpi": f"{FAULTY_LAUNCHER} {get_launcher()}", "tasks_per_node": 2},
            "sync_results": {"target": f"{target}/results"},
        }
        | {rule: {"mem_mb": 1000} for rule in ("label", "index_references", "report")},
    }
