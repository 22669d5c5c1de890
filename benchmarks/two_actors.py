"""Measure how long one and two actors of `embed` take for the same shards: two should take at most 0.55 of the time.

Example, from the repository root, on a machine with at least two idle cores:
    PYTHONPATH=src .venv/bin/python benchmarks/two_actors.py --megabytes 400 --repeats 3

Runs of one and of two actors alternate, and the fastest of each counts: what else the machine does only adds time.
Ray's start is left out. The share of the machine that others took is printed beside each run; where it is more than
a few percent, the ratio tells of them and not of readclade. Exits 1 where the ratio misses the aim.
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


def read_cpu_seconds() -> tuple[float, float]:
    """Return the seconds that all cores were busy since the machine started, and the seconds of all our children."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    times = os.times()
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy, times.children_user + times.children_system


def measure(reads: Path, out: Path, actors: int) -> tuple[float, float]:
    """Embed into a fresh folder; return the seconds without Ray's start, and the share of all cores others took."""
    shutil.rmtree(out, ignore_errors=True)
    busy, ours = read_cpu_seconds()
    seconds, output = run_script(
        "embed_fragments.py", "--reads", reads, "--out", out, "--actors", actors, "--address", "local"
    )
    busy, ours = (after - before for after, before in zip(read_cpu_seconds(), (busy, ours), strict=True))
    others = max(0.0, busy - ours) / (seconds * os.cpu_count())
    return seconds - float(re.search(r"Ray is ready after ([0-9.]+) s", output)[1]), others


def main() -> None:
    """Measure, print one line a run, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="uncompressed FASTQ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: %(default)s)")
    arguments = parser.parse_args()
    if (os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))) < 2:
        sys.exit("error: two actors need two cores, and this machine has one")
    os.environ["OMP_NUM_THREADS"] = "1"  # one core an actor
    best = {1: float("inf"), 2: float("inf")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lane = ["--lane", *write_reads(folder, arguments.megabytes)]
        run_script("fetch_reads.py", "--sample", "bench", "--platform", "illumina", *lane, "--out", folder / "reads")
        for repeat in range(arguments.repeats):
            for actors in best:
                seconds, others = measure(folder / "reads/reads.json", folder / "shards", actors)
                best[actors] = min(best[actors], seconds)
                print(f"run {repeat + 1}, {actors} actors\t{seconds:.1f} s\t(others took {others:.0%} of the machine)")
    ratio = best[2] / best[1]
    print(f"two actors against one\t{ratio:.2f}\t({best[2]:.1f} s against {best[1]:.1f} s; aim: {AIM})")
    sys.exit(ratio > AIM)


if __name__ == "__main__":
    main()
