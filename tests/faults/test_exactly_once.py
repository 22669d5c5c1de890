"""Embedding while its processes are killed: every fragment once, with the bytes of an undisturbed run.

    make faults
    .venv/bin/python -m pytest tests/faults -s --kills 100 --seed 2

Actors, other workers of Ray, the driver and the S3 server are killed by SIGKILL at drawn moments, in rounds of some
kills each. The moments are drawn by a seed; what a process does then depends on the machine, so no two runs are alike.
"""

import gzip
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

from readclade.inputs.tables import Lane
from readclade.reads.summary import summarise_reads
from readclade.shards.manifest import read_manifest
from readclade.storage import locations, s3

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]  # beside other tests, or with many kills

KILLS_A_ROUND = 5
LANES = 3
PATIENCE_S = 300  # for a run to end that nobody disturbs any more, and for a victim to appear


@pytest.fixture(scope="module")
def store(s3_server):
    """Return s3://bucket with the pairs of the demo; all processes below inherit the way there."""
    with pytest.MonkeyPatch.context() as patch:
        s3_server.lead_here(patch, 120)
        s3_server.make_client().create_bucket(Bucket="faults")
        yield "s3://faults"


@pytest.fixture(scope="module")
def reads(store, repository, tmp_path_factory):
    """Return reads.json of the same pairs on disk and on S3, by the kind of place."""
    folder = tmp_path_factory.mktemp("reads")
    # Several lanes, so that the actors have work for some seconds; no two may be alike: each begins with another pair.
    lanes: dict[str, list[Lane]] = {"disk": [], "s3": []}
    for number in range(LANES):
        paths = []
        for mate in (1, 2):
            lines = gzip.decompress((repository / f"demo/reads/pairs_{mate}.fastq.gz").read_bytes()).splitlines(True)
            paths.append(folder / f"{number}_{mate}.fastq.gz")
            paths[-1].write_bytes(gzip.compress(b"".join(lines[4 * number :] + lines[: 4 * number]), 1))
            locations.upload_file(paths[-1], f"{store}/{paths[-1].name}")
        lanes["disk"].append(Lane(*map(str, paths)))
        lanes["s3"].append(Lane(*(f"{store}/{path.name}" for path in paths)))
    for place in lanes:
        summarise_reads("pairs", "illumina", lanes[place], folder / place, 500_000)
    return {place: folder / place / "reads.json" for place in ("disk", "s3")}


@pytest.fixture(scope="module")
def cluster(store):
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 << 20},
    )
    yield cluster
    cluster.shutdown()


class Run:
    """One sample that is embedded into a folder or a prefix, by one driver after another until it is done."""

    def __init__(self, reads: Path, out: Path, address: str, repository: Path, target: str | None = None):
        """Start the first driver; `target` is the prefix on S3 below which the shards go, None for `out` itself."""
        self.command = [sys.executable, repository / "scripts/embed_fragments.py", "--reads", reads, "--out", out]
        self.command += ["--actors", "2", "--address", address] + (["--store", target] if target else [])
        self.environment = os.environ | {"PYTHONPATH": str(repository / "src")}
        self.out = out
        self.place = locations.join(target, out.name) if target else str(out)
        self.log = out.parent / "driver.log"
        out.parent.mkdir(parents=True, exist_ok=True)
        self.drivers = 0
        self.start()

    def start(self) -> None:
        self.drivers += 1
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)

    def is_done(self) -> bool:
        """Return whether the driver has ended well; one that has failed is an error of its own, not of ours."""
        code = self.driver.poll()
        assert code in (None, 0), f"the driver ended with {code}:\n{self.log.read_text()[-4000:]}"
        return code == 0

    def finish(self) -> None:
        self.driver.wait(PATIENCE_S)
        assert self.is_done()

    def read_shards(self) -> dict[str, bytes]:
        """Return the bytes of every file but the two of the driver, by the number of the shard."""
        names = sorted(set(locations.list_sizes(self.place)) - {"manifest.json", "progress.json"})
        return {name[: len("shard-00000")]: locations.read_bytes(locations.join(self.place, name)) for name in names}


class Killer:
    """Kill drawn processes at drawn moments."""

    def __init__(self, cluster, server, seed: int):
        self.raylet = psutil.Process(cluster.head_node.all_processes["raylet"][0].process.pid)
        self.server = server
        self.random = random.Random(seed)
        self.kills = Counter(actor=0, driver=0, worker=0, server=0)

    def choose(self, kinds: list[str]) -> str:
        """Return the kind that was killed least so far, a drawn one of several."""
        return min(kinds, key=lambda kind: (self.kills[kind], self.random.random()))

    def kill(self, kind: str, run: Run) -> None:
        """Wait for a moment, and kill; nothing is counted where the run is done before."""
        {"driver": self._kill_driver, "server": self._kill_server}.get(kind, self._kill_worker)(kind, run)

    def _kill_driver(self, kind: str, run: Run) -> None:
        self._wait_for_work(run, share=0.3)  # some moments lie before the first actor: in the start of the driver
        if not run.is_done():
            run.driver.kill()
            run.driver.wait()
            self.kills[kind] += 1
            run.start()

    def _kill_server(self, kind: str, run: Run) -> None:
        self._wait_for_work(run)
        if not run.is_done():
            self.server.kill()
            self.kills[kind] += 1
            time.sleep(self.random.uniform(0, 2))
            self.server.start(wait=False)

    def _kill_worker(self, kind: str, run: Run) -> None:
        self._wait_for_work(run)
        victims = self._list_workers(embeds=kind == "actor")
        if victims and not run.is_done():
            self.random.choice(victims).kill()
            self.kills[kind] += 1

    def _wait_for_work(self, run: Run, share: float = 0) -> None:
        """Sleep until an actor is there, but for a share of the cases, and then for a drawn time."""
        deadline = time.monotonic() + PATIENCE_S
        if self.random.random() >= share:
            while not run.is_done() and not self._list_workers(embeds=True):
                assert time.monotonic() < deadline, "no actor appeared"
                time.sleep(0.02)
        time.sleep(self.random.uniform(0, 1.0))

    def _list_workers(self, embeds: bool) -> list[psutil.Process]:
        """Return the processes of actors that embed, or of all that Ray runs beside them."""
        result = []
        for process in self.raylet.children():
            try:
                title = " ".join(process.cmdline())
            except psutil.Error:
                continue
            # Ray's node ends by itself when one of its agents does, and a lost node is not what is tested here.
            if title.startswith("ray::") and "Agent" not in title and ("ShardEmbedder" in title) == embeds:
                result.append(process)
        return result


def test_every_fragment_once_whoever_is_killed(request, cluster, s3_server, reads, store, repository, tmp_path):
    wanted, seed = request.config.getoption("--kills"), request.config.getoption("--seed")
    killer = Killer(cluster, s3_server, seed)
    whole = Run(reads["disk"], tmp_path / "whole/pairs", cluster.address, repository)
    whole.finish()
    expected = whole.read_shards()
    manifest = read_manifest(whole.out / "manifest.json")
    assert len(expected) == len(manifest.shards) > 50

    number = 0
    while sum(killer.kills.values()) < wanted or min(killer.kills.values()) < wanted // 8:
        place = ("s3", "disk")[number % 2]
        kinds = ["actor", "driver", "worker"] + (["server"] if place == "s3" else [])
        number += 1
        out = tmp_path / f"round{number}/pairs"
        target = f"{store}/round{number}" if place == "s3" else None
        run = Run(reads[place], out, cluster.address, repository, target)
        for _ in range(KILLS_A_ROUND):
            killer.kill(killer.choose(kinds), run)
        run.finish()

        assert run.read_shards() == expected
        disturbed = read_manifest(out / "manifest.json")
        assert disturbed.fragments == manifest.fragments
        assert [shard.sha256 for shard in disturbed.shards] == [shard.sha256 for shard in manifest.shards]
        print(f"round {number} on {place}: {dict(killer.kills)} so far, {run.drivers} drivers", flush=True)
        if target:
            run.start()  # nothing to do but to remove what killed actors left of their uploads
            run.finish()
            assert s3.abort_uploads(f"{target}/") == 0
            assert run.read_shards() == expected

    fragments = pq.read_table(sorted(whole.out.glob("*.parquet")), columns=["fragment"])["fragment"].to_pylist()
    assert fragments == list(range(manifest.fragments))
