"""Measure how fast staging copies verified shards, beside what the disk and S3 give to a plain copy.

Example, from the repository root, on a machine that does nothing else:
    PYTHONPATH=src .venv/bin/python benchmarks/staging_speed.py --megabytes 1024 --streams 2

The S3 server is SeaweedFS on this machine, which the tests use too (requirements/dev.txt). A plain copy takes a shard
by one request, writes it and calls fdatasync, with as many streams and blocks of the same size as staging. Each way is
measured several times, in turns, and the fastest of each counts: what disturbs a measurement makes it slower, never
faster.

What the server sends can be limited, as a network does, in a network namespace of its own (root and iproute2):
    PYTHONPATH=src unshare --net .venv/bin/python benchmarks/staging_speed.py --streams 4 --network 300
"""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from readclade.cli import make_parser, run
from readclade.shards.manifest import Manifest, Shard
from readclade.shards.staging import stage_shards
from readclade.storage.files import hash_file
from readclade.storage.locations import upload_file

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from s3_server import S3Server

_SHARD_MB = 64
_BLOCK = 256 << 10
_PROJECTION = {
    "method": "principal-directions",
    "mean": {"shape": [2], "float32": "AAAAAAAAAAA="},
    "components": {"shape": [2, 1], "float32": "AAAAAAAAAAA="},
}


def make_shards(folder: Path, count: int) -> Manifest:
    """Write shards of random bytes: a copy does not look into them."""
    folder.mkdir()
    shards = []
    for number in range(count):
        path = folder / f"shard-{number:05d}.parquet"
        path.write_bytes(os.urandom(_SHARD_MB << 20))
        shards.append(Shard(path.name, 1, 1, path.stat().st_size, hash_file(path), number))
    embedder = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": _PROJECTION}
    manifest = Manifest("sample", "illumina", embedder, 1, "c" * 64, tuple(shards))
    manifest.write(folder / "manifest.json")
    return manifest


def copy_plainly(manifest: Manifest, open_shard: Callable, out: Path | None, streams: int) -> None:
    """Copy shards without looking at them, or read them only where `out` is None."""

    def copy(shard: Shard) -> None:
        with open_shard(shard) as reader, open(out / shard.file if out else os.devnull, "wb") as writer:
            shutil.copyfileobj(reader, writer, _BLOCK)
            if out:
                os.fdatasync(writer.fileno())

    if out:
        out.mkdir()
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(copy, manifest.shards))


def limit_network(port: int, megabytes: int) -> None:
    """Limit what is sent from a port to a rate in MB a second; the namespace's end undoes it."""
    for command in (
        "qdisc add dev lo root handle 1: htb",
        f"class add dev lo parent 1: classid 1:1 htb rate {megabytes}mbps burst 1m quantum 60000",
        f"filter add dev lo parent 1: protocol ip u32 match ip sport {port} 0xffff flowid 1:1",
    ):
        subprocess.run(["tc", *command.split()], check=True)


def measure(ways: dict[str, Callable[[Path], None]], folder: Path, megabytes: float, rounds: int) -> dict:
    """Return of each way the highest rate in MB a second and the fewest CPU seconds of this process for a GB.

    `sync` is part of each, so that memory hides no disk.
    """
    best = dict.fromkeys(ways, (0.0, math.inf))
    for _ in range(rounds):
        for name, copy in ways.items():
            os.sync()
            started, cpu = time.monotonic(), time.process_time()
            copy(folder / "out")
            os.sync()
            rate = megabytes / (time.monotonic() - started)
            cpu = (time.process_time() - cpu) / megabytes * 1000
            best[name] = max(best[name][0], rate), min(best[name][1], cpu)
            shutil.rmtree(folder / "out", ignore_errors=True)
    return best


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--megabytes", type=int, default=1024, help="amount to copy (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=2, help="shards at the same time (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way (default: %(default)s)")
    parser.add_argument("--network", type=int, help="MB a second that the server may send (default: no limit)")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, streams = Path(name), arguments.streams
        manifest = make_shards(folder / "shards", max(1, arguments.megabytes // _SHARD_MB))
        megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
        if arguments.network:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        server = S3Server(folder / "s3")
        try:
            os.environ.update(server.get_environment())
            client = server.make_client()
            client.create_bucket(Bucket="shards")
            for shard in manifest.shards:
                upload_file(folder / "shards" / shard.file, f"s3://shards/sample/{shard.file}", shard.sha256)
            (folder / "remote").mkdir()
            replace(manifest, location="s3://shards/sample").write(folder / "remote/manifest.json")

            if arguments.network:
                limit_network(urlsplit(server.endpoint).port, arguments.network)

            def open_local(shard: Shard):
                return open(folder / "shards" / shard.file, "rb")

            def open_object(shard: Shard):
                return client.get_object(Bucket="shards", Key=f"sample/{shard.file}")["Body"]

            best = measure(
                {
                    "disk: plain copy": lambda out: copy_plainly(manifest, open_local, out, streams),
                    "disk: stage": lambda out: stage_shards(folder / "shards/manifest.json", out, "copy", streams),
                    "S3: read only": lambda out: copy_plainly(manifest, open_object, None, streams),
                    "S3: plain copy": lambda out: copy_plainly(manifest, open_object, out, streams),
                    "S3: stage": lambda out: stage_shards(folder / "remote/manifest.json", out, "copy", streams),
                },
                folder,
                megabytes,
                arguments.rounds,
            )
        finally:
            server.kill()
    print("way\tMB_per_s\tshare\tcpu_s_per_GB")
    for way, (rate, cpu) in best.items():
        limit, _ = best[f"{way.split(':')[0]}: plain copy"]
        print(f"{way}\t{rate:.0f}\t{rate / limit:.2f}\t{cpu:.2f}")


if __name__ == "__main__":
    run(main)
