"""Phase 1 on a Ray head that is reached through its job server: once, whatever is interrupted."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import ray
import requests

from readclade.embedding import job
from readclade.embedding.job_server import check_cluster, connect
from readclade.errors import ConfigError
from readclade.inputs.tables import Lane
from readclade.reads.summary import summarise_reads
from readclade.shards.manifest import read_manifest
from readclade.storage import locations
from tests.ports import find_free_ports
from tests.ray_head import RayHead
from tests.workflow.test_documented_commands import REMOTE_PAGE, REMOTE_SCRIPT, find_commands, find_example

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
PATIENCE_S = 6


@pytest.fixture(scope="module")
def head(s3_server):
    """Start one Ray head for this module, which may use the S3 server."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")
    head = RayHead(credentials={name: s3_server.get_environment()[name] for name in names})
    try:
        yield head.start()
    finally:
        head.close()


@pytest.fixture(scope="module")
def fetch(write_fastq, take_reads):
    """Return a function that fetches pairs, in so many shards that a job can be interrupted between two."""

    def fetch(folder: Path, count: int = 4_000, shard_bases: int = 15_000) -> Path:
        fq1 = write_fastq(folder / "1.fq", take_reads("pairs_1.fastq.gz", count))
        fq2 = write_fastq(folder / "2.fq", take_reads("pairs_2.fastq.gz", count))
        summarise_reads("pairs", "illumina", [Lane(fq1, fq2)], folder / "pairs", shard_bases)
        return folder / "pairs/reads.json"

    return fetch


@pytest.fixture(scope="module")
def reads(fetch, tmp_path_factory) -> Path:
    return fetch(tmp_path_factory.mktemp("reads"))


@pytest.fixture(scope="module")
def whole(reads, tmp_path_factory, take_ray_away) -> dict[str, bytes]:
    """Return the shards of an undisturbed run without Ray, its actor a plain object, and their manifest."""
    out = tmp_path_factory.mktemp("whole") / "shards"

    with pytest.MonkeyPatch.context() as patch:
        take_ray_away(patch)
        job.embed_reads(reads, out, "kmer", {"k": 4}, 32, 1)
    return get_content(out)


def get_content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "progress.json"}


class Proxy:
    """A TCP connection to the head that can be cut; the first answer to a submission gets lost on the way."""

    def __init__(self, head: RayHead):
        self._head = ("127.0.0.1", int(head.address.rpartition(":")[2]))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._is_cut, self.refused, self.lost = False, 0, 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._is_cut:
                self.refused += 1
                client.close()
            else:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(self._head) as head, contextlib.suppress(OSError):
            self._open |= {client, head}
            request = client.recv(1 << 16)
            head.sendall(request)
            if request.startswith(b"POST /api/jobs/ ") and not self.lost:
                threading.Thread(target=self._pump, args=(client, head), daemon=True).start()
                assert b" 200 OK" in head.recv(1 << 16)
                self.lost += 1
                client.shutdown(socket.SHUT_RDWR)
                return
            threading.Thread(target=self._pump, args=(client, head), daemon=True).start()
            self._pump(head, client)

    @staticmethod
    def _pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut(self):
        self._is_cut = True
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def mend(self):
        self._is_cut = False

    def close(self):
        self.cut()
        self._server.close()


class Submitter:
    """One `submit_embedding.py` at work, in a process group of its own, its log in a file through a pipe."""

    def __init__(self, head: RayHead, reads: Path, out: Path, *options: str, **environment: str):
        self._head, self._out = head, out
        self.log_path = out.with_suffix(f".{time.monotonic_ns()}.log")
        self._process = subprocess.Popen(
            [
                *("bash", "-c", 'set -o pipefail; "$@" 2>&1 | tee "$0" > /dev/null', self.log_path),
                *(sys.executable, ROOT / "scripts/submit_embedding.py", "--reads", reads, "--out", out),
                *("--address", head.address, "--patience", str(PATIENCE_S), *options),
            ],
            env=os.environ | head.environment | {"PYTHONPATH": str(ROOT / "src")} | environment,
            start_new_session=True,
        )

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    @property
    def job_id(self) -> str:
        return re.search(r"(?:submitted|joined) the job (\S+)", self.log)[1]

    def pause_job(self) -> psutil.Process:
        """Stop the clock of the job's driver when it has seen some shards; return its process."""
        self.wait_until(lambda: self._head.find_jobs(self._out, "PENDING", "RUNNING"))
        job_id = self._head.find_jobs(self._out, "PENDING", "RUNNING")[0]["submission_id"]
        self.wait_until(lambda: "] shard 3 of" in self._head.read_job_log(job_id))
        driver = self._head.find_driver(job_id)
        driver.suspend()
        self.wait_until(lambda: "] shard 3 of" in self.log and f"the job {job_id}" in self.log)
        return driver

    def wait_for(self, text: str) -> None:
        """Wait until the log says something."""
        self.wait_until(lambda: text in self.log)

    def wait_until(self, is_so) -> None:
        """Wait until a function returns something true."""
        deadline = time.monotonic() + 240
        while not is_so():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def wait(self, timeout: float = 300) -> int:
        """Return the exit code."""
        return self._process.wait(timeout)

    def send_to_script(self, signum: int) -> None:
        """Send a signal to the script alone: its pipe stands."""
        (script,) = psutil.Process(self._process.pid).children()[:1]
        pid = next(p.pid for p in [script, *script.children()] if sys.executable in p.cmdline())
        os.kill(pid, signum)

    def send(self, signum: int) -> None:
        """Send a signal to all processes of the group, as a terminal does."""
        os.killpg(self._process.pid, signum)


def read_metrics(head: RayHead, sample: str, shards: int) -> dict[str, float]:
    """Return what Ray's Prometheus endpoint says of a sample, as soon as it has counted so many shards."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        page = requests.get(f"http://127.0.0.1:{head.metrics_port}/metrics", timeout=60).text
        lines = re.findall(r"^ray_(readclade_\w+)\{(.*)\} (\S+)$", page, re.MULTILINE)
        metrics = {name: float(value) for name, labels, value in lines if f'sample="{sample}"' in labels}
        if metrics.get("readclade_shards_total", 0) >= shards:
            return metrics
        time.sleep(0.5)
    raise AssertionError(page)


def get_shard_lines(log: str) -> list[int]:
    return [int(number) for number in re.findall(r"\] shard (\d+) of", log)]


def test_killed_submitter_finds_its_job_again_and_another_run_takes_what_it_made(head, reads, whole, tmp_path):
    out = tmp_path / "shards"
    first = Submitter(head, reads, out)
    driver = first.pause_job()
    metrics = read_metrics(head, "pairs", shards=3)
    assert metrics["readclade_reads_total"] == 100 * metrics["readclade_shards_total"]
    assert metrics["readclade_bases_total"] == 15_000 * metrics["readclade_shards_total"]
    assert metrics["readclade_bytes_total"] > 0
    assert metrics["readclade_reads_per_second"] > 0
    assert 0 < metrics["readclade_embedder_busy_share"] < 1
    time.sleep(6)  # Ray forgets a gauge that nobody sets for two seconds here; no actor ends a shard meanwhile
    later = read_metrics(head, "pairs", shards=3)
    assert later["readclade_reads_per_second"] > 0
    assert later["readclade_embedder_busy_share"] > 0
    first.send(signal.SIGKILL)
    first.wait()
    assert not (out / "manifest.json").exists()

    second = Submitter(head, reads, out)
    second.wait_for("joined the job")
    driver.resume()
    assert second.wait() == 0, second.log
    assert f"joined the job {first.job_id} at" in second.log
    # The whole log once, in order, though the first submitter had printed a part of it already.
    assert get_shard_lines(second.log) == list(range(1, len(whole)))
    assert get_content(out) == whole
    names, values = re.findall(r"\] metrics: (.*)", second.log)
    figures = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    assert (figures["shards"], figures["reads"], figures["bases"]) == ("80", "8000", "1200000")
    assert int(figures["bytes"]) == sum(path.stat().st_size for path in out.glob("*.parquet"))
    assert (figures["tokens"], figures["gpu_busy"]) == ("0", "NA")
    assert float(figures["reads_per_s"]) == pytest.approx(8000 / float(figures["embedding_s"]), rel=0.2)

    third = Submitter(head, reads, out)
    assert third.wait() == 0, third.log
    assert f"the job {first.job_id} has made these shards" in third.log
    assert [job["submission_id"] for job in head.find_jobs(out)] == [first.job_id]

    # Shards that got lost are made again, by a job of a new name; the others stay.
    lost = min(path for path in out.iterdir() if path.suffix == ".parquet")
    lost.unlink()
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    fourth = Submitter(head, reads, out)
    assert fourth.wait() == 0, fourth.log
    assert fourth.job_id == re.sub("-1$", "-2", first.job_id)
    assert get_content(out) == whole
    assert times.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}.items()


def test_lost_connection_is_taken_up_again_and_nothing_is_submitted_twice(head, reads, whole, tmp_path):
    out = tmp_path / "shards"
    proxy = Proxy(head)
    try:
        submitter = Submitter(head, reads, out, "--address", proxy.address, "--patience", "600")
        driver = submitter.pause_job()
        assert proxy.lost == 1
        proxy.cut()
        driver.resume()
        submitter.wait_until(lambda: proxy.refused >= 2 and "] shard 20 of" in head.read_job_log(submitter.job_id))
        proxy.mend()
        assert submitter.wait() == 0, submitter.log
    finally:
        proxy.close()
    assert get_shard_lines(submitter.log) == list(range(1, len(whole)))
    assert get_content(out) == whole
    assert len(head.find_jobs(out)) == 1


def test_shards_and_what_fetch_found_go_to_s3_without_a_secret(head, s3_server, bucket, reads, whole, tmp_path):
    """The cluster has credentials of its own; the submitter's stay with it."""
    out, store = tmp_path / "pairs", f"{bucket}/shards"
    # Two at once follow one job.
    both = [Submitter(head, reads, out, "--store", store) for _ in range(2)]
    assert [submitter.wait() for submitter in both] == [0, 0], both[0].log + both[1].log
    (job,) = head.find_jobs(f"{store}/pairs")
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    manifest = read_manifest(out / "manifest.json")
    assert manifest.location == f"{store}/pairs"
    assert [locations.read_bytes(f"{manifest.location}/{shard.file}") for shard in manifest.shards] == [
        whole[name] for name in sorted(whole) if name.endswith(".parquet")
    ]
    assert f"--reads={store}/pairs.reads/reads.json" in job["entrypoint"]
    assert s3_server.endpoint in json.dumps(job)
    assert "-secret" not in json.dumps(job) + both[0].log + both[1].log

    # Another submitter makes its manifest from what the job has made.
    (out / "manifest.json").unlink()
    third = Submitter(head, reads, out, "--store", store)
    assert third.wait() == 0, third.log
    assert f"the job {job['submission_id']} has made these shards" in third.log
    assert read_manifest(out / "manifest.json") == manifest

    # A shard is lost. Who may not write says so before anything is submitted.
    locations.delete(f"{manifest.location}/{manifest.shards[7].file}")
    reader = Submitter(head, reads, out, "--store", store, **s3_server.get_environment("reader"))
    assert reader.wait() == 1
    assert "may not be written with these credentials" in reader.log
    assert len(head.find_jobs(manifest.location)) == 1


def test_folder_that_the_cluster_does_not_see_is_refused(reads, tmp_path):
    """What the job would run on a machine where another folder lies under the same path."""
    command = [sys.executable, ROOT / "scripts/embed_fragments.py", "--reads", reads, "--out", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([*command, "--mark", ".job-1.tmp"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"the cluster does not see the folder {tmp_path} of the machine that submitted" in done.stderr
    assert "remedy: work in a folder that both see" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_signal_stops_the_job_and_a_new_run_finishes_it(head, reads, whole, tmp_path):
    """SIGTERM, as batch systems send it; Ctrl-C is below, as it reaches Snakemake."""
    out = tmp_path / "shards"
    first = Submitter(head, reads, out)
    first.pause_job()
    # A different request for the same place must not run beside it.
    other = Submitter(head, reads, out, "--k=5")
    assert other.wait() == 1
    assert f"the job {first.job_id} at {head.address} is making other shards" in other.log
    first.send_to_script(signal.SIGTERM)
    assert first.wait(120) == 128 + signal.SIGTERM
    assert f"the job {first.job_id} is stopped" in first.log
    assert [job["status"] for job in head.find_jobs(out)] == ["STOPPED"]
    made = list(out.glob("*.parquet"))
    assert 3 <= len(made) < len(whole) - 1
    assert not (out / "manifest.json").exists()

    second = Submitter(head, reads, out)
    assert second.wait() == 0, second.log
    assert "shards are there already" in second.log
    assert get_content(out) == whole
    assert [job["status"] for job in head.find_jobs(out)] == ["STOPPED", "SUCCEEDED"]


def test_exit_code_of_a_failing_job_comes_through(head, fetch, tmp_path):
    """The shell's, which finds no such program; the message of our own error is tested with the rule."""
    submitter = Submitter(head, fetch(tmp_path, 100), tmp_path / "shards", "--python=/no/such/python")
    assert submitter.wait() == 127
    assert f"the job {submitter.job_id} has FAILED: " in submitter.log
    assert submitter.log.count("/no/such/python: not found") == 1


def test_cluster_without_the_gpu_that_is_asked_for_is_refused_before_anything_is_submitted(head, fetch, tmp_path):
    jobs = len(head.list_jobs())
    submitter = Submitter(head, fetch(tmp_path, 100), tmp_path / "shards", "--actor-gpus=1")
    assert submitter.wait(60) == 2
    assert "has what an actor asks for: 1 CPU, 1 GPU; they have 2 CPU" in submitter.log
    assert len(head.list_jobs()) == jobs


def test_connect_wrong_token_and_wrong_headers_are_refused(head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(ConfigError, match="refuses us") as caught:
        connect(head.address)
    assert "~/.ray/auth_token" in caught.value.remedy
    monkeypatch.setenv("RAY_JOB_HEADERS", "token=hunter2")
    with pytest.raises(ConfigError, match="RAY_JOB_HEADERS is no JSON object") as caught:
        connect(head.address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://user:hunter2@127.0.0.1:8265", "holds a user, a password or a query"),
        ("127.0.0.1:8265", "is no address of a Ray job server"),
        ("ray://127.0.0.1:10001", "is no address of a Ray job server"),
        ("http://127.0.0.1:{port}", "no Ray job server answers at"),
        ("https://{head}", "SSL"),
    ],
)
def test_connect_where_no_job_server_answers(head, address, message):
    address = address.format(port=find_free_ports(1)[0], head=head.address.removeprefix("http://"))
    with pytest.raises(ConfigError, match=message) as caught:
        connect(address)
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"rayVersion": "2.9.3", "pythonVersion": "3.11.7"}, f"runs Ray 2.9.3, but here is {ray.__version__}"),
        ({"rayVersion": ray.__version__, "pythonVersion": "3.8.1"}, "runs Python 3.8.1, but here is 3."),
        (None, "no Ray job server answers at"),
    ],
)
def test_cluster_of_other_versions_is_refused(versions, message):
    """A server that says what the head of such a cluster says: no other Ray can be installed beside ours."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answers = versions and {
                "/api/version": {"version": "4", "ray_version": versions["rayVersion"], "ray_commit": "0"},
                "/api/v0/cluster_metadata": {"result": True, "msg": "", "data": versions},
            }
            body = json.dumps((answers or {}).get(self.path, {})).encode()
            self.send_response(200 if answers and self.path in answers else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(ConfigError, match=message):
            check_cluster(connect(address), address, 0)
        server.shutdown()


def test_documented_commands_run(head, fetch, tmp_path):
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    for name in ("src", "scripts", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    fetch(tmp_path / "reads", 100)
    # Ray's own commands want the mode, too.
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"], "RAY_AUTH_MODE": "token"} | head.environment
    commands = [*find_commands(REMOTE_PAGE), find_example(REMOTE_SCRIPT)]
    assert len(commands) == 4
    for command in commands:
        assert "http://127.0.0.1:8265" in command
        command = command.replace("http://127.0.0.1:8265", head.address)
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, command + done.stdout + done.stderr
    assert get_content(tmp_path / "shards/pairs") == get_content(tmp_path / "shards/again")


def find_tree(directory: Path) -> list[psutil.Process]:
    """Return the Snakemake at work in a directory, with all its children."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if {"--directory", str(directory)} <= set(process.cmdline()):
                return [process, *process.children(recursive=True)]
    raise AssertionError(f"no Snakemake runs in {directory}")


def test_rule_embed_through_an_interrupted_and_a_killed_snakemake(head, fresh):
    """Samples of the tables that the workflow fetches here; a local run afterwards finds nothing to do."""
    targets = ["shards/pairs/manifest.json"]
    remote = [*targets, "--set-resources", f"embed:ray_address={head.address}", "embed:actors=2"]

    def list_jobs():
        return head.find_jobs(fresh.directory / "shards/pairs")

    def read_log():
        path = fresh.directory / "logs/embed/pairs.log"
        return path.read_text() if path.exists() else ""

    def wait_for_driver(count: int) -> psutil.Process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError, IndexError):
                return head.find_driver(list_jobs()[count - 1]["submission_id"])
            time.sleep(0.05)
        raise AssertionError(read_log())

    with ThreadPoolExecutor() as pool:
        run = pool.submit(fresh.run, *remote, environment=head.environment)
        wait_for_driver(1).suspend()
        # Ctrl-C reaches all processes of the terminal.
        for process in find_tree(fresh.directory):
            process.send_signal(signal.SIGINT)
        assert run.result().returncode != 0
        assert [job["status"] for job in list_jobs()] == ["STOPPED"]

        run = pool.submit(fresh.run, *remote, environment=head.environment)
        driver = wait_for_driver(2)
        driver.suspend()
        for process in find_tree(fresh.directory):
            process.kill()
        assert run.result().returncode != 0
        shutil.rmtree(fresh.directory / ".snakemake/locks")  # what --unlock does
        run = pool.submit(fresh.run, *remote, environment=head.environment)
        deadline = time.monotonic() + 240
        while "joined the job" not in read_log():
            assert not run.done(), run.result().stdout + run.result().stderr
            assert time.monotonic() < deadline
            time.sleep(0.1)
        driver.resume()
        done = run.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [job["status"] for job in list_jobs()] == ["STOPPED", "SUCCEEDED"]
    job = list_jobs()[-1]
    assert job["driver_exit_code"] == 0
    assert "--actors=2" in job["entrypoint"]
    assert f"joined the job {job['submission_id']}" in read_log()
    assert "3,000 fragments in 3 shards" in read_log()
    names, values = (fresh.directory / "logs/embed/pairs.benchmark.tsv").read_text().splitlines()
    figures = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    assert figures["reads"] == "6000"
    assert float(figures["s"]) > float(figures["embedding_s"]) > 0
    assert int(figures["reads_per_s"]) > 0
    assert figures["gpu_busy"] == "NA"
    assert fresh.plan(*targets) == {}
    # A rule whose job fails says why.
    with (fresh.inputs / "pairs 1.fastq.gz").open("ab") as file:
        file.write(b"x")
    (fresh.directory / "shards/pairs/manifest.json").unlink()
    (fresh.directory / "shards/pairs/shard-00001.parquet").unlink()
    done = fresh.run(*remote, "--allowed-rules", "embed", "--rerun-triggers", "code", environment=head.environment)
    assert done.returncode == 1
    log = read_log()
    assert "pairs 1.fastq.gz: is not the file that `fetch` looked at" in log
    assert log.count("remedy: run `fetch` again") == 1
    job = list_jobs()[-1]
    # Another attempt has another name.
    assert (job["status"], job["submission_id"][-2:]) == ("FAILED", "-3")
    assert f"the job {job['submission_id']} has FAILED: " in log
    assert "Traceback" not in log


def test_head_that_is_killed_is_a_clear_failure_that_loses_no_shard(head, reads, whole, tmp_path):
    """Last of the tests that need a job list: the head that comes back knows no earlier job."""
    out = tmp_path / "shards"
    first = Submitter(head, reads, out)
    first.pause_job()
    patient = Submitter(head, reads, out, "--patience=600")
    patient.wait_for("joined the job")
    head.kill()
    try:
        assert first.wait(120) == 1
    finally:
        head.start()
    assert f"has not answered for {PATIENCE_S} s" in first.log
    assert "remedy: when the cluster answers again, run the same again" in first.log
    assert patient.wait(120) == 1
    assert f"does not know the job {first.job_id} any more: it was started anew" in patient.log
    # What was whole is kept: how the next run takes it up is tested above.
    made = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    assert 3 <= len(made) < len(whole) - 1
    assert made.items() <= whole.items()
