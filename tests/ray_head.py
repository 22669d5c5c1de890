"""A real Ray head with its job server, on free ports, with a token and a folder of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import requests

from tests.ports import find_free_ports

_START_S = 180


class RayHead:
    """One `ray start --head`; killed and started anew, it answers at the same address."""

    def __init__(self, cpus: int = 2, credentials: dict[str, str] | None = None):
        self._credentials = credentials or {}
        self._cpus = cpus
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path has 107 letters at most
        self._token = self._folder / "token"
        self._token.write_text("0123456789abcdef" * 4)
        self._port, self.metrics_port, *self._others = find_free_ports(5)
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment must hold."""
        return {"RAY_AUTH_TOKEN_PATH": str(self._token), "RAY_USAGE_STATS_ENABLED": "0"}

    def start(self) -> "RayHead":
        """Start the head and wait until its job server takes jobs."""
        gcs, agent, grpc = self._others
        options = {
            "port": gcs,
            "dashboard-host": "127.0.0.1",
            "dashboard-port": self._port,
            "dashboard-agent-listen-port": agent,
            "dashboard-agent-grpc-port": grpc,
            "metrics-export-port": self.metrics_port,
            "include-dashboard": "true",
            "node-ip-address": "127.0.0.1",
            # Any free port: Ray's fixed range of them collides with that of another Ray on this machine.
            "min-worker-port": 0,
            "max-worker-port": 0,
            "num-cpus": self._cpus,
            "object-store-memory": 100 << 20,
            "temp-dir": self._folder / "ray",
        }
        with (self._folder / "head.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("ray")),
                    *("start", "--head", "--block", "--disable-usage-stats"),
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                env=os.environ
                | self.environment
                | self._credentials
                | {"RAY_AUTH_MODE": "token", "RAY_metrics_report_interval_ms": "1000", "PYTHONPATH": ""},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.5)
        return self

    @property
    def gcs_address(self) -> str:
        """Where a driver on this machine joins the cluster."""
        return f"127.0.0.1:{self._others[0]}"

    def read_job_log(self, job_id: str) -> str:
        """Return what a job's driver has printed, at once: through the job server it comes a second later."""
        path = self._folder / f"ray/session_latest/logs/job-driver-{job_id}.log"
        return path.read_text() if path.exists() else ""

    def find_driver(self, job_id: str) -> psutil.Process:
        """Return the process of a job's driver."""
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if process.environ().get("RAY_JOB_CONFIG_JSON_ENV_VAR", "").find(job_id) >= 0 and (
                    "embed_fragments.py" in process.cmdline()
                ):
                    return process
            except psutil.Error:
                continue
        raise AssertionError(f"{job_id} has no driver")

    @property
    def log(self) -> str:
        """What the head has printed."""
        return (self._folder / "head.log").read_text(errors="replace")

    def get(self, endpoint: str) -> requests.Response:
        """Ask the dashboard."""
        headers = {"Authorization": f"Bearer {self._token.read_text()}"}
        return requests.get(self.address + endpoint, headers=headers, timeout=60)

    def list_jobs(self) -> list[dict]:
        """Return the submitted jobs, oldest first."""
        jobs = [job for job in self.get("/api/jobs/").json() if job["submission_id"]]
        return sorted(jobs, key=lambda job: job["start_time"])

    def find_jobs(self, out: Path | str, *states: str) -> list[dict]:
        """Return the jobs that were to make the shards in a folder, in certain states or in any; oldest first."""
        jobs = [job for job in self.list_jobs() if job["metadata"].get("readclade_store") == str(out)]
        return [job for job in jobs if not states or job["status"] in states]

    def _is_ready(self) -> bool:
        try:
            nodes = self.get("/nodes?view=summary").json()["data"]["summary"]
            # Jobs are started by the node's agent, which comes up last.
            agent = requests.get(f"http://127.0.0.1:{self._others[1]}/api/local_raylet_healthz", timeout=10)
            return bool(nodes) and agent.ok
        except (requests.RequestException, ValueError, KeyError):
            return False

    def kill(self) -> None:
        """Kill the head and all that runs on it, as when its machine is lost."""
        processes = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for process in processes:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=30)
        self._process.wait(30)

    def close(self) -> None:
        """Kill the head and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
