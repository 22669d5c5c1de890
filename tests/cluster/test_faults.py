"""Whatever fails on the way, Snakemake says so soon, nothing goes on behind its back, and the next run ends the same.

Each test begins with a copy of a project whose earlier stages are done.
"""

import os
import re
import signal
import subprocess

import psutil
import pytest

from tests.cluster.projects import Project, wait
from tests.cluster.start_cluster import NODES, find_processes, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
# Far above what any of this takes on a quiet machine, far below "for ever".
BOUND_S = 300
CLUSTERS = "results/pairs/cluster/clusters.h5"
SHARDS = "shards/pairs/manifest.json"
# A rank that the others wait for: when it has found them, it says so in a file.
STUCK = "from mpi4py import MPI\nimport time\nopen(__file__ + '.ready', 'w').close()\ntime.sleep(3600)\n"
EXITS = "from mpi4py import MPI\nimport os\nos._exit(1)\n"
STUCK_ONCE = "import os\nos.remove(__file__)\n" + STUCK


@pytest.fixture(autouse=True)
def cancel(slurm):
    """Leave no job to the next test, whatever became of this one."""
    yield
    subprocess.run(["scancel", "--user=root"], check=True)


@pytest.fixture
def clean(slurm, head):
    """Return a function that makes sure that nothing of a failed project goes on."""

    def check(project: Project) -> None:
        wait_for("empty queue", lambda: slurm.list_jobs() == [], BOUND_S)
        wait_for("end of all processes", lambda: not find_processes(str(project.directory)), BOUND_S)
        assert [job["status"] for job in head.list_jobs() if job["status"] in ("PENDING", "RUNNING")] == []

    return check


@pytest.fixture
def finish(clean, chain, plain, store, bucket):
    """Return a function that runs a failed project again and compares what it makes with an undisturbed run's."""

    def check(project: Project, *targets: str) -> None:
        assert project.run(*targets) == 0, project.read_output()
        clean(project)
        assert project.find_leftovers() == []
        assert list_uploads(store, bucket) == []
        assert project.read_shards("pairs") == chain.read_shards("pairs")
        results = project.read_results("pairs")
        assert results == {name: plain[name] for name in results}
        assert targets or results.keys() == plain.keys()

    return check


def list_uploads(store, bucket: str) -> list:
    """Return the multipart uploads that are not complete."""
    return store.make_client().list_multipart_uploads(Bucket=bucket.removeprefix("s3://")).get("Uploads", [])


# --- the MPI job -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fault(staged, tmp_path):
    """Return a function that makes a project whose rank 1 does something else than clustering."""

    def make(program: str, **changes) -> Project:
        path = tmp_path / "fault.py"
        path.write_text(program)
        project = staged.copy(tmp_path / "run", **changes)
        project.environment = project.environment | {"FAULT": str(path)}
        return project

    return make


def start_stuck(project: Project, slurm) -> tuple[subprocess.Popen, str]:
    """Start a project whose rank 1 hangs; return when the ranks wait for it, with the job's id."""
    process, fault = project.start(CLUSTERS, "--notemp"), project.environment["FAULT"]
    wait_for("stuck rank", lambda: process.poll() is not None or os.path.exists(f"{fault}.ready"), BOUND_S)
    assert process.poll() is None, project.read_output()
    assert [len(find_processes("PMI_RANK=", f"SLURMD_NODENAME={node}", fault)) for node in NODES] == [2, 2]
    [[job, comment, state]] = slurm.list_jobs()
    assert "rule_cluster" in comment
    assert state == "RUNNING"
    return process, job


@pytest.fixture
def mend(clean, finish):
    """Return a function that makes sure that `cluster` failed without a trace, and finishes without the fault."""

    def check(project: Project, *targets: str) -> None:
        clean(project)
        folder = project.directory / "results/pairs/cluster"
        assert not [name for name in ("clusters.h5", "assignments.parquet", "binning.tsv") if (folder / name).exists()]
        os.remove(project.environment["FAULT"])
        finish(project, *targets)

    return check


def test_rank_that_exits_1_ends_the_job(fault, mend):
    project = fault(EXITS)
    assert project.run(CLUSTERS, "--notemp", seconds=BOUND_S) == 1
    assert "Error in rule cluster" in project.read_output()
    assert re.search(r"task 1: Exited with exit code 1", project.read_output() + project.read_logs())
    mend(project, CLUSTERS, "--notemp")


@pytest.mark.slow
def test_cancelled_job_is_reported(fault, slurm, mend):
    project = fault(STUCK)
    process, job = start_stuck(project, slurm)
    subprocess.run(["scancel", job], check=True)
    assert wait(process, BOUND_S) == 1
    assert re.search(f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED", project.read_output())
    mend(project, CLUSTERS, "--notemp")


@pytest.mark.slow
def test_ctrl_c_cancels_the_job(fault, slurm, mend):
    project = fault(STUCK)
    process, _ = start_stuck(project, slurm)
    os.killpg(process.pid, signal.SIGINT)
    assert wait(process, BOUND_S) != 0
    mend(project, CLUSTERS, "--notemp")


def test_node_that_is_lost_fails_the_job(fault, slurm, mend):
    project = fault(STUCK)
    process, job = start_stuck(project, slurm)
    slurm.kill_node(NODES[1])
    try:
        assert wait(process, BOUND_S) == 1
    finally:
        slurm.start_node(NODES[1])
        wait_for("two idle nodes", lambda: slurm.get_states() == dict.fromkeys(NODES, "idle"), BOUND_S)
    assert f"SLURM-job '{job}' failed" in project.read_output()
    mend(project)


@pytest.mark.slow
def test_job_over_its_time_is_ended_and_the_next_attempt_has_more(staged, fault, slurm, make_profile, finish):
    cluster = {"runtime": "1 * attempt", "mem_mb": "1500 * attempt"}
    project = fault(STUCK_ONCE, profile=make_profile("limited", {"retries": 1, "set-resources": {"cluster": cluster}}))
    finish(project, CLUSTERS, "--notemp")
    output = project.read_output()
    [first, second] = re.findall(r"submitted with SLURM jobid (\d+)", output)
    assert f"SLURM-job '{first}' failed, SLURM status is: 'TIMEOUT'" in output
    limits = [slurm.describe_job(job) for job in (first, second)]
    assert [(limit["TimeLimit"], limit["MinMemoryNode"]) for limit in limits] == [
        ("00:01:00", "1500M"),
        ("00:02:00", "3000M"),
    ]
    for limit in limits:
        assert (limit["NumNodes"], limit["NumTasks"]) == ("2", "4")
        assert limit["NtasksPerN:B:S:C"].startswith("2:")


# --- the embedding ---------------------------------------------------------------------------------------------------


@pytest.fixture
def start_embedding(fetched, store, bucket, tmp_path):
    """Return a function that starts an embedding and stops S3's clock in the middle of it."""

    def start(name: str) -> tuple[Project, subprocess.Popen]:
        project = fetched(name)
        process = project.start(SHARDS)
        client, folder = store.make_client(), project.profile.parent.name

        def count() -> int:
            keys = client.list_objects_v2(Bucket=bucket.removeprefix("s3://"), Prefix=f"{folder}/shards/pairs/shard-")
            return keys["KeyCount"]

        wait_for("three shards", lambda: process.poll() is not None or count() >= 3, BOUND_S)
        store.pause()
        assert process.poll() is None, project.read_output()
        return project, process

    return start


@pytest.mark.slow
def test_s3_that_is_restarted_delays_the_embedding(start_embedding, store, finish):
    project, process = start_embedding("s3-restarted")
    store.kill()
    store.start()
    assert wait(process, BOUND_S) == 0, project.read_output()
    finish(project, SHARDS)


@pytest.mark.slow
def test_actor_that_is_killed_is_replaced(start_embedding, head, store, finish):
    project, process = start_embedding("actor-killed")
    actors = [
        p.pid for p in psutil.Process(head._process.pid).children(True) if "ShardEmbedder" in "".join(p.cmdline())
    ]
    assert len(actors) == 2
    os.kill(actors[0], signal.SIGKILL)
    store.resume()
    assert wait(process, BOUND_S) == 0, project.read_output()
    finish(project, SHARDS)


def test_ctrl_c_stops_the_job_on_ray(start_embedding, store, clean, finish):
    project, process = start_embedding("embedding-interrupted")
    os.killpg(process.pid, signal.SIGINT)
    try:
        assert wait(process, BOUND_S) != 0
    finally:
        store.resume()
    clean(project)
    assert not (project.directory / SHARDS).exists()
    finish(project, SHARDS)


def test_head_that_is_killed_fails_the_embedding_and_the_next_run_goes_on(start_embedding, head, store, clean, finish):
    project, process = start_embedding("head-killed")
    head.kill()
    store.resume()
    head.start()
    assert wait(process, BOUND_S) == 1
    assert "does not know the job" in project.read_output()
    clean(project)
    assert not (project.directory / SHARDS).exists()
    finish(project)
