"""A real S3 server for tests: SeaweedFS's `weed`, on free ports, which can be killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from tests.ports import find_free_ports

WEED = Path(sys.executable).with_name("weed")
_IDENTITIES = {"admin": ["Admin", "Read", "Write", "List", "Tagging"], "reader": ["Read", "List"], "getter": ["Read"]}


class S3Server:
    """One server with its data in a folder.

    Attributes:
        endpoint: its URL.
    """

    def __init__(self, folder: Path):
        """Start the server and wait until it answers."""
        self.folder = Path(folder)
        self._data = self.folder / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}],
                "actions": actions,
            }
            for name, actions in _IDENTITIES.items()
        ]
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        names += ("s3.port", "s3.port.grpc")
        self._ports = dict(zip(names, find_free_ports(len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        self._process = None
        self.start()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def start(self, wait: bool = True) -> None:
        """Start the server, on the same ports and data as before."""
        command = [str(WEED), "server", f"-dir={self._data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
        command += [f"-s3.config={self.folder / 's3.json'}", "-volume.max=1000", "-master.volumeSizeLimitMB=64"]
        # 0: the services for tables are not needed and have fixed ports of their own.
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
        command += [
            "-master.peers=none",
            "-master.electionTimeout=1s",
            "-master.telemetry=false",
            "-volume.minFreeSpace=0",
        ]
        command += [f"-{name}={port}" for name, port in self._ports.items()]
        with open(self.folder / "weed.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                # Each bucket takes volumes of its own, seven at once unless told otherwise.
                env={"HOME": str(self.folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            )
        if wait:
            self.wait()

    def wait(self, seconds: float = 120) -> None:
        """Wait until the server writes and reads an object."""
        client = self.make_client()
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urlopen(f"{self.endpoint}/status", timeout=5):
                    pass
            except HTTPError:
                pass  # it answers
            except (URLError, OSError):
                self._check(deadline)
                continue
            try:
                buckets = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
                if "probe" not in buckets:
                    client.create_bucket(Bucket="probe")
                client.put_object(Bucket="probe", Key="probe", Body=b"probe")
                assert client.get_object(Bucket="probe", Key="probe")["Body"].read() == b"probe"
                return
            except (BotoCoreError, ClientError):
                self._check(deadline)

    def _check(self, deadline: float) -> None:
        time.sleep(0.2)
        if self._process.poll() is not None or time.monotonic() > deadline:
            log = (self.folder / "weed.log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the S3 server does not answer (exit code {self._process.poll()}):\n{log}")

    def kill(self) -> None:
        """Kill the server at once, as a power failure would."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for name, port in self._ports.items():
            if name.endswith(".grpc"):
                Path(f"/tmp/seaweedfs-{name.split('.')[0]}-grpc-{port}.sock").unlink(missing_ok=True)

    def pause(self) -> None:
        """Freeze the server: it keeps its connections and answers nothing."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def get_environment(self, identity: str = "admin") -> dict[str, str]:
        """Return the environment that leads AWS's tools here as `admin`, `reader`, or somebody it does not know."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": f"{identity}-key",
            "AWS_SECRET_ACCESS_KEY": f"{identity}-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Nobody's own settings, and no search for the role of a machine.
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def lead_here(self, patch, patience_s: int) -> None:
        """Make the environment lead AWS's tools here, as `admin`, and nowhere else.

        Args:
            patch: pytest's MonkeyPatch, which undoes it.
            patience_s: seconds for which a failing call is tried again.
        """
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in (self.get_environment() | {"READCLADE_S3_PATIENCE_S": str(patience_s)}).items():
            patch.setenv(name, value)

    def make_client(self):
        """Return botocore's client as `admin`."""
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="admin-key",
            aws_secret_access_key="admin-secret",
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10, s3={"addressing_style": "path"}
            ),
        )
