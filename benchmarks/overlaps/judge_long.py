"""Find the overlaps of simulated long reads as the clustering does, and judge them by the truth.

Example, from the repository root, with reads of sim.py; with mpiexec -n 2 it shows the time alone:
    PYTHONPATH=src .venv/bin/python benchmarks/overlaps/judge_long.py long.npz
"""

import time
from pathlib import Path

import numpy as np
from evaluate import Timer, describe_links, describe_pieces, find_main_genomes, show
from long_reads import _walk
from mpi4py import MPI
from run_long import count_true_overlaps
from sim import load_reads

from readclade.cli import make_parser, run, start_log
from readclade.clustering.links.edges import Overlaps
from readclade.clustering.links.long_reads import overlap_long_reads
from readclade.clustering.links.packing import pack_reads
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.verified import STEPS, Verified
from readclade.clustering.ranks.exchange import Layout

_SHARDS = 8


def pack(reads, fragments: np.ndarray) -> Sequences:
    """Return the sequences of some of the reads, which have no mates."""
    offsets, codes = reads["offsets"], reads["codes"]
    parts = [codes[offsets[f] : offsets[f + 1]] for f in fragments]
    ends = np.cumsum([0, *map(len, parts)])
    return Sequences(*pack_reads(np.concatenate(parts), np.repeat(ends, 2)[1:]), np.zeros((0, 2), np.int64))


def chain(found: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Return the chain of each fragment, and which ends are the best of one another."""
    best = found.best.reshape(-1, 4)[:, :2].reshape(-1)
    best = np.where(best >= 0, (best >> 2) * 2 + (best & 1), -1)
    containers = np.where(found.containers[::2] >= 0, found.containers[::2] >> 2, -1)
    roots = np.where(containers >= 0, containers, np.arange(len(containers)))
    while (roots[roots] != roots).any():
        roots = roots[roots]
    ends = np.flatnonzero(best >= 0)
    return _walk(best, containers >= 0)[roots], ends[best[best[ends]] == ends]


def judge(reads, found: Overlaps, verified: Verified, least: int = 500) -> None:
    """Print what of the overlaps, the error rates and the chains is right."""
    genome, start, stop = reads["genome"].astype(np.int64), reads["start"], reads["stop"]
    depth, genus, lengths = reads["depths"][genome], reads["genus"], found.lengths[::2]
    a, b = verified.a >> 1, verified.b >> 1
    is_one = genome[a] == genome[b]
    is_true = is_one & (np.minimum(stop[a], stop[b]) - np.maximum(start[a], start[b]) >= least)
    is_genus = genus[genome[a]] == genus[genome[b]]
    is_near = np.abs(found.error_rates - reads["rate"]) <= 0.25 * reads["rate"]
    show(
        "error rate",
        {
            "sample": found.error_rate,
            "true": float(np.average(reads["rate"], weights=lengths)),
            "reads above 3x within 25 %": float(is_near[depth >= 3].mean()),
        },
    )
    for name, among in (("true", is_true), ("of a genus", ~is_one & is_genus), ("other", ~is_one & ~is_genus)):
        some = verified.divergences[among & (verified.lengths >= 1000)] / STEPS
        if len(some):
            print(f"divergence, {name}: {np.percentile(some, [5, 50, 95]).round(4)} (5, 50, 95 %)")
    total = count_true_overlaps(reads, least)
    pieces, ends = chain(found)
    partners = found.best.reshape(-1, 4)[:, :2].reshape(-1)[ends]
    inner = np.flatnonzero(found.containers[::2] >= 0)
    show(
        f"overlaps of {least} bases and more",
        {
            "true": total,
            "kept": is_true.sum() / total,
            "all that count": len(a),
            "right": is_one.mean(),
            "right within a genus": is_one[is_genus].mean(),
            "best at both ends": len(ends) // 2,
            "of them right": (genome[ends >> 1] == genome[partners >> 2]).mean(),
            "containers right": (genome[inner] == genome[found.containers[::2][inner] >> 2]).mean(),
        },
    )
    show("chains", describe_pieces(pieces, genome, lengths, reads["depths"], 10))
    main_genomes = find_main_genomes(pieces, genome, pieces.max() + 1, len(reads["depths"]))
    show("links", describe_links(pieces[a], pieces[b], np.ones(len(a)), main_genomes, genus))


def main() -> None:
    """Read long reads, find their overlaps and print the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("reads", type=Path, metavar="READS.npz")
    arguments = parser.parse_args()
    reads, comm = load_reads(arguments.reads), MPI.COMM_WORLD
    if comm.rank == 0:
        start_log("judge_long")
    layout = Layout(comm, len(reads["genome"]) * np.arange(_SHARDS + 1) // _SHARDS)
    sequences = pack(reads, layout.ids)
    del reads["codes"]
    tick, begin = Timer(), time.monotonic()
    report = (lambda line, done: print(f"{line} ({time.process_time():.0f} s)")) if comm.rank == 0 else lambda *_: None
    qualities = np.full(len(layout.ids), np.nan, np.float32)
    found, verified = overlap_long_reads(layout, sequences, qualities, report=report)
    if comm.rank == 0:
        tick(f"overlaps; {time.monotonic() - begin:.1f} s of wall time")
        tick.end()
    if comm.size == 1:
        judge(reads, found, verified)


if __name__ == "__main__":
    run(main)
