"""Proposals: which short reads may overlap, and how. Each minimizer meets three others of its bucket.

Of reads that hold a k-mer, sorted by how far they reach to the left of it, the next ones begin next: they overlap most.
Of several that begin at one base the longest stands for all, since it contains them: each entry meets this one, and
those of the next two bases. What is proposed depends on the bucket alone, and the work grows with the reads, however
deep a place is.
"""

from collections.abc import Iterator

import numba
import numpy as np

from readclade.clustering.links.minimizers import (
    get_length,
    get_position,
    get_read,
    get_reads,
    sketch_minimizers,
)
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.communicator import sum_integers
from readclade.clustering.ranks.exchange import Delivery, Layout, exchange

_MEETS = 2  # bases at which further reads begin
_LOOKS_AT = 4  # entries, for some are of the read itself or of its mate
LEAST = 40  # bases of an overlap
_LOW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)


@numba.njit(cache=True)
def _arrange(keys, hashes, places, arranged, ends):
    """Write the places by hash, then place, and where each bucket ends; return the number of buckets.

    Args:
        keys: sorted: the upper half of the hash, then the number of the entry.
    """
    buckets, begin = 0, 0
    for at in range(len(keys)):
        arranged[at] = places[keys[at] & _LOW]
    for end in range(1, len(keys) + 1):
        if end < len(keys) and keys[end] >> _HALF == keys[begin] >> _HALF:
            continue
        own = np.empty(end - begin, np.uint64)
        is_one = True  # the upper half of a hash is nearly always of one hash
        for at in range(end - begin):
            own[at] = hashes[keys[begin + at] & _LOW]
            is_one &= own[at] == own[0]
        if not is_one:
            order = np.argsort(own, kind="mergesort")
            own, arranged[begin:end] = own[order], arranged[begin:end][order]
        first = 0
        for at in range(1, end - begin + 1):
            if at == end - begin or own[at] != own[first]:
                arranged[begin + first : begin + at].sort()
                ends[buckets] = begin + at
                buckets += 1
                first = at
        begin = end
    return buckets


def make_buckets(hashes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (entries,) uint64 places by hash, then place, and (buckets,) uint32, where each hash's bucket ends."""
    # Numpy sorts plain numbers several times faster than it finds the order of equal or wider ones.
    keys = hashes >> _HALF << _HALF
    keys |= np.arange(len(hashes), dtype=np.uint64)
    keys.sort()
    arranged, ends = np.empty(len(places), np.uint64), np.empty(len(places), np.uint32)
    count = _arrange(keys, hashes, places, arranged, ends)
    return arranged, ends[:count].copy()


@numba.njit(cache=True)
def _list_runs(places, begin, end, runs):
    """Write where the entries begin that reach equally far to the left; return how many such runs a bucket has."""
    count = 0
    for at in range(begin, end):
        if at == begin or get_position(places[at]) != get_position(places[at - 1]):
            runs[count] = at
            count += 1
    runs[count] = end
    return count


@numba.njit(cache=True)
def _find_other(places, begin, end, own):
    """Return the first entry of a run that is not of the own fragment, or -1."""
    for at in range(begin, min(end, begin + _LOOKS_AT)):
        if get_read(places[at]) >> 1 != get_read(places[own]) >> 1:
            return at
    return -1


@numba.njit(cache=True)
def _propose(places, ends, bucket, runs, first, second):
    """Write proposals from a bucket on, whole buckets, while there is room; return the next bucket, and how many."""
    count = 0
    while bucket < len(ends):
        begin, end = np.int64(ends[bucket - 1]) if bucket else 0, np.int64(ends[bucket])
        if count + (_MEETS + 1) * (end - begin) > len(first):
            break
        number = _list_runs(places, begin, end, runs)
        for run in range(number):
            for at in range(runs[run], runs[run + 1]):
                length = get_length(places[at])
                for following in range(run, min(run + _MEETS + 1, number)):
                    other = _find_other(places, runs[following], runs[following + 1], at)
                    if other < 0 or (following == run and other >= at):
                        continue
                    shift = get_position(places[at]) - get_position(places[other])
                    if min(length - shift, get_length(places[other])) < LEAST:
                        break
                    first[count], second[count] = places[at], places[other]
                    count += 1
        bucket += 1
    return bucket, count


def iterate_proposals(
    layout: Layout, sequences: Sequences, kept: np.ndarray, passes: list[range], of: int, rows: int
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Hand out two places of two reads each that may overlap, on the rank that holds the first, and the share done.

    The first begins further to the left, or at the same base. Collective: every rank gets as many chunks, some empty.

    Args:
        kept: (2 n,) int32, bases of each read that count.
        passes: of `of` ranges of hashes, those that are met, as many in each pass over the reads.
        rows: proposals that a rank makes at a time, about.
    """
    for number, turns in enumerate(passes):
        entries = sketch_minimizers(sequences, kept, layout.ids, turns, of)
        for turn in range(len(turns)):
            for first, second, done in _meet(layout, *entries[turn], of, rows):
                yield first, second, (number + (turn + done) / len(turns)) / len(passes)


def _meet(layout: Layout, hashes, places, turns: int, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Hand out the proposals of the minimizers of one turn. Collective."""
    comm, reads = layout.comm, Layout(layout.comm, 2 * layout.firsts)
    owners = ((hashes >> _HALF) * np.uint64(turns * comm.size) >> _HALF) % np.uint64(comm.size)
    places, ends = make_buckets(*exchange(comm, owners.astype(np.uint16), [hashes, places]))
    del hashes, owners
    largest = int(np.diff(ends, prepend=np.uint32(0)).max(initial=0))
    first, second = np.empty((2, max(rows, (_MEETS + 1) * largest)), np.uint64)
    runs = np.empty(largest + 1, np.int64)
    bucket = 0
    while True:
        left = sum_integers(comm, np.array([len(ends) - bucket, len(ends)], np.int64))
        if not left[0]:
            break
        bucket, count = _propose(places, ends, bucket, runs, first, second)
        delivery = Delivery(comm, reads.owner(get_reads(first[:count])))
        yield delivery.send(first[:count]), delivery.send(second[:count]), 1 - left[0] / left[1]
