"""Which fragments share k-mers: entries of equal hash form a bucket, and each meets the next few of its bucket.

Every rank owns a range of hashes. It gets all entries of its range, sorts them by hash and place, and hands out rows:
an entry and one it meets, sent to the rank that holds the fragment of the first. Rows leave in chunks of that rank's
fragments, so that each rank holds a bounded number of them at a time.

Memory of a rank: an entry takes 16 bytes where it is made, up to 45 more while it travels and is sorted, and at most 17
from then on; with one k-mer in five kept, about 12 bytes for each base of the rank's reads at the peak and 3 while rows
are handed out. A row takes 16 bytes, about 60 with the copies that sending and sorting make of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np

from readclade.clustering.links.sketches import Sketch, mix
from readclade.clustering.links.sorting import sort_rows, sort_run
from readclade.clustering.ranks.exchange import Delivery, Layout, find_most, swap, swap_counts

_LOW_HALF = np.uint64(2**32 - 1)
# Fragments that repeat one k-mer all along are cut short: so many of its entries meet others, and an entry gives at
# most so many rows for each neighbour.
_MOST_REPEATS = 8
_ROWS_PER_NEIGHBOUR = 4


@numba.njit(cache=True)
def _arrange(keys, hashes, places, arranged, is_last, positions):
    """Write places in the order of hash, then place; mark the last of each bucket; tell each arrival's position.

    Args:
        keys: sorted; the upper half comes from the upper bits of the hash, the lower is the number of the arrival.
    """
    size = len(keys)
    half = np.uint64(32)
    most, begin = 0, 0
    for at in range(1, size + 1):
        if at == size or keys[at] >> half != keys[begin] >> half:
            most = max(most, at - begin)
            begin = at
    run_hashes, run_places = np.empty(most, np.uint64), np.empty(most, np.uint64)
    run_arrivals = np.empty(most, np.uint32)
    begin = 0
    for end in range(1, size + 1):
        if end < size and keys[end] >> half == keys[begin] >> half:
            continue
        count = end - begin
        is_sorted = True
        for at in range(count):
            arrival = keys[begin + at] & _LOW_HALF
            run_arrivals[at], run_hashes[at], run_places[at] = arrival, hashes[arrival], places[arrival]
            if at and (
                run_hashes[at - 1] > run_hashes[at]
                or (run_hashes[at - 1] == run_hashes[at] and run_places[at - 1] > run_places[at])
            ):
                is_sorted = False
        if not is_sorted:
            sort_run(run_hashes, run_places, run_arrivals, count)
        for at in range(count):
            arranged[begin + at] = run_places[at]
            positions[run_arrivals[at]] = begin + at
            is_last[begin + at] = at == count - 1 or run_hashes[at] != run_hashes[at + 1]
        begin = end


@numba.njit(cache=True)
def _count_rows(places, ends, neighbours, highest, counts):
    """Write how many rows each entry gives: none where the hash of a fragment is higher."""
    half = np.uint64(32)
    begin = np.int64(0)
    for bucket in range(len(ends)):
        end = np.int64(ends[bucket])
        repeats = 0
        for at in range(begin, end):
            counts[at] = 0
            repeats = repeats + 1 if at > begin and places[at - 1] >> half == places[at] >> half else 0
            if repeats >= _MOST_REPEATS or mix(places[at] >> half) > highest:
                continue
            met = 0
            last = places[at] >> half
            for other in range(at + 1, end):
                fragment = places[other] >> half
                if fragment == places[at] >> half:
                    continue
                if fragment != last:
                    met += 1
                    last = fragment
                if met > neighbours or counts[at] == _ROWS_PER_NEIGHBOUR * neighbours:
                    break
                counts[at] += 1
        begin = end


@numba.njit(cache=True)
def _emit(begin, end, places, positions, counts, mine, theirs, count):
    """Write the rows of the arrivals begin .. end - 1, from row `count` on; return the number of rows then written."""
    half = np.uint64(32)
    for arrival in range(begin, end):
        at = positions[arrival]
        place = places[at]
        other = at
        for _ in range(counts[at]):
            other += 1
            while places[other] >> half == place >> half:
                other += 1
            mine[count] = place
            theirs[count] = places[other]
            count += 1
    return count


class Buckets:
    """The entries of one range of hashes, in the order of hash and place, known by the order in which they arrived.

    Attributes:
        places: (entries,) uint64, sorted by hash, then by themselves.
        positions: (entries,) uint32, where the entry that arrived n-th is among them.
        ends: (buckets,) uint32, where each bucket ends.
    """

    def __init__(self, hashes: np.ndarray, places: np.ndarray):
        size = len(hashes)
        if size >= 2**32:
            raise MemoryError(f"{size:,} entries on one rank are more than 2^32: use more ranks")
        low = hashes.min() if size else np.uint64(0)
        span = int(hashes.max() - low) if size else 0
        # Numpy sorts plain numbers several times faster than it finds the order of equal or wider ones.
        keys = ((hashes - low) >> np.uint64(max(span.bit_length() - 32, 0))) << np.uint64(32)
        keys |= np.arange(size, dtype=np.uint64)
        keys.sort()
        self.places, self.positions = np.empty(size, np.uint64), np.empty(size, np.uint32)
        is_last = np.empty(size, bool)
        _arrange(keys, hashes, places, self.places, is_last, self.positions)
        self.ends = (np.flatnonzero(is_last) + 1).astype(np.uint32)

    def count_rows(self, neighbours: int, share: float = 1) -> np.ndarray:
        """Return (entries,) uint8 in sorted order: how many rows each entry gives.

        Each meets the next `neighbours` larger fragments of its bucket; only those of a share of the fragments do,
        chosen by the hash of their id.
        """
        counts = np.empty(len(self.places), np.uint8)
        highest = np.uint64(min(int(share * 2**64), 2**64 - 1))
        _count_rows(self.places, self.ends, neighbours, highest, counts)
        return counts


@dataclass(frozen=True)
class Rows:
    """The rows of a chunk of this rank's fragments.

    Attributes:
        begin, end: the chunk holds this rank's fragments begin .. end - 1.
        begins: (end - begin + 1,) int64, where the rows of each of them begin.
        mine, theirs: (rows,) uint64, place in the fragment, and in the one that it meets, which has the larger id.
    """

    begin: int
    end: int
    begins: np.ndarray
    mine: np.ndarray
    theirs: np.ndarray


class SharedBuckets:
    """The buckets of all ranks."""

    def __init__(self, layout: Layout, sketch: Sketch, threshold: int):
        """Take this rank's sketch, whose hashes lie below `threshold`. Collective."""
        self._layout, self._sketch_begins = layout, sketch.begins
        comm = layout.comm
        self._owners = np.zeros(len(sketch.hashes), np.uint16)
        if comm.size > 1:
            scaled = (sketch.hashes >> np.uint64(32)) * np.uint64(comm.size)
            self._owners[:] = scaled // np.uint64((threshold >> 32) + 1)
        self._delivery = Delivery(comm, self._owners)
        self._buckets = Buckets(self._delivery.send(sketch.hashes), self._delivery.send(sketch.places))

    def iterate_rows(self, neighbours: int, budget: int, share: float = 1) -> Iterator[Rows]:
        """Hand out the rows of this rank's fragments, once, in chunks of about `budget` rows. Collective.

        A chunk has at least one fragment, whatever the budget. Every rank must take all chunks: where one has none
        left, it gets empty ones as long as others go on. Neighbours and share are those of `Buckets.count_rows`.
        """
        comm, buckets = self._layout.comm, self._buckets
        counts = buckets.count_rows(neighbours, share)
        rows = np.zeros(len(self._owners) + 1, np.int64)
        np.cumsum(self._delivery.reply(counts[buckets.positions]), out=rows[1:])
        chunks = _cut(rows[self._sketch_begins], budget)
        number = find_most(comm, len(chunks) - 1)
        chunks = np.pad(chunks, (0, number + 1 - len(chunks)), mode="edge")
        entries = np.zeros((comm.size, number), np.int64)
        for chunk, (begin, end) in enumerate(pairwise(chunks)):
            part = self._owners[self._sketch_begins[begin] : self._sketch_begins[end]]
            entries[:, chunk] = np.bincount(part, minlength=comm.size)
        # Of each rank and chunk, where its entries lie among those that arrived here.
        wanted = np.concatenate([[0], np.cumsum(swap_counts(comm, entries))]).reshape(-1)
        received = self._delivery.received
        del self._owners, self._delivery  # large, and no longer needed
        assert wanted[-1] == received.sum()
        for chunk in range(number):
            segments = [(wanted[rank * number + chunk], wanted[rank * number + chunk + 1]) for rank in range(comm.size)]
            yield self._send_rows(chunks[chunk], chunks[chunk + 1], segments, counts)

    def _send_rows(self, begin: int, end: int, segments: list[tuple[int, int]], counts: np.ndarray) -> Rows:
        comm, buckets = self._layout.comm, self._buckets
        sent = np.array([counts[buckets.positions[low:high]].sum(dtype=np.int64) for low, high in segments], np.int64)
        mine, theirs = np.empty((2, sent.sum()), np.uint64)
        written = 0
        for low, high in segments:
            written = _emit(low, high, buckets.places, buckets.positions, counts, mine, theirs, written)
        received = swap_counts(comm, sent)
        mine, theirs = swap(comm, mine, sent, received), swap(comm, theirs, sent, received)
        return Rows(begin, end, *sort_rows(mine, theirs, self._layout.ids[begin:end], comm.size > 1))


def _cut(rows: np.ndarray, budget: int) -> np.ndarray:
    """Return where chunks begin, and the end, given (n + 1,) how many rows come before each fragment."""
    bounds = [0]
    while bounds[-1] < len(rows) - 1:
        reached = int(np.searchsorted(rows, rows[bounds[-1]] + budget, side="right")) - 1
        bounds.append(max(reached, bounds[-1] + 1))
    return np.array(bounds, np.int64)
