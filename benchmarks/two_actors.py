"""Measure how long one and two actors of `embed` take for the same shards: two should take at most 0.55 of the time.

Examples, from the repository root, on a machine with two idle cores, or better three:
    PYTHONPATH=src .venv/bin/python benchmarks/two_actors.py --megabytes 2000 --repeats 3
    PYTHONPATH=src .venv/bin/python benchmarks/two_actors.py --embedder dnabert2 --megabytes 3 --repeats 1

Runs of one and of two actors alternate, and the fastest of each counts: what else the machine does only adds time. The
time of the actors is from the order of the shards, their loading included, to the last shard. What happens once a
sample whatever the number of actors is apart: the start and the end of the program and of Ray, the check of the reads;
the whole command's ratio, without Ray's start, is printed too. dnabert2 needs `make networks`, and has random weights
of the real size. The cores that other programs took are printed beside each run; where they are more than a few
hundredths, the ratio tells of them and not of readclade. Exits 1 where the ratio misses the aim.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from embed_speed import run_script, write_reads

AIM = 0.55
_SHARDS = 32


def measure(folder: Path, actors: int, options: list) -> tuple[float, float, float, float]:
    """Embed all shards anew.

    Returns:
        Seconds of the actors; seconds of the command without Ray's start; CPU seconds; the cores that others took.
    """
    for path in (folder / "shards").glob("*.parquet"):
        path.unlink()  # progress.json stays, and with it the projection
    options = ["--reads", folder / "reads/reads.json", "--out", folder / "shards", "--actors", actors, *options]
    usage, output = run_script(folder, "embed_fragments.py", *options)
    ray_start = float(re.search(r"Ray is ready after ([0-9.]+) s", output)[1])
    stamps = re.findall(r"\[ *([0-9.]+) s\] (?:[0-9]+ shards to embed|shard )", output)
    return float(stamps[-1]) - float(stamps[0]), usage.wall_s - ray_start, usage.cpu_s, usage.others


def main() -> None:
    """Measure, print one line a run, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=400, help="uncompressed FASTQ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--embedder", choices=["kmer", "dnabert2"], default="kmer", help="default: %(default)s")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("error: two actors need two cores, and this machine has one")
    os.environ["OMP_NUM_THREADS"] = "1"  # one core an actor
    best = {1: (float("inf"), float("inf")), 2: (float("inf"), float("inf"))}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_reads(folder, arguments.megabytes)
        bases = max(sum(path.stat().st_size for path in files) // 2 // _SHARDS, 1)  # half of a file, about
        options = ["--sample", "bench", "--platform", "illumina", "--lane", *files, "--out", folder / "reads"]
        run_script(folder, "fetch_reads.py", *options, "--shard-bases", bases)
        options = ["--embedder", arguments.embedder]
        if arguments.embedder == "dnabert2":
            from dnabert2_speed import write_model  # here: kmer does without torch

            write_model(folder, 12)
            options += ["--weights", folder, "--strands", "one"]
        measure(folder, 2, options)  # fits the projection
        for repeat in range(arguments.repeats):
            for actors in best:
                *seconds, cpu, others = measure(folder, actors, options)
                best[actors] = min(best[actors], tuple(seconds))
                name = f"run {repeat + 1}, {actors} actor(s)"
                print(
                    f"{name}\t{seconds[0]:.1f} s\t"
                    f"(the command {seconds[1]:.1f} s; {cpu:.1f} CPU s; others: {others:.1f} cores)",
                    flush=True,
                )
    ratio, whole = (two / one for one, two in zip(best[1], best[2], strict=True))
    print(f"two actors against one\t{ratio:.2f}\t({best[2][0]:.1f} s against {best[1][0]:.1f} s; aim: {AIM})")
    print(f"the command\t{whole:.2f}\t({best[2][1]:.1f} s against {best[1][1]:.1f} s)")
    sys.exit(ratio > AIM)


if __name__ == "__main__":
    main()
