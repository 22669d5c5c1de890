"""Link simulated reads on any number of ranks, and judge stretches, links and the error rate by the truth.

Example, from the repository root, with reads of sim.py:
    PYTHONPATH=src .venv/bin/mpiexec -n 2 .venv/bin/python benchmarks/overlaps/measure_links.py pairs.npz
"""

import hashlib
import time
from pathlib import Path

import numpy as np
from evaluate import describe_against, describe_links, describe_pieces, find_main_genomes, show
from mpi4py import MPI
from sim import load_reads

from readclade.cli import make_parser, run, start_log
from readclade.clustering.groups.linking import find_pieces, link_pieces
from readclade.clustering.links.packing import pack_reads
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.communicator import gather_rows
from readclade.clustering.ranks.exchange import Layout

WORLD = MPI.COMM_WORLD
MOST = {"illumina": 20, "ont": 10}
SHARDS = 16


def split(reads: dict) -> tuple[Layout, Sequences, str]:
    """Return the layout of fragments over shards, this rank's sequences, and the platform."""
    offsets = reads["offsets"]
    fragments = len(reads["genome"])
    is_paired = len(offsets) == 2 * fragments + 1
    if not is_paired:  # mates of no bases
        offsets = np.repeat(offsets, 2)[1:]
    layout = Layout(WORLD, np.linspace(0, fragments, SHARDS + 1).astype(np.int64))
    lengths = np.diff(offsets).reshape(-1, 2)[layout.ids].reshape(-1)
    begins = offsets[:-1].reshape(-1, 2)[layout.ids].reshape(-1)
    codes = np.concatenate([reads["codes"][a : a + n] for a, n in zip(begins, lengths, strict=True)])
    words, starts, sizes = pack_reads(codes, np.concatenate([[0], np.cumsum(lengths)]))
    return layout, Sequences(words, starts, sizes, np.zeros((0, 2), np.int64)), "illumina" if is_paired else "ont"


def read_peak() -> float:
    """Return the most memory that this process held, in GB (10^9 bytes)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 10**9


def judge(reads: dict, columns: dict[str, np.ndarray], links: np.ndarray, against: np.ndarray, most: int) -> None:
    """Print the figures of all fragments' pieces and stretches, of the links between stretches, and of what opposes."""
    genome = reads["genome"].astype(np.int64)
    bases = np.diff(reads["offsets"][:: (len(reads["offsets"]) - 1) // len(genome)])
    for name, numbers in columns.items():
        show(name, describe_pieces(numbers, genome, bases, reads["depths"], most))
    stretches = columns["stretches"]
    main = find_main_genomes(stretches, genome, len(genome), len(reads["depths"]))
    show("links", describe_links(links[:, 0], links[:, 1], links[:, 2], main, reads["genus"]))
    show("against", describe_against(against, links[:, 0], links[:, 1], main, reads["genus"]))


def main():
    """Link, and print the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("reads", type=Path, metavar="READS.npz")
    parser.add_argument("--memory", type=float, default=4, help="GB that a rank is to stay within (default: 4)")
    arguments = parser.parse_args()
    if WORLD.rank == 0:
        start_log("measure_links")
    reads = load_reads(arguments.reads)
    layout, sequences, platform = split(reads)
    del reads["codes"]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # what was held until now is no part of the peak
    begin, cpu = time.monotonic(), time.process_time()

    rates = np.full(len(layout.ids), np.nan, np.float32)
    overlaps, places = find_pieces(layout, sequences, platform, rates, int(arguments.memory * 10**9))
    linkage = link_pieces(layout, overlaps, places, platform)
    total = WORLD.allreduce(time.process_time() - cpu)
    memory = WORLD.reduce(read_peak(), MPI.MAX)
    if WORLD.rank == 0:
        print(f"{time.monotonic() - begin:.1f} s, {total:.1f} CPU s on {WORLD.size} ranks, {memory:.2f} GB each")
    held = np.column_stack([layout.ids, places.chain[0::2], *linkage.levels])
    links = gather_rows(WORLD, np.column_stack([linkage.first, linkage.second, linkage.count]))
    held, against = gather_rows(WORLD, held), gather_rows(WORLD, linkage.against)
    if WORLD.rank == 0:
        held, links = held[held[:, 0].argsort()], links[np.lexsort(links[:, :2].T[::-1])]
        against = against[np.lexsort(against[:, :2].T[::-1])]
        bits = b"".join(table.tobytes() for table in (held, links, against))
        print("bits", hashlib.sha256(bits).hexdigest()[:16])
        names = ("pieces", "stretches", "longer stretches", "longest stretches")
        judge(reads, dict(zip(names, held[:, 1:].T, strict=True)), links, against, MOST[platform])


if __name__ == "__main__":
    run(main)
