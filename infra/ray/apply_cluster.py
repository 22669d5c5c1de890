"""Bring the Ray cluster to the state of this commit: render the file, wait for running jobs, call `ray up`.

Example, from the repository root, with credentials that may apply the stack:
    PYTHONPATH=src .venv-infra/bin/python -m infra.ray.apply_cluster --project readclade --image IMAGE

`ray up` restarts Ray on the head, and so ends what runs there. A cluster with jobs is therefore left alone, and the
command says so and fails. The token that every call to Ray carries is made on the first call and never shown.
"""

import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.ray.render_cluster import CLUSTER, read_outputs, render_cluster
from infra.template import ROOT
from readclade.cli import make_parser, run, start_log
from readclade.errors import ReadcladeError

log = logging.getLogger("readclade")

# Inside the head's container: exit status 3 where a job has not ended.
_IS_BUSY = "/opt/venv/bin/python /opt/readclade/infra/ray/check_idle.py"
_BUSY = "jobs have not ended"
# What Ray says, with the cluster's name between these words, where EC2 knows no head of the cluster.
_ABSENT = "not found!"


def ensure_token(ssm: Any, parameter: str, key: str) -> bool:
    """Make the cluster's token where there is none; return whether it was made.

    Args:
        ssm: a client of Systems Manager.
        parameter: name of the SecureString.
        key: the KMS key that encrypts it.
    """
    try:
        ssm.put_parameter(
            Name=parameter, Type="SecureString", KeyId=key, Value=secrets.token_hex(32), Description="token of Ray"
        )
    except ssm.exceptions.ParameterAlreadyExists:
        return False
    return True


def save_key(ssm: Any, key_id: str, key_name: str, folder: Path) -> Path:
    """Write the private key of the cluster's nodes where the cluster file expects it, readable by its owner only."""
    value = ssm.get_parameter(Name=f"/ec2/keypair/{key_id}", WithDecryption=True)["Parameter"]["Value"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{key_name}.pem"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value)
    return path


def wait_until_idle(ask: Callable[[], str], minutes: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return when the cluster has no job left.

    Args:
        ask: returns `idle`, `busy` or `absent`.
        minutes: how long to wait.
        sleep: waits for seconds.

    Raises:
        ReadcladeError: jobs are still running after that time.
    """
    for waited in range(int(minutes) + 1):
        state = ask()
        if state != "busy":
            log.info({"idle": "the cluster has no job", "absent": "there is no head node yet"}[state])
            return
        if waited < int(minutes):
            log.info("jobs are running; they would be ended, so this waits a minute")
            sleep(60)
    raise ReadcladeError(
        f"jobs still ran after {minutes:g} minutes; the cluster was left as it was",
        remedy="run the step again when they have ended, or stop them with `ray job stop`",
    )


def ask_cluster(ray: str, cluster: Path) -> str:
    """Return `absent`, `idle` or `busy` for the cluster of a rendered file.

    Raises:
        ReadcladeError: EC2 or the head does not answer; whether a job runs is then not known.
    """
    found = subprocess.run([ray, "get-head-ip", str(cluster)], capture_output=True, text=True, check=False)
    if found.returncode:
        if _ABSENT in found.stdout + found.stderr:
            return "absent"
        raise ReadcladeError(
            f"EC2 does not say whether there is a head node: {found.stderr.strip()[-500:]}",
            remedy="check the credentials and the region; nothing was changed",
        )
    asked = subprocess.run([ray, "exec", str(cluster), _IS_BUSY], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return "idle"
    if _BUSY in asked.stdout + asked.stderr:
        return "busy"
    raise ReadcladeError(
        f"the head node does not say whether jobs run: {(asked.stderr or asked.stdout).strip()[-500:]}",
        remedy="look at the head in a session of Systems Manager; `--replace` applies the file without asking",
    )


def main() -> None:
    """Read the arguments and apply."""
    parser = make_parser(__doc__)
    parser.add_argument("--project", required=True, help="the name that the deployed stacks begin with")
    parser.add_argument("--image", required=True, help="image by digest, as infra/image/push_image.sh prints it")
    parser.add_argument("--wait-minutes", type=float, default=30, help="for running jobs (default: %(default)s)")
    parser.add_argument("--replace", action="store_true", help="apply without asking whether jobs run")
    arguments = parser.parse_args()
    start_log("ray up")
    import boto3

    ssm = boto3.client("ssm")
    outputs = read_outputs(arguments.project, boto3.client("cloudformation"))
    cluster = ROOT / "infra/build/cluster.yaml"
    cluster.parent.mkdir(parents=True, exist_ok=True)
    cluster.write_text(render_cluster(CLUSTER.read_text(encoding="utf-8"), outputs, arguments.image), encoding="utf-8")
    made = ensure_token(ssm, outputs["RayTokenParameter"], outputs["KeyArn"])
    log.info("made the token" if made else "the token is there")
    save_key(ssm, outputs["RayKeyId"], outputs["RayKeyName"], Path.home() / ".ssh")
    ray = str(Path(sys.executable).with_name("ray"))
    if not arguments.replace:
        wait_until_idle(lambda: ask_cluster(ray, cluster), arguments.wait_minutes)
    subprocess.run([ray, "up", "--yes", "--disable-usage-stats", str(cluster)], check=True)


if __name__ == "__main__":
    run(main)
