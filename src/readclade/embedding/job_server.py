"""Ray's job server, over HTTP: to reach it, to see what its cluster has, and to follow the log of a job.

Every request has a time limit, because an address that swallows packets must not hold the workflow for ever.
"""

import asyncio
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from readclade.errors import ConfigError, ReadcladeError

_TIMEOUT_S = (10, 60)  # to connect, and to wait for bytes
_BACKOFF_S = (1, 2, 4, 8, 15)
_FINAL = ("status code 400", "does not exist")  # a request that says so is not tried again
# What a request raises when the head cannot be reached, or answers for itself: status 5xx, or an empty page.
UNREACHABLE = (requests.RequestException, ConnectionError, RuntimeError)


class JobServer(JobSubmissionClient):
    """Ray's own client, whose requests have no time limit of their own."""

    def _do_request(self, method: str, endpoint: str, **options):
        return super()._do_request(method, endpoint, timeout=_TIMEOUT_S, **options)

    def get(self, endpoint: str) -> Any:
        """Return the `data` of one of the dashboard's answers, or None where it has no such page."""
        answer = self._do_request("GET", endpoint)
        try:
            return answer.json()["data"] if answer.ok else None
        except (ValueError, KeyError):
            return None


@dataclass(frozen=True)
class RayCluster:
    """What the cluster behind a job server is.

    Attributes:
        ray: its version of Ray.
        python: its version of Python, or None where its Ray does not tell.
        interpreter: the Python that its workers run, by its full path, or None where its Ray does not tell.
        nodes: the resources of each node.
        is_fixed: True where no autoscaler can add a node of another kind.
    """

    ray: str
    python: str | None
    interpreter: str | None
    nodes: tuple[dict[str, float], ...]
    is_fixed: bool

    def has_room(self, wanted: dict[str, float]) -> bool:
        """Return whether a node has what one actor wants, were it idle."""
        return any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in self.nodes)


def connect(address: str) -> JobServer:
    """Reach the job server of a Ray cluster.

    `RAY_JOB_HEADERS` (JSON) goes with each request, as with Ray's own commands, and `REQUESTS_CA_BUNDLE` names the
    certificates to trust. A cluster that asks for a token gets Ray's own: RAY_AUTH_TOKEN, else the file
    RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token.

    Raises:
        ConfigError: nothing answers there, or something that is no job server, or it refuses us.
    """
    if not address.startswith(("http://", "https://")):
        raise ConfigError(
            f"'{address}' is no address of a Ray job server", remedy="give one such as http://127.0.0.1:8265"
        )
    if "@" in address.split("/")[2] or "?" in address:
        # It would stand in logs and in Ray's job list; it is not repeated here either.
        raise ConfigError(
            "the address of the Ray job server holds a user, a password or a query",
            remedy="give a token by RAY_AUTH_TOKEN_PATH and other secrets by RAY_JOB_HEADERS: docs/remote-ray.md",
        )
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        os.environ.pop(name, None)  # Ray would go there instead, whatever it is given
    # Read here, because Ray's client leaves both to its command line.
    headers = _read_headers()
    verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    try:
        try:
            return JobServer(address, headers=headers, verify=verify)
        except AuthenticationError:
            token = _find_token()
            if token is None:
                raise
            return JobServer(address, headers=headers | {"Authorization": f"Bearer {token}"}, verify=verify)
    except AuthenticationError as error:
        raise ConfigError(
            f"the Ray cluster at {address} refuses us: {str(error).splitlines()[0]}",
            remedy="put the cluster's token into ~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH",
        ) from None
    except UNREACHABLE as error:
        cause = error.__context__ or error  # Ray's client keeps it there: a refused port, a certificate, a proxy
        raise ConfigError(
            f"no Ray job server answers at {address} ({str(cause).rpartition('Caused by ')[2][:200]})",
            remedy="check that the cluster is up and the address right (port 8265 of the head, through a tunnel where"
            " it is private); docs/remote-ray.md shows how",
        ) from None


def check_cluster(server: JobServer, address: str, gpus: float) -> RayCluster:
    """Refuse a cluster that cannot run our job, before anything is sent to it.

    Args:
        gpus: what each actor asks for.

    Raises:
        ConfigError: another version of Ray or Python than ours, or no node that an actor fits on, now or later.
    """
    cluster = describe_cluster(server)
    ours = {"Ray": ray.__version__, "Python": platform.python_version()}
    for name, theirs in (("Ray", cluster.ray), ("Python", cluster.python)):
        if theirs and theirs.split(".")[:2] != ours[name].split(".")[:2]:
            raise ConfigError(
                f"the cluster at {address} runs {name} {theirs}, but here is {ours[name]}",
                remedy="run both on the same versions: envs/embed.yaml says which",
            )
    wanted = {"CPU": 1} | ({"GPU": gpus} if gpus else {})
    if cluster.is_fixed and not cluster.has_room(wanted):
        raise ConfigError(
            f"no node of the cluster at {address} has what an actor asks for: {_show(wanted)}; "
            f"they have {'; '.join(map(_show, cluster.nodes)) or 'nothing'}",
            remedy="ask for less (the resource actor_gpus of the rule embed, or --actor-gpus), or add such a node",
        )
    return cluster


def describe_cluster(server: JobServer) -> RayCluster:
    """Ask the dashboard what the cluster is."""
    version = server._do_request("GET", "/api/version").json()
    metadata = server.get("/api/v0/cluster_metadata") or {}
    status = (server.get("/api/cluster_status") or {}).get("clusterStatus") or {}
    kinds = (status.get("loadMetricsReport") or {}).get("nodeTypes") or []
    types = (status.get("autoscalerReport") or {}).get("nodeTypeMapping") or {}
    return RayCluster(
        ray=version["ray_version"],
        python=metadata.get("pythonVersion"),
        interpreter=_find_interpreter(server),
        nodes=tuple(resources for resources, count in kinds for _ in range(int(count))),
        # Without an autoscaler, Ray calls each node's type after the node itself.
        is_fixed=bool(kinds) and bool(types) and all(kind == f"node_{node}" for node, kind in types.items()),
    )


def describe_waiting(server: JobServer) -> str:
    """Say what the cluster cannot place at present, and what it has; an empty text where nothing waits."""
    report = ((server.get("/api/cluster_status") or {}).get("clusterStatus") or {}).get("loadMetricsReport") or {}
    waiting = [f"{count} x {_show(resources)}" for resources, count in report.get("resourceDemand") or []]
    if not waiting:
        return ""
    usage = report.get("usage") or {}
    used = [f"{usage[name][0]:g} of {usage[name][1]:g} {name} in use" for name in ("CPU", "GPU") if name in usage]
    return f"the cluster cannot place {', '.join(waiting)} at present ({', '.join(used) or 'it has no node'})"


class LogFollower(threading.Thread):
    """Print a job's log as it grows, no line twice, over connections that may break.

    The server sends a log from its beginning each time, so what was printed before is skipped.
    """

    def __init__(self, server: JobServer, job_id: str, write: Callable[[str], None]):
        super().__init__(daemon=True)
        self._server, self._job_id, self._write = server, job_id, write
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task | None = None
        self._printed = 0
        self.last_output = time.monotonic()

    def run(self) -> None:
        """Follow until `finish`."""
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._follow())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _follow(self) -> None:
        failures = 0
        while True:
            position = 0
            try:
                async for text in self._server.tail_job_logs(self._job_id):
                    failures = 0
                    position += len(text)
                    self._print(text, position)
            except (aiohttp.ClientError, OSError, RuntimeError, ValueError):
                failures += 1  # the main thread asks for the status meanwhile, and decides
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    def _print(self, text: str, position: int) -> None:
        """Print the part of `text` that is new; `position` is where it ends in the log."""
        new = text[max(len(text) - (position - self._printed), 0) :] if position > self._printed else ""
        if new:
            self._printed = position
            self.last_output = time.monotonic()
            self._write(new)

    def finish(self, log: str | None = None) -> None:
        """Stop following; print the rest of the whole `log`."""
        if self._task is not None and self.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(5)
        if log is not None:
            self._print(log, len(log))


def _find_interpreter(server: JobServer) -> str | None:
    """Return the full path of the Python that the head starts its workers with, from the command line of its raylet."""
    for node in (server.get("/nodes?view=summary") or {}).get("summary", []):
        raylet = node.get("raylet") or {}
        if raylet.get("isHeadNode"):
            detail = (server.get(f"/nodes/{raylet['nodeId']}") or {}).get("detail") or {}
            for word in detail.get("cmdline") or []:
                option, _, command = word.partition("=")
                if option == "--python_worker_command" and command.startswith("/"):
                    return command.split(" /", 1)[0].strip()
    return None


def _find_token() -> str | None:
    """Return the token that Ray itself would use, or None; sent only to a cluster that asked for one."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray/auth_token")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _read_headers() -> dict[str, str]:
    try:
        headers = json.loads(os.environ.get("RAY_JOB_HEADERS") or "{}")
    except ValueError:
        headers = None
    if not isinstance(headers, dict):
        # The value may hold a secret: it is not repeated.
        raise ConfigError("RAY_JOB_HEADERS is no JSON object", remedy="""write it as {"name": "value"}, or unset it""")
    return {str(name): str(value) for name, value in headers.items()}


def _show(resources: dict[str, float]) -> str:
    shown = [f"{amount:g} {name}" for name, amount in resources.items() if name in ("CPU", "GPU")]
    return ", ".join(shown) or "neither CPU nor GPU"


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, UNREACHABLE) and not any(words in str(error) for words in _FINAL)


def try_again(ask: Callable[[], Any], patience_s: float, address: str, job_id: str) -> Any:
    """Return what a request gives, asked again over a broken connection.

    Raises:
        ReadcladeError: the head did not answer for `patience_s` seconds, or does not know the job any more.
    """
    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(patience_s),
        wait=wait_exponential(2, max=15),
        reraise=True,
    )
    try:
        return retrying(ask)
    except UNREACHABLE as error:
        if "status code 400" in str(error):
            raise ReadcladeError(f"the Ray cluster at {address} refuses the job {job_id}: {error}") from None
        if "does not exist" in str(error):
            raise ReadcladeError(
                f"the Ray cluster at {address} does not know the job {job_id} any more: it was started anew",
                remedy="run the same again: shards that are whole are kept",
            ) from None
        raise ReadcladeError(
            f"the Ray cluster at {address} has not answered for {patience_s:g} s; the job {job_id} may still"
            f" run there ({type(error).__name__})",
            remedy="when the cluster answers again, run the same again: it joins the job if that still runs,"
            " and keeps the shards that are whole",
        ) from None
