"""Fragments that come from genomes to remove, found by minimap2 (mappy) one by one: no name decides."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import local

import dnaio

from readclade.errors import InputError, needing_package

PRESETS = {"illumina": "sr", "ont": "map-ont", "pacbio": "map-hifi"}
_LEAST_COVERED = 0.5  # of a read, for it to count as one of the genomes' own
_CHUNK = 64  # fragments that a thread takes at a time


class HostFinder:
    """Tell which fragments lie on given genomes."""

    def __init__(self, path: str, platform: str, threads: int):
        """Index the genomes.

        Args:
            path: FASTA file, plain or gzip.
            threads: that align side by side.

        Raises:
            ConfigError: mappy is not installed.
            InputError: the file holds no genome.
        """
        with needing_package(
            "mappy",
            "removing the reads of genomes",
            "leave cleaning.remove empty; to build it takes a C compiler, python3-dev and zlib1g-dev",
        ):
            import mappy
        self._make_buffer = mappy.ThreadBuffer
        self._index = mappy.Aligner(path, preset=PRESETS[platform], n_threads=threads)
        if not self._index or not any(map(len, self._index.seq_names)):
            raise InputError(
                "holds no genome that minimap2 can read",
                path=path,
                remedy="give the genomes to remove (cleaning.remove) as FASTA, plain or gzip",
            )
        self._pool = ThreadPoolExecutor(threads)
        self._local = local()

    def find(self, fragments: Sequence[Sequence[dnaio.SequenceRecord]]) -> list[bool]:
        """Return for each fragment whether one of its reads lies on the genomes by half or more."""
        chunks = [fragments[i : i + _CHUNK] for i in range(0, len(fragments), _CHUNK)]
        return [found for chunk in self._pool.map(self._find_in_chunk, chunks) for found in chunk]

    def _find_in_chunk(self, fragments: Sequence[Sequence[dnaio.SequenceRecord]]) -> list[bool]:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = self._make_buffer()
        return [self._is_on_genomes([record.sequence for record in mates]) for mates in fragments]

    def _is_on_genomes(self, reads: list[str]) -> bool:
        spans: list[list[tuple[int, int]]] = [[] for _ in reads]
        if not all(reads):  # minimap2 takes no empty mate
            reads = [read or "N" for read in reads]
        for hit in self._index.map(*reads, buf=self._local.buffer):
            if hit.is_primary:
                spans[hit.read_num - 1].append((hit.q_st, hit.q_en))
        return any(_is_covered(each, len(read)) for each, read in zip(spans, reads, strict=True))


def _is_covered(spans: list[tuple[int, int]], length: int) -> bool:
    covered, reached = 0, 0
    for begin, end in sorted(spans):
        covered += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return bool(spans) and covered >= _LEAST_COVERED * length
