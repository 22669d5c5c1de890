"""Measure how long one and two actors of `embed` take for the same shards: two should take at most 0.55 of the time.

Example, from the repository root, on a machine with at least two idle cores:
    PYTHONPATH=src .venv/bin/python benchmarks/two_actors.py --megabytes 400 --repeats 3

Runs of one and of two actors alternate, and the fastest of each counts: what else the machine does only adds time.
Ray's start is left out. The cores that other programs took are printed beside each run; where they are more than a few
hundredths, the ratio tells of them and not of readclade. Exits 1 where the ratio misses the aim.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from embed_speed import run_script, write_reads

AIM = 0.55


def measure(folder: Path, actors: int) -> tuple[float, float, float]:
    """Embed into a fresh folder; return seconds without Ray's start, CPU seconds, and the cores that others took."""
    shutil.rmtree(folder / "shards", ignore_errors=True)
    options = ["--reads", folder / "reads/reads.json", "--out", folder / "shards", "--actors", actors]
    usage, output = run_script(folder, "embed_fragments.py", *options)
    ray_start = float(re.search(r"Ray is ready after ([0-9.]+) s", output)[1])
    return usage.wall_s - ray_start, usage.cpu_s, usage.others


def main() -> None:
    """Measure, print one line a run, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="uncompressed FASTQ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: %(default)s)")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("error: two actors need two cores, and this machine has one")
    os.environ["OMP_NUM_THREADS"] = "1"  # one core an actor
    best = {1: float("inf"), 2: float("inf")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lane = ["--lane", *write_reads(folder, arguments.megabytes)]
        options = ["--sample", "bench", "--platform", "illumina", *lane, "--out", folder / "reads"]
        run_script(folder, "fetch_reads.py", *options)
        for repeat in range(arguments.repeats):
            for actors in best:
                seconds, cpu, others = measure(folder, actors)
                best[actors] = min(best[actors], seconds)
                name = f"run {repeat + 1}, {actors} actor(s)"
                print(f"{name}\t{seconds:.1f} s\t({cpu:.1f} CPU s; others: {others:.1f} cores)", flush=True)
    ratio = best[2] / best[1]
    print(f"two actors against one\t{ratio:.2f}\t({best[2]:.1f} s against {best[1]:.1f} s; aim: {AIM})")
    sys.exit(ratio > AIM)


if __name__ == "__main__":
    main()
