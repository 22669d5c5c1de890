"""Start a real Slurm cluster of two nodes on this machine; stop it and put everything back at the end.

Example, from the repository root, as root, after `make system-deps`:
    .venv/bin/python tests/cluster/start_cluster.py -- .venv/bin/snakemake --profile profiles/slurm -n

The command after -- runs while the cluster is up; without one a shell does. Munge has a key and a socket of its own.
Slurm reads /etc/slurm/slurm.conf wherever a job step runs, so this file is written and what stood there put back.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
NODES = ("n1", "n2")
BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def explain_absence() -> str | None:
    """Return why no cluster can be started here, or None where it can."""
    if os.geteuid() != 0:
        return "not root: slurmd and /etc/slurm/slurm.conf need it"
    missing = [name for name in BINARIES if not shutil.which(name, path=f"{os.environ['PATH']}:{_SBIN}")]
    if missing:
        return f"no {', '.join(missing)} here: run `make system-deps` as root"
    if shutil.which("squeue") and subprocess.run(["squeue"], capture_output=True, timeout=60).returncode == 0:
        return "a Slurm controller answers here already, and its configuration is left alone"
    return None


class Cluster:
    """The daemons of one cluster, their folder, and what a test does to them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        self.ports = dict(zip(("slurmctld", *NODES), find_ports(1 + len(NODES)), strict=True))

    def start(self) -> None:
        """Start munged, slurmctld and both slurmd; return when both nodes are idle."""
        for name in ("munge", "state", *NODES):
            (self.folder / name).mkdir(mode=0o755)
        self.folder.chmod(0o755)
        key = self.folder / "munge/munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._start(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge/socket",
            f"--pid-file={self.folder}/munge/pid", f"--seed-file={self.folder}/munge/seed",
            f"--log-file={self.folder}/munge/log",
        )  # fmt: skip
        wait_for("munge's socket", lambda: (self.folder / "munge/socket").exists())
        CONFIGURATION.write_text(self.make_configuration())
        self._start("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        wait_for("two idle nodes", lambda: self.get_states() == dict.fromkeys(NODES, "idle"))

    def make_configuration(self) -> str:
        """Return slurm.conf: more CPUs than the machine has (config_overrides), and finished jobs known for an hour."""
        host = socket.gethostname()
        nodes = "".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.ports[node]} CPUs=16 RealMemory=8000\n"
            for node in NODES
        )
        partitions = "".join(
            f"PartitionName={name} Nodes={','.join(NODES)} Default={default} MaxTime=INFINITE State=UP\n"
            for name, default in (("cpu", "YES"), ("memory", "NO"), ("gpu", "NO"))
        )
        return f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={self.ports["slurmctld"]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.%n.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=pmi2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
KillWait=5
SlurmdTimeout=10
{nodes}{partitions}"""

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Make a node vanish as a power cut would: its slurmd, job steps and tasks get no chance to say anything."""
        self.daemons.pop(node).kill()
        for process in find_processes(f"SLURMD_NODENAME={node}", str(self.folder)):
            os.kill(process, signal.SIGKILL)

    def get_states(self) -> dict[str, str]:
        """Return the state of each node, as sinfo says it."""
        done = subprocess.run(["sinfo", "-h", "-N", "-p", "cpu", "-o", "%N %t"], capture_output=True, text=True)
        return dict(line.split() for line in done.stdout.splitlines())

    def list_jobs(self, states: str = "PENDING,CONFIGURING,RUNNING,COMPLETING,SUSPENDED") -> list[list[str]]:
        """Return id, comment and state of each job that is not over."""
        command = ["squeue", "-h", "-t", states, "-o", "%i|%k|%T"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return [line.split("|") for line in done.stdout.splitlines()]

    def describe_job(self, job: str) -> dict[str, str]:
        """Return what Slurm tells of a job, also of one that is over."""
        command = ["scontrol", "--oneliner", "show", "job", job]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)

    def stop(self) -> None:
        """End the jobs that are left, then the daemons, and what the daemons started."""
        if "slurmctld" in self.daemons:
            subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=60)
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for node in NODES:
            for process in find_processes(f"SLURMD_NODENAME={node}", str(self.folder)):
                os.kill(process, signal.SIGKILL)

    def _start(self, *command: str, name: str | None = None) -> None:
        program = shutil.which(command[0], path=f"{os.environ['PATH']}:{_SBIN}")
        with (self.folder / f"{name or command[0]}.out").open("ab") as output:
            environment = {"PATH": f"{os.environ['PATH']}:{_SBIN}", "HOME": os.environ.get("HOME", "/root")}
            daemon = subprocess.Popen(
                [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        self.daemons[name or command[0]] = daemon
        time.sleep(0.2)
        if daemon.poll() is not None:
            raise RuntimeError(
                f"{command[0]} ended at once; see {output.name}:\n{Path(output.name).read_text()[-2000:]}"
            )


def find_processes(*words: str) -> list[int]:
    """Return the processes whose environment or command line holds all words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = b"\0".join((folder / name).read_bytes() for name in ("environ", "cmdline")).decode(errors="replace")
        except OSError:
            continue
        if all(word in text for word in words):
            found.append(int(folder.name))
    return found


def find_ports(count: int) -> list[int]:
    """Return free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def wait_for(what: str, condition, seconds: float = 60) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {seconds:.0f} s")
        time.sleep(0.1)


@contextmanager
def run_cluster(folder: Path):
    """Run a cluster as long as the block lasts, or until SIGINT or SIGTERM; put slurm.conf back as it was."""
    before = CONFIGURATION.read_bytes() if CONFIGURATION.exists() else None
    CONFIGURATION.parent.mkdir(exist_ok=True)
    cluster = Cluster(folder)
    # What a killed run left would look like somebody's own Slurm, and all later runs would be skipped.
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        if before is None:
            CONFIGURATION.unlink(missing_ok=True)
        else:
            CONFIGURATION.write_bytes(before)
        signal.signal(signal.SIGTERM, handler)


def main() -> None:
    """Run a command while a cluster is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="*", help="what to run while the cluster is up (default: a shell)")
    arguments = parser.parse_args()
    if reason := explain_absence():
        sys.exit(f"start_cluster: {reason}")
    with tempfile.TemporaryDirectory() as folder, run_cluster(Path(folder)):
        sys.exit(subprocess.run(arguments.command or [os.environ.get("SHELL", "/bin/sh")]).returncode)


if __name__ == "__main__":
    main()
