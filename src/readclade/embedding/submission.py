"""Phase 1 on a remote Ray cluster: submit the job once, follow it to its end, stop it, or find it again.

The library and the scripts travel with the job, so that the cluster needs only the packages of envs/embed.yaml, or
of envs/networks.yaml. A job's name comes from all that decides its shards and from the place that they go to. Whoever
asks for the same shards again, after a lost connection or with a restarted Snakemake, therefore finds the job that runs
instead of starting a second one beside it.
"""

import contextlib
import logging
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ray.job_submission import JobStatus

from readclade.embedding.job_server import (
    UNREACHABLE,
    JobServer,
    LogFollower,
    check_cluster,
    connect,
    describe_waiting,
    try_again,
)
from readclade.embedding.metrics import find_figures, write_figures
from readclade.embedding.ray_session import get_shared_variables
from readclade.embedding.remote_files import mark_folder, offer_reads, read_whole_manifest
from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.reads.plan import load_reads
from readclade.shards.identity import get_fingerprint
from readclade.storage.files import hash_file

_log = logging.getLogger(__name__)

_LIBRARY = Path(__file__).parents[1]
_SCRIPTS = _LIBRARY.parents[1] / "scripts"
_KEY, _STORE = "readclade_key", "readclade_store"
_POLL_S = 2
_STOP_S = 90
_QUIET_S = 60  # after that long without a line from the job, say what it waits for


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM; no Exception, so that nothing takes it for a failed request."""

    def __init__(self, signum: int):
        super().__init__(signum)
        self.signum = signum


@dataclass(frozen=True)
class Request:
    """What is asked of the cluster.

    Attributes:
        reads: the sample's reads.json: an absolute path, or s3://bucket/key.
        location: folder of the shards: an absolute path, or s3://bucket/prefix.
        embedder: name of the embedder.
        parameters: its parameters.
        d: most values of an embedding.
        gpus: what each actor takes.
        words: the options of embed_fragments.py that say how to embed.
    """

    reads: str
    location: str
    embedder: str
    parameters: dict
    d: int
    gpus: float
    words: tuple[str, ...]

    def get_key(self) -> str:
        """Return the SHA-256 over what decides the shards, and where they go.

        Raises:
            InputError: reads.json cannot be read.
        """
        embedder = [self.embedder, self.parameters, *_hash_files(self.parameters)]
        return get_fingerprint(load_reads(self.reads), embedder, self.d, store=self.location)


def embed_remotely(
    request: Request,
    address: str,
    interpreter: str | None = None,
    patience_s: float = 300,
    metrics: Path | None = None,
) -> int:
    """Have a cluster embed a sample, and wait for it.

    Args:
        address: of its job server, http:// or https://.
        interpreter: Python on the cluster, by its full path; None: the one that its workers run.
        patience_s: how long the cluster may be out of reach before this gives up; the job is not stopped then.
        metrics: file for the figures of the job that was followed; empty where a job had made the shards before.

    Returns:
        The exit code: the job's own, or 128 + the number of the signal that stopped us and the job.

    Raises:
        ConfigError: the cluster cannot be reached, or cannot run the job.
        InputError: reads.json cannot be read.
        ReadcladeError: another job writes to the same place, or the cluster is lost.
    """
    if metrics is not None:
        write_figures({}, metrics)
    key = request.get_key()
    server = job_id = None
    with _raise_signals():
        try:
            server = connect(address)
            cluster = check_cluster(server, address, request.gpus)
            found, status = _find_job(server, request, key, address)
            if status == JobStatus.SUCCEEDED:
                _log.info(f"the job {found} has made these shards; they are all there")
                return 0
            job_id = found
            if status is None:
                _submit_job(server, job_id, request, key, interpreter or cluster.interpreter, address, patience_s)
                _log.info(f"submitted the job {job_id} to {address}")
            else:
                _log.info(f"joined the job {job_id} at {address}, which is {status}")
            return _follow_job(server, job_id, address, patience_s, metrics)
        except Interrupted as interrupted:
            if server is not None and job_id is not None:
                _stop_job(server, job_id, address)
            return 128 + interrupted.signum


def _find_job(server: JobServer, request: Request, key: str, address: str) -> tuple[str, JobStatus | None]:
    """Return the job that makes these shards or has made them, with its status; else a new name and None."""
    jobs = [job for job in _list_jobs(server, address) if (job.metadata or {}).get(_STORE) == request.location]
    for job in jobs:
        if not job.status.is_terminal():
            if job.metadata[_KEY] == key:
                return job.submission_id, job.status
            raise ReadcladeError(
                f"the job {job.submission_id} at {address} is making other shards in {request.location}",
                remedy=f"wait for it, or stop it: ray job stop --address {address} {job.submission_id}",
            )
    ours = [job for job in jobs if job.metadata[_KEY] == key]
    for job in ours:
        if job.status == JobStatus.SUCCEEDED and _is_whole(server, job.submission_id, request.location):
            return job.submission_id, job.status
    attempts = [int(job.submission_id.rpartition("-")[2]) for job in ours]
    # No random part: where two ask at the same moment, Ray refuses the second's name, and both follow one job.
    return f"readclade-{request.location.rpartition('/')[2]}-{key[:16]}-{max(attempts, default=0) + 1}", None


def _list_jobs(server: JobServer, address: str) -> list:
    try:
        return server.list_jobs()
    except UNREACHABLE as error:
        raise ConfigError(
            f"the Ray cluster at {address} does not list its jobs: {str(error)[:500]}",
            remedy="check that its head is well: ray job list --address " + address,
        ) from None


def _is_whole(server: JobServer, job_id: str, location: str) -> bool:
    """Return whether the shards in `location` are those that a job has made, and all there."""
    try:
        manifest = read_whole_manifest(location)
        return manifest is not None and manifest.fingerprint in server.get_job_logs(job_id)
    except (InputError, *UNREACHABLE):
        return False


def _submit_job(
    server: JobServer, job_id: str, request: Request, key: str, interpreter: str | None, address: str, patience_s: float
) -> None:
    if interpreter is None:
        raise ConfigError(
            f"the cluster at {address} does not tell which Python it runs", remedy="give its full path with --python"
        )

    reads = offer_reads(request.reads, request.location)
    mark = f".{job_id}.tmp"
    mark_folder(request.location, mark)
    words = [f"--reads={reads}", f"--out={request.location}", *request.words, f"--mark={mark}", "--address=auto"]

    def submit():
        try:
            server.submit_job(
                entrypoint=shlex.join([interpreter, "-u", "embed_fragments.py", *words]),
                submission_id=job_id,
                # What stands here is shown in Ray's dashboard: no secrets.
                runtime_env={
                    "working_dir": str(_SCRIPTS),
                    "py_modules": [str(_LIBRARY)],
                    "env_vars": get_shared_variables(),
                },
                metadata={_KEY: key, _STORE: request.location},
            )
        except RuntimeError as error:
            # The answer to an earlier attempt was lost, or someone else asks for the same: the job is there.
            if "already exists" not in str(error):
                raise

    try_again(submit, patience_s, address, job_id)


def _follow_job(server: JobServer, job_id: str, address: str, patience_s: float, metrics: Path | None) -> int:
    """Print the job's log until it ends, and write the figures that stand there; return its exit code."""
    follower = LogFollower(server, job_id, _write)
    follower.start()
    log = None
    told = time.monotonic()
    try:
        while True:
            job = try_again(lambda: server.get_job_info(job_id), patience_s, address, job_id)
            if job.status.is_terminal():
                break
            if time.monotonic() - max(told, follower.last_output) > _QUIET_S:
                told = time.monotonic()
                _log.info(f"the job {job_id} is {job.status}" + _explain(server))
            time.sleep(_POLL_S)
        log = try_again(lambda: server.get_job_logs(job_id), patience_s, address, job_id)
    finally:
        follower.finish(log)
    if job.status == JobStatus.SUCCEEDED:
        if metrics is not None:
            write_figures(find_figures(log), metrics)
        return 0
    message = (job.message or "").strip()
    # After an exit code Ray repeats the end of the log.
    cause = message if job.driver_exit_code is None else message.splitlines()[0]
    _log.info(f"the job {job_id} has {job.status}: {cause}")
    code = job.driver_exit_code or 1
    return code if code > 0 else 128 - code


def _explain(server: JobServer) -> str:
    with contextlib.suppress(*UNREACHABLE):
        if waiting := describe_waiting(server):
            return "; " + waiting
    return ""


def _stop_job(server: JobServer, job_id: str, address: str) -> None:
    """Stop a job and wait until it is stopped; a second signal ends the waiting."""
    _log.info(f"stopping the job {job_id}")
    deadline = time.monotonic() + _STOP_S
    with contextlib.suppress(Interrupted):
        while time.monotonic() < deadline:
            try:
                if server.get_job_info(job_id).status.is_terminal():
                    _log.info(f"the job {job_id} is stopped; shards that are whole are kept")
                    return
                server.stop_job(job_id)
            except UNREACHABLE as error:
                if "does not exist" in str(error):
                    return
            time.sleep(1)
    _log.info(f"the job {job_id} may still run; stop it: ray job stop --address {address} {job_id}")


def _write(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _hash_files(parameters: dict) -> list[str]:
    """Return the checksums of the files that an embedder's parameters name, where this machine sees them."""
    paths = [Path(value) for value in parameters.values() if isinstance(value, str) and value.startswith("/")]
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [hash_file(file) for file in files if file.is_file()]


@contextlib.contextmanager
def _raise_signals() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Interrupted` within a block."""

    def interrupt(signum, _):
        raise Interrupted(signum)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
