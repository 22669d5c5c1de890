"""A job that was killed after linking goes on, on another number of ranks, to the same result."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi

# So many starts of k-means that there is time to kill the job before it ends.
ARGUMENTS = ["--k", "20", "--seedings", "150"]
RESUMED = "links taken from the checkpoint of an earlier run"
FOUND = "clusters taken from the checkpoint of an earlier run"


def read_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.fixture(scope="module")
def undisturbed(cluster, manifests, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    done = cluster(0, manifests["linked"], out, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert RESUMED not in done.stderr
    assert "overlaps compared" in done.stderr
    return read_files(out)


@pytest.fixture(scope="module")
def killed(repository, manifests, tmp_path_factory) -> Path:
    """Return the folder of a job on three ranks that was killed as soon as all links were saved."""
    out = tmp_path_factory.mktemp("killed")
    script = repository / "scripts/cluster_fragments.py"
    command = [Path(sys.executable).with_name("mpiexec"), "-n", "3", sys.executable, "-m", "mpi4py", script]
    command += ["--manifest", manifests["linked"], "--out", out, *ARGUMENTS]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    job = subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("checkpoint/links-*.npz"))) < 3:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait(10)
    # The ranks are the launcher's children: they end when they find it gone.
    kill_ranks(str(out))
    assert [path.name for path in out.iterdir()] == ["checkpoint"]
    return out


def kill_ranks(out: str) -> None:
    """Kill the processes whose command line names a folder, and wait until they are gone."""
    deadline = time.monotonic() + 20
    while True:
        left = [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if names_folder(pid, out)]
        if not left:
            return
        assert time.monotonic() < deadline
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def names_folder(pid: int, out: str) -> bool:
    try:
        return out.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False


def test_a_killed_job_goes_on_with_another_number_of_ranks(killed, undisturbed, cluster, manifests, tmp_path):
    out = shutil.copytree(killed, tmp_path / "out")
    done = cluster(2, manifests["linked"], out, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(RESUMED) == 1
    assert "overlaps compared" not in done.stderr
    assert read_files(out) == undisturbed  # and the checkpoint is gone


def test_other_parameters_use_the_links_but_not_the_clusters(killed, cluster, manifests, tmp_path):
    other = ["--k", "3", "--seedings", "2"]
    assert cluster(0, manifests["linked"], tmp_path / "fresh", *other).returncode == 0
    out = shutil.copytree(killed, tmp_path / "out")
    done = cluster(0, manifests["linked"], out, *other)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(RESUMED) == 1
    assert FOUND not in done.stderr
    assert read_files(out) == read_files(tmp_path / "fresh")


def test_other_data_begin_anew(killed, cluster, manifests, tmp_path):
    out = shutil.copytree(killed, tmp_path / "out")
    (out / "checkpoint/fingerprint").write_text("0" * 64)
    done = cluster(0, manifests["linked"], out, *ARGUMENTS, "--seedings", 2)
    assert done.returncode == 0, done.stderr
    assert f"{out}/checkpoint is of other data or code: deleted, starting anew" in done.stderr
    assert RESUMED not in done.stderr
    assert sorted(read_files(out)) == ["assignments.parquet", "binning.tsv", "clusters.h5"]


def test_overlaps_wait_for_the_results(killed, undisturbed, cluster, manifests, tmp_path):
    """They are found anew where the earlier run kept none, and kept until the results are whole."""
    out = shutil.copytree(killed, tmp_path / "out")
    (out / "clusters.h5").mkdir()
    done = cluster(2, manifests["linked"], out, *ARGUMENTS, "--overlaps")
    assert done.returncode != 0
    assert RESUMED not in done.stderr
    assert not (out / "overlaps.paf.gz").exists()
    kept = (out / "checkpoint/overlaps.paf.gz").read_bytes()
    (out / "clusters.h5").rmdir()
    done = cluster(0, manifests["linked"], out, *ARGUMENTS, "--overlaps")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(RESUMED) == 1
    assert read_files(out) == undisturbed | {"overlaps.paf.gz": kept}
    assert len(gzip.decompress(kept).splitlines()) > 4000
    # A run that wants none leaves none behind.
    done = cluster(0, manifests["linked"], out, "--algorithm", "lsh")
    assert sorted(read_files(out)) == ["assignments.parquet", "binning.tsv", "clusters.h5"]


def test_clusters_that_were_found_are_used(killed, undisturbed, cluster, manifests, tmp_path):
    """A folder stands where a result should go: the job fails after the clusters were found and saved."""
    out = shutil.copytree(killed, tmp_path / "out")
    (out / "clusters.h5").mkdir()
    assert cluster(2, manifests["linked"], out, *ARGUMENTS).returncode != 0
    (out / "clusters.h5").rmdir()
    done = cluster(0, manifests["linked"], out, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(FOUND) == 1
    assert read_files(out) == undisturbed


def test_links_of_some_shards_are_not_enough(killed, undisturbed, cluster, manifests, tmp_path):
    out = shutil.copytree(killed, tmp_path / "out")
    (out / "checkpoint/links-00001.npz").unlink()
    done = cluster(0, manifests["linked"], out, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert RESUMED not in done.stderr
    assert read_files(out) == undisturbed


def test_a_damaged_checkpoint_is_refused_on_all_ranks(killed, cluster, manifests, tmp_path):
    out = shutil.copytree(killed, tmp_path / "out")
    path = out / "checkpoint/links-00001.npz"
    path.write_bytes(path.read_bytes()[:-50])
    done = cluster(2, manifests["linked"], out, *ARGUMENTS)
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert f"{path}: is damaged" in done.stderr
    assert f"remedy: delete {path.parent} and run again" in done.stderr
