"""Measure how fast `fetch` and `embed` take FASTQ, against a bare loop without Ray and the floor of reading alone.

Example, from the repository root (or: make bench):
    PYTHONPATH=src .venv/bin/python benchmarks/embed_speed.py --megabytes 1000 --actors 2

The input repeats the demo's pairs under new names until it has the size that was asked for. Every figure is MB of
uncompressed FASTQ (both files) a second. The rule's is given by the clock, without and with Ray's start, and per core,
that is divided by the actors; and per CPU second, of every process from its start to its end, Ray's own included: that
one says the same on a machine that has other work. "others" is how many cores such work kept busy meanwhile.
"""

import argparse
import gzip
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from usage import Usage, measure_command

ROOT = Path(__file__).parents[1]


def write_reads(folder: Path, megabytes: float) -> list[Path]:
    """Write two FASTQ files of `megabytes` in all; return their paths."""
    paths = []
    for mate in (1, 2):
        records = gzip.decompress((ROOT / f"demo/reads/pairs_{mate}.fastq.gz").read_bytes()).decode()
        path = folder / f"reads_{mate}.fastq"
        with path.open("w") as file:
            copy = 0
            while (missing := int(megabytes * 500_000) - file.tell()) > 0:
                copy += 1
                end = records.find("\n@pairs.", missing) + 1 or len(records)  # both files have lines of like length
                file.write(records[:end].replace("@pairs.", f"@pairs.{copy}."))
        paths.append(path)
    return paths


def run_script(folder: Path, name: str, *arguments: object) -> tuple[Usage, str]:
    """Run a script of the workflow as its rule does; return what it took and what it printed."""
    log = folder / f"{name}.log"
    environment = {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}
    usage = measure_command([sys.executable, ROOT / "scripts" / name, *arguments], 36_000, log, environment)
    return usage, log.read_text(encoding="utf-8")


def measure_bare_loop(reads: Path, shards: Path, k: int) -> tuple[float, float]:
    """Return the CPU seconds per megabase of making one shard without Ray, and of only reading it."""
    from readclade.embedding.job import ShardEmbedder
    from readclade.reads.fragments import read_batches

    embedder = ShardEmbedder(str(reads), str(shards), {"k": k})
    embedder.make_shard(0)  # compiled functions are loaded
    started = time.process_time()
    bases = embedder.make_shard(0).bases
    made = time.process_time() - started
    started = time.process_time()
    for _ in read_batches(embedder._plan, 0, reads.parent):
        pass
    return made / bases * 1e6, (time.process_time() - started) / bases * 1e6


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
        lane = ["--sample", "bench", "--platform", "illumina", "--lane", *paths]
        usage, _ = run_script(folder, "fetch_reads.py", *lane, "--out", folder / "reads")
        print(f"fetch\t{size / usage.cpu_s:.1f} MB per CPU second\t({size:,.0f} MB on one core)")
        common = ["--reads", folder / "reads/reads.json", "--out", folder / "shards", "--k", arguments.k]
        usage, output = run_script(folder, "embed_fragments.py", *common, "--actors", arguments.actors)
        ray_start = float(re.search(r"Ray is ready after ([0-9.]+) s", output)[1])
        seconds = usage.wall_s - ray_start
        clock = f"{seconds:.1f} s, Ray's start of {ray_start:.1f} s apart; others: {usage.others:.1f} cores"
        print(f"embed rule\t{size / seconds:.1f} MB/s\t({clock})")
        print(f"embed rule, Ray's start included\t{size / usage.wall_s:.1f} MB/s")
        print(f"embed rule, per core\t{size / seconds / arguments.actors:.1f} MB/s\t({arguments.actors} actors)")
        print(f"embed rule, all processes\t{size / usage.cpu_s:.1f} MB per CPU second\t({usage.cpu_s:.1f} CPU s)")
        made, read = measure_bare_loop(folder / "reads/reads.json", folder / "shards", arguments.k)
        bases = float(re.search(r"of ([0-9,]+) Mb,", output)[1].replace(",", ""))
        print(f"bare loop\t{size / (made * bases):.1f} MB per CPU second\t(the same work without Ray)")
        print(f"reading only\t{size / (read * bases):.1f} MB per CPU second\t(parsing and columns, no embedding)")
        print(f"rule against bare loop\t{made * bases / usage.cpu_s:.2f}\t(by CPU seconds)")
        shards = sum(path.stat().st_size for path in (folder / "shards").glob("*.parquet")) / 1e6
        print(f"shards\t{shards:.0f} MB\t({shards / size:.3f} bytes per byte of FASTQ)")


if __name__ == "__main__":
    main()
