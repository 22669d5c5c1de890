"""Which fragments share k-mers: entries of equal hash form a bucket, and each meets the next few of its bucket.

Every rank owns a range of hashes. It gets all entries of its range, sorts them by hash and place, and hands out rows:
an entry and one it meets, sent to the rank that holds the fragment of the first. Rows leave in chunks of that rank's
fragments, so that each rank holds a bounded number of them at a time.

Hashes come in turns, for entries take much memory while they travel and are sorted. Of each turn the buckets are kept
that give rows: k-mers with errors are nearly all alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from readclade.clustering.links.packing import mix
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
def _keep(places, ends, counts, kept, moved):
    """Write the places of the buckets that give rows, and where each entry of theirs is then; return how many."""
    size, begin = 0, np.int64(0)
    for bucket in range(len(ends)):
        end = np.int64(ends[bucket])
        gives = False
        for at in range(begin, end):
            gives |= counts[at] > 0
        if gives:
            for at in range(begin, end):
                kept[size], moved[at] = places[at], size
                size += 1
        begin = end
    return size


@numba.njit(cache=True)
def _find_giver(positions, places, low, high, fragment):
    """Return the first of the arrivals low .. high - 1, by fragment, that is of a fragment or a later one."""
    while low < high:
        middle = (low + high) // 2
        if np.int64(places[positions[middle]] >> np.uint64(32)) < fragment:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True)
def _emit(begin, end, places, positions, counts, mine, theirs, count):
    """Write the rows of the arrivals begin .. end - 1, from row `count` on; return the number of rows then written."""
    half = np.uint64(32)
    for arrival in range(begin, end):
        at = positions[arrival]
        place = places[at]
        other = at
        for _ in range(counts[arrival]):
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
class _Givers:
    """What is kept of a turn: the entries of buckets that give rows, and the arrivals that give them.

    Attributes:
        places: (entries,) uint64, sorted by hash, then by themselves.
        positions: (arrivals,) uint32, where each arrival is among them; sender by sender, each by fragment.
        counts: (arrivals,) uint8, the rows that each gives.
        bounds: (ranks + 1,) int64, the arrivals of sender r are bounds[r] : bounds[r + 1].
    """

    places: np.ndarray
    positions: np.ndarray
    counts: np.ndarray
    bounds: np.ndarray


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

    def __init__(self, layout: Layout, neighbours: int, share: float = 1):
        """Begin without any; neighbours and share are those of `Buckets.count_rows`."""
        self._layout, self._neighbours, self._share = layout, neighbours, share
        self._turns: list[_Givers] = []
        self._rows = np.zeros(len(layout.ids), np.int64)  # of each fragment

    def add(self, hashes: np.ndarray, places: np.ndarray, owners: np.ndarray) -> None:
        """Take this rank's entries of one turn, by fragment, each sent to one of the ranks. Collective."""
        delivery = Delivery(self._layout.comm, owners)
        buckets = Buckets(delivery.send(hashes), delivery.send(places))
        counts = buckets.count_rows(self._neighbours, self._share)
        arrived = counts[buckets.positions]
        own = self._layout.local((places >> np.uint64(32)).astype(np.int64))
        self._rows += np.bincount(own, delivery.reply(arrived), len(self._rows)).astype(np.int64)
        gives = arrived > 0
        bounds = np.concatenate([[0], np.cumsum(gives)])[np.cumsum([0, *delivery.received])]
        kept, moved = np.empty(len(counts), np.uint64), np.empty(len(counts), np.uint32)
        size = _keep(buckets.places, buckets.ends, counts, kept, moved)
        self._turns.append(_Givers(kept[:size].copy(), moved[buckets.positions[gives]], arrived[gives], bounds))

    @property
    def kept(self) -> np.ndarray:
        """(1,) int64, the entries that this rank holds."""
        return np.array([sum(len(turn.places) for turn in self._turns)], np.int64)

    def iterate_rows(self, budget: int) -> Iterator[Rows]:
        """Hand out the rows of this rank's fragments, once, in chunks of about `budget` rows. Collective.

        A chunk has at least one fragment, whatever the budget. Every rank must take all chunks: where one has none
        left, it gets empty ones as long as others go on.
        """
        layout, comm = self._layout, self._layout.comm
        chunks = _cut(np.concatenate([[0], np.cumsum(self._rows)]), budget)
        number = find_most(comm, len(chunks) - 1)
        chunks = np.pad(chunks, (0, number + 1 - len(chunks)), mode="edge")
        # Of each rank, the fragment that each chunk begins with.
        firsts = np.array(comm.allgather(np.append(layout.ids, layout.count)[chunks]))
        for chunk in range(number):
            yield self._send_rows(chunks[chunk], chunks[chunk + 1], firsts[:, chunk : chunk + 2])

    def _send_rows(self, begin: int, end: int, wanted: np.ndarray) -> Rows:
        """Send and return the rows of a chunk, of which (ranks, 2) tells the fragments of each rank."""
        comm = self._layout.comm
        parts = []
        for rank, fragments in enumerate(wanted.tolist()):
            for turn in self._turns:
                begins, ends = turn.bounds[rank : rank + 2].tolist()
                low, high = (_find_giver(turn.positions, turn.places, begins, ends, first) for first in fragments)
                parts.append((rank, turn, low, high, int(turn.counts[low:high].sum(dtype=np.int64))))
        sent = np.zeros(comm.size, np.int64)
        for rank, *_, count in parts:
            sent[rank] += count
        mine, theirs = np.empty((2, sent.sum()), np.uint64)
        written = 0
        for _, turn, low, high, _ in parts:
            written = _emit(low, high, turn.places, turn.positions, turn.counts, mine, theirs, written)
        received = swap_counts(comm, sent)
        mine, theirs = swap(comm, mine, sent, received), swap(comm, theirs, sent, received)
        is_mixed = len(parts) > 1
        return Rows(begin, end, *sort_rows(mine, theirs, self._layout.ids[begin:end], is_mixed))


def _cut(rows: np.ndarray, budget: int) -> np.ndarray:
    """Return where chunks begin, and the end, given (n + 1,) how many rows come before each fragment."""
    bounds = [0]
    while bounds[-1] < len(rows) - 1:
        reached = int(np.searchsorted(rows, rows[bounds[-1]] + budget, side="right")) - 1
        bounds.append(max(reached, bounds[-1] + 1))
    return np.array(bounds, np.int64)
