"""Find the overlaps of simulated long reads, chain them, and judge all of it by the truth.

Example, from the repository root, with reads of sim.py (5 % errors; for HiFi: -k 31 --density 0.02):
    PYTHONPATH=src .venv/bin/python benchmarks/overlaps/run_long.py long.npz -k 17 --density 0.07
"""

from pathlib import Path

import numpy as np
from evaluate import Timer, describe_links, describe_pieces, find_main_genomes, show
from long_reads import A, B, correct_for_coincidence, find_overlaps, make_chains
from sim import load_reads

from readclade.cli import make_parser, run
from readclade.clustering.links.packing import pack_reads


def count_true_overlaps(reads, least):
    """Return the number of true overlaps of `least` bases and more."""
    order = np.argsort(reads["start"], kind="stable")  # starts run on from genome to genome
    start, stop = reads["start"][order], reads["stop"][order]
    last = np.searchsorted(start, stop - least, side="right")
    total = 0
    for i in range(len(start)):
        overlap = np.minimum(stop[i], stop[i + 1 : last[i]]) - start[i + 1 : last[i]]
        total += int((overlap >= least).sum())
    return total


def judge(reads, overlaps, made, lengths, least):
    """Print what of the overlaps, the error rates and the chains is right."""
    genome, start, stop = reads["genome"].astype(np.int64), reads["start"], reads["stop"]
    depth, genus = reads["depths"][genome], reads["genus"]
    a, b = overlaps[:, A], overlaps[:, B]
    is_one = genome[a] == genome[b]
    is_true = is_one & (np.minimum(stop[a], stop[b]) - np.maximum(start[a], start[b]) >= least)
    is_genus = genus[genome[a]] == genus[genome[b]]
    for name, among in (("true", is_true), ("of a genus", ~is_one & is_genus), ("other", ~is_one & ~is_genus)):
        some = made["divergence"][among & (made["length"] >= 1000)]
        if len(some):
            print(f"divergence, {name}: {np.percentile(some, [5, 50, 95]).round(4)} (5, 50, 95 %)")
    is_near = np.abs(made["rates"] - reads["rate"]) <= 0.25 * reads["rate"]
    show(
        "error rate",
        {
            "sample": float(made["sample"]),
            "corrected": float(correct_for_coincidence(made["sample"])),
            "true": float(np.average(reads["rate"], weights=lengths)),
            "reads above 3x within 25 %": float(is_near[depth >= 3].mean()),
        },
    )
    total, kept = count_true_overlaps(reads, least), made["is_kept"]
    container = made["container"]
    is_right = (genome == genome[container])[container >= 0]
    show(
        f"overlaps of {least} bases and more",
        {
            "true": total,
            "found": is_true.sum() / total,
            "kept": (is_true & kept).sum() / total,
            "all that count": int(kept.sum()),
            "right": is_one[kept].mean(),
            "right within a genus": is_one[kept & is_genus].mean(),
            "best at both ends": int(made["is_mutual"].sum()),
            "of them right": is_one[made["is_mutual"]].mean(),
            "containers right": is_right.mean(),
        },
    )
    chain = made["chain"]
    show("chains", describe_pieces(chain, genome, lengths.astype(np.int64), reads["depths"], 10))
    main = find_main_genomes(chain, genome, chain.max() + 1, len(reads["depths"]))
    show("links", describe_links(chain[a[kept]], chain[b[kept]], np.ones(kept.sum()), main, genus))


def main():
    """Read long reads, chain them and print the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("reads", type=Path, metavar="READS.npz")
    parser.add_argument("-k", type=int, default=17, help="length of the k-mers, at most 31 (default: %(default)s)")
    parser.add_argument("--density", type=float, default=0.07, help="share of them (default: %(default)s)")
    parser.add_argument("--least", type=int, default=500, help="shortest overlap, in bases (default: %(default)s)")
    parser.add_argument("-z", type=float, default=2.5, help="standard errors that count (default: %(default)s)")
    arguments = parser.parse_args()
    reads = load_reads(arguments.reads)
    tick = Timer()
    words, begins, lengths = pack_reads(reads.pop("codes"), reads["offsets"])
    tick("packed")
    overlaps, counts = find_overlaps(words, begins, lengths, arguments.k, arguments.density, least=arguments.least)
    names = ("k-mers", "hits", "dropped by geometry", "aligned", "too far", "part before the end")
    tick(f"{len(overlaps):,} overlaps; {', '.join(f'{n:,} {name}' for n, name in zip(counts, names, strict=True))}")
    made = make_chains(overlaps, lengths, arguments.z, arguments.least)
    tick(f"{made['chain'].max() + 1:,} chains")
    judge(reads, overlaps, made, lengths, arguments.least)
    tick.end()


if __name__ == "__main__":
    run(main)
