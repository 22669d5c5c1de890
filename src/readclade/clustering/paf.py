"""overlaps.paf.gz: the overlaps that linking found, in minimap2's format PAF, for others to look at.

Each shard is a gzip member of its own, made by the rank that holds the shard; rank 0 puts one behind the other.
"""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from readclade.clustering.inputs import Entry, load_names
from readclade.clustering.links.alignments import Alignments
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.ranks.communicator import run_on_each, send_to_root
from readclade.clustering.ranks.exchange import Delivery, Layout, find_most, look_up
from readclade.storage.files import replace_when_done

OVERLAPS = "overlaps.paf.gz"
_FRAGMENTS = 8192  # whose overlaps are held as text
_LEVEL = 2  # of compression: the higher ones take longer than all else
_NO_MAPPING_QUALITY = "255"
_DIVERGENCES = 10_000  # steps between 0 and 1


class _Names:
    """The names and lengths of all ranks' reads."""

    def __init__(self, layout: Layout, names: pa.LargeStringArray, sequences: Sequences):
        """Take the names of this rank's fragments."""
        self._layout, self._names = layout, names
        lengths = sequences.read_lengths.astype(np.int64)
        self._reads = Layout(layout.comm, 2 * layout.firsts)
        self._known = np.column_stack([lengths, np.repeat(lengths[1::2] > 0, 2)])

    def look_up(self, reads: np.ndarray) -> tuple[pa.Array, np.ndarray]:
        """Return the names of (p,) int64 reads, mates with /1 and /2, and their (p,) int64 bases. Collective."""
        lengths, has_mate = look_up(self._reads, reads, self._known).T
        number = pa.array(has_mate * (1 + reads % 2))
        suffixes = pa.array(["", "/1", "/2"]).take(number)
        return pc.binary_join_element_wise(self._find(reads >> 1), suffixes, ""), lengths

    def _find(self, fragments: np.ndarray) -> pa.Array:
        comm = self._layout.comm
        if comm.size == 1:
            return self._names.take(pa.array(fragments)).cast(pa.string())
        asked, places = np.unique(fragments, return_inverse=True)
        delivery = Delivery(comm, self._layout.owner(asked))
        found = self._names.take(pa.array(self._layout.local(delivery.send(asked)))).to_pylist()
        encoded = [name.encode() for name in found]
        width = max(find_most(comm, max(map(len, encoded), default=0)), 1)
        names = delivery.reply(np.array(encoded, f"S{width}"))
        return pa.array(names, pa.binary()).cast(pa.string()).take(pa.array(places))


def write_overlaps(
    layout: Layout,
    entries: list[Entry],
    sequences: Sequences,
    align: Callable[[slice], Alignments],
    path: Path,
) -> None:
    """Write the overlaps in the order of fragments: the same bytes on any number of ranks. Collective.

    Args:
        layout: of fragments.
        entries: all shards of the job.
        sequences: of this rank's fragments.
        align: returns the overlaps of a part of this rank's reads, of which those of fragment f are 2 f and 2 f + 1.
            Collective.
    """
    comm = layout.comm
    names = _Names(layout, run_on_each(comm, lambda: load_names(entries[comm.rank :: comm.size])), sequences)
    if comm.rank:
        for number in range(0, len(entries), comm.size):
            send_to_root(comm, _compress(layout, entries, number + comm.rank, names, align), comm.rank)
        return
    with replace_when_done(path) as temporary, open(temporary, "wb") as file:
        for number in range(0, len(entries), comm.size):
            file.write(_compress(layout, entries, number, names, align))
            for owner in range(1, comm.size):
                file.write(send_to_root(comm, None, owner))


def _compress(layout: Layout, entries: list[Entry], number: int, names: _Names, align) -> bytes:
    """Return the overlaps of a shard of this rank, compressed; nothing where there is no such shard. Collective."""
    bounds = layout.firsts[[number, number + 1]] if number < len(entries) else np.zeros(2, np.int64)
    begin, end = np.searchsorted(layout.ids, bounds).tolist()
    # 31: gzip, with no name and no time.
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    parts = []
    for done in range(0, find_most(layout.comm, end - begin), _FRAGMENTS):
        first, last = min(begin + done, end), min(begin + done + _FRAGMENTS, end)
        parts.append(compressor.compress(_format(align(slice(2 * first, 2 * last)), names)))
    return b"".join([*parts, compressor.flush()]) if number < len(entries) else b""


def _format(overlaps: Alignments, names: _Names) -> bytes:
    """Return one line an overlap. Collective."""
    query, query_length = names.look_up(overlaps.query)
    target, target_length = names.look_up(overlaps.target)
    bases = np.maximum(overlaps.bases, 1)
    steps = np.rint(_DIVERGENCES * (overlaps.edits / bases)).astype(np.int64)
    used, places = np.unique(steps, return_inverse=True)
    divergences = pa.array([f"dv:f:{step / _DIVERGENCES:.4f}\n" for step in used.tolist()], pa.string())
    columns = [
        query,
        *_spell(query_length, overlaps.query_begin, overlaps.query_end),
        pa.array(["+", "-"]).take(pa.array(overlaps.is_reversed.astype(np.int8))),
        target,
        *_spell(target_length, overlaps.target_begin, overlaps.target_end, bases - overlaps.edits, bases),
        pa.repeat(_NO_MAPPING_QUALITY, len(query)),
        pc.binary_join_element_wise("NM:i:", *_spell(overlaps.edits), ""),
        divergences.take(pa.array(places)),
    ]
    lines = pc.binary_join_element_wise(*columns, "\t")
    # The letters of a column of text lie one behind the other.
    _, offsets, letters = lines.buffers()
    if not len(lines):
        return b""
    begins = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return letters.to_pybytes()[begins[0] : begins[-1]]


def _spell(*columns: np.ndarray) -> list[pa.Array]:
    return [pa.array(column).cast(pa.string()) for column in columns]
