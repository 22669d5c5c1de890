"""Measure how fast `fetch` and `embed` take FASTQ, against a bare loop without Ray and the floor of reading alone.

Example, from the repository root (or: make bench):
    PYTHONPATH=src .venv/bin/python benchmarks/embed_speed.py --megabytes 1000 --actors 2

The input repeats the demo's pairs under new names until it has the size that was asked for. Every figure is MB of
uncompressed FASTQ (both files) a second; the rule's figure is also given per core, that is divided by the actors.
"""

import argparse
import gzip
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_reads(folder: Path, megabytes: int) -> list[Path]:
    """Write two FASTQ files of `megabytes` in all; return their paths."""
    paths = []
    for mate in (1, 2):
        records = gzip.decompress((ROOT / f"demo/reads/pairs_{mate}.fastq.gz").read_bytes()).decode()
        path = folder / f"reads_{mate}.fastq"
        with path.open("w") as file:
            copy = 0
            while file.tell() < megabytes * 500_000:
                copy += 1
                file.write(records.replace("@pairs.", f"@pairs.{copy}."))
        paths.append(path)
    return paths


def run_script(name: str, *arguments: object) -> tuple[float, str]:
    """Run a script of the workflow as its rule does; return the seconds and what it printed."""
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}
    started = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    return time.monotonic() - started, done.stderr


def measure_bare_loop(reads: Path, shards: Path) -> tuple[float, float]:
    """Return the seconds per megabase of making one shard without Ray, and of only reading it."""
    from readclade.embedding import ShardEmbedder
    from readclade.fragments import read_batches

    embedder = ShardEmbedder(str(reads), str(shards))
    embedder.make_shard(0)  # compiled functions are loaded
    started = time.monotonic()
    bases = embedder.make_shard(0).bases
    made = time.monotonic() - started
    started = time.monotonic()
    for _ in read_batches(embedder._reads, 0, reads.parent):
        pass
    return made / bases * 1e6, (time.monotonic() - started) / bases * 1e6


def main() -> None:
    """Measure and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="uncompressed FASTQ (default: %(default)s)")
    parser.add_argument("--actors", type=int, default=os.cpu_count(), help="default: all cores (%(default)s)")
    parser.add_argument("--k", type=int, default=4, choices=[4, 5], help="default: %(default)s")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_reads(folder, arguments.megabytes)
        size = sum(path.stat().st_size for path in paths) / 1e6
        lane = ["--lane", *paths]
        seconds, _ = run_script(
            "fetch_reads.py", "--sample", "bench", "--platform", "illumina", *lane, "--out", folder / "reads"
        )
        print(f"fetch\t{size / seconds:.1f} MB/s\t({size:,.0f} MB on one core)")
        common = ["--reads", folder / "reads/reads.json", "--out", folder / "shards", "--k", arguments.k]
        seconds, output = run_script("embed_fragments.py", *common, "--actors", arguments.actors)
        ray_start = float(re.search(r"Ray is ready after ([0-9.]+) s", output)[1])
        rate = size / (seconds - ray_start)
        print(f"embed rule\t{rate:.1f} MB/s\t({seconds - ray_start:.1f} s, Ray's start of {ray_start:.1f} s apart)")
        print(f"embed rule, per core\t{rate / arguments.actors:.1f} MB/s\t({arguments.actors} actors)")
        made, read = measure_bare_loop(folder / "reads/reads.json", folder / "shards")
        bases = float(re.search(r"of ([0-9,]+) Mb,", output)[1].replace(",", ""))
        print(f"bare loop, one core\t{size / (made * bases):.1f} MB/s\t(the same work without Ray)")
        print(f"reading only, one core\t{size / (read * bases):.1f} MB/s\t(parsing and columns, no embedding)")
        print(f"Ray against bare loop\t{rate / arguments.actors * made * bases / size:.2f}")
        shards = sum(path.stat().st_size for path in (folder / "shards").glob("*.parquet")) / 1e6
        print(f"shards\t{shards:.0f} MB\t({shards / size:.3f} bytes per byte of FASTQ)")


if __name__ == "__main__":
    main()
