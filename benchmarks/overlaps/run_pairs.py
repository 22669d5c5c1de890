"""Find the overlaps of simulated pairs, chain them, join the chains by mates, and judge all of it by the truth.

Example, from the repository root, with pairs of sim.py:
    PYTHONPATH=src .venv/bin/python benchmarks/overlaps/run_pairs.py pairs.npz
"""

from pathlib import Path

import numpy as np
from errors import estimate_pair_errors
from evaluate import Timer, describe_links, describe_pieces, find_main_genomes, show
from pairs import (
    KEPT,
    PairOverlaps,
    bound_mismatches,
    choose_best,
    find_overlaps,
    find_roots,
    make_buckets,
    sketch_minimizers,
    walk,
)
from scaffold import choose_bridges, find_bridges, join, measure_chains, measure_inserts, place_contained
from sim import load_reads
from trim import trim

from readclade.cli import make_parser, run
from readclade.clustering.links.packing import pack_reads

COMPARED = 60  # bases of a true overlap that should be found


def chain_pairs(codes, offsets, k=27, w=15, rate=0.008, least=40, proposals=2, tick=print):
    """Return overlaps, chains and pieces of pairs.

    Args:
        codes, offsets: as of `trim`, mates side by side.
        k, w: the lowest hash of w k-mers in a row is kept.
        rate: errors per base of two reads together.
        least: shortest overlap, in bases.
        proposals: how many reads each entry of a bucket meets.
        tick: is told what each step did.

    Returns:
        A dict; chains and pieces are numbers by read.
    """
    words, begins, lengths = pack_reads(codes, offsets)
    hashes, places = sketch_minimizers(words, begins, lengths, k, w)
    tick(f"{len(hashes):,} k-mers, density {len(hashes) / len(codes):.3f}")
    places, ends = make_buckets(hashes, places)
    tick(f"{len(ends):,} buckets")
    error, count = estimate_pair_errors(places, ends, words, begins, lengths, k)
    tick(f"error rate {error:.5f} from {count:,} overlaps; the bound takes {rate / 2:.5f}")
    found = find_overlaps(places, ends, words, begins, lengths, rate, least, proposals)
    proposed, compared, failed = found.counts
    contained = (found.containers >= 0).sum()
    tick(f"{compared:,} comparisons, {failed:,} failed, of {proposed:,} proposals; {contained:,} contained")
    partners, overlaps, containers, _ = found
    bounds = bound_mismatches(rate, 0.001, int(lengths.max()))
    best, is_branched = choose_best(partners, overlaps, containers, words, begins, lengths, bounds)
    chain, position, flipped, chains = walk(best, lengths, partners, overlaps, containers)
    size = measure_chains(chain, position, lengths, chains)
    roots = find_roots(containers)
    chain, position, flipped = place_contained(roots, chain, position, flipped)
    tick(f"{chains:,} chains, {is_branched.sum():,} ends that contradict one another")
    low, insert, high = measure_inserts(chain, position, flipped, lengths)
    bridges, counts, gaps = find_bridges(
        chain, position, flipped, lengths, size, insert, least_gap=-100 - 2 * (high - insert)
    )
    is_kept = choose_bridges(bridges, counts, gaps)
    piece = join(bridges[is_kept], chains)[chain]
    tick(f"{is_kept.sum():,} of {len(bridges):,} bridges kept; inserts {low:.0f}, {insert:.0f}, {high:.0f}")
    return {
        "found": found,
        "lengths": lengths,
        "error": error,
        "best": best,
        "roots": roots,
        "chain": chain,
        "chains": chains,
        "piece": piece,
        "bridges": bridges,
        "counts": counts,
        "is_kept": is_kept,
    }


def choose_pieces(piece):
    """Return each fragment's piece: its mates', the one of more reads where they differ."""
    count = np.bincount(piece)
    a, b = piece[0::2], piece[1::2]
    return np.where(count[a] >= count[b], a, b)


def locate_reads(reads, lengths):
    """Return genome, start, stop and strand of each read."""
    strand, length = reads["strand"], lengths.reshape(-1, 2)
    start, is_reverse = np.empty(len(lengths), np.int64), np.empty(len(lengths), bool)
    start[0::2] = np.where(strand, reads["stop"] - length[:, 0], reads["start"])
    start[1::2] = np.where(strand, reads["start"], reads["stop"] - length[:, 1])
    is_reverse[0::2], is_reverse[1::2] = strand, ~strand
    return np.repeat(reads["genome"], 2).astype(np.int64), start, start + lengths, is_reverse


def measure_nearest(genome, start, stop):
    """Return the overlap of each read with the next that begins later in its genome, 0 below `COMPARED` bases."""
    order = np.lexsort([start, genome])
    g, s, t = genome[order], start[order], stop[order]
    # Reads of one place are one: the next place is where the next group begins.
    is_new = np.r_[True, (s[1:] != s[:-1]) | (g[1:] != g[:-1])]
    following = np.r_[np.flatnonzero(is_new), len(s)][np.cumsum(is_new)]
    at = np.minimum(following, len(s) - 1)
    overlap = np.where((following < len(s)) & (g[at] == g), t - s[at], 0)
    nearest = np.empty(len(order), np.int64)
    nearest[order] = np.where(overlap >= COMPARED, overlap, 0)
    return nearest


def judge_overlaps(reads, made):
    """Print what of the overlaps is right, and what of the true ones was found."""
    genome, start, stop, is_reverse = locate_reads(reads, made["lengths"])
    found: PairOverlaps = made["found"]
    is_contained = found.containers >= 0
    right_containers = (genome == genome[made["roots"] >> 1])[is_contained].mean()
    nearest = measure_nearest(genome, start, stop)
    end = 2 * np.arange(len(genome)) + ~is_reverse  # the right end in the genome
    partner = np.maximum(found.partners[end], 0) >> 1
    is_true = (found.partners[end] >= 0) & (genome[partner] == genome[:, None])
    is_true &= (start[partner] < stop[:, None]) & (stop[partner] > start[:, None])
    longest = np.where(is_true, found.overlaps[end], 0).max(axis=1)
    asked = (nearest > 0) & ~is_contained
    best, e = made["best"], np.flatnonzero(made["best"] >= 0)
    q = best[e]
    is_mutual, is_right = best[q] == e, genome[e >> 1] == genome[q >> 1]
    show(
        "overlaps",
        {
            "containers right": right_containers,
            f"of nearest true ones of {COMPARED} bases and more": int(asked.sum()),
            "a true one kept": (longest > 0)[asked].mean(),
            "one as long kept": (longest >= nearest)[asked].mean(),
            "best ones right": is_right.mean(),
            "best at both ends": int(is_mutual.sum()),
            "of them right": is_right[is_mutual].mean(),
        },
    )


def judge_pieces(reads, made):
    """Print figures of chains, of pieces, and of the links between pieces."""
    genome, fragment_genome = np.repeat(reads["genome"], 2).astype(np.int64), reads["genome"].astype(np.int64)
    chain, piece, chains = made["chain"], made["piece"], made["chains"]
    bases = made["lengths"].reshape(-1, 2).sum(axis=1)
    for label, numbers in (("chains", chain), ("pieces", piece)):
        show(label, describe_pieces(choose_pieces(numbers), fragment_genome, bases, reads["depths"], 20))
    piece_of_chain = np.zeros(chains, np.int64)
    piece_of_chain[chain] = piece
    main = find_main_genomes(piece, genome, chains, len(reads["depths"]))
    ends = piece_of_chain[made["bridges"] >> 1]
    show("links by mates", describe_links(ends[:, 0], ends[:, 1], made["counts"], main, reads["genus"]))
    partners = made["found"].partners
    e = np.repeat(np.arange(len(partners)), KEPT)
    q = partners.ravel()
    e, q = e[q > e], q[q > e]
    show("links by overlaps", describe_links(piece[e >> 1], piece[q >> 1], np.ones(len(e)), main, reads["genus"]))


def main():
    """Read pairs, chain them and print the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("reads", type=Path, metavar="PAIRS.npz")
    parser.add_argument("-k", type=int, default=27, help="length of the k-mers, at most 31 (default: %(default)s)")
    parser.add_argument("-w", type=int, default=15, help="the lowest of so many k-mers is kept (default: %(default)s)")
    parser.add_argument("--proposals", type=int, default=2, help="reads that each entry meets (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.008, help="errors per base of two reads (default: %(default)s)")
    parser.add_argument("--no-trim", action="store_true", help="leave adapters and tails of one base where they are")
    arguments = parser.parse_args()
    reads = load_reads(arguments.reads)
    tick = Timer()
    codes, offsets = reads["codes"], reads["offsets"]
    if not arguments.no_trim:
        untrimmed = np.diff(offsets)
        codes, offsets, kept = trim(codes, offsets)
        tick(f"{(kept < untrimmed).mean():.3f} of the reads trimmed")
    options = {"k": arguments.k, "w": arguments.w, "rate": arguments.rate, "proposals": arguments.proposals}
    made = chain_pairs(codes, offsets, tick=tick, **options)
    judge_overlaps(reads, made)
    judge_pieces(reads, made)
    tick.end()


if __name__ == "__main__":
    run(main)
