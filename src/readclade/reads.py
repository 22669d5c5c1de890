"""The reads of one sample, looked at once: validated, counted, summarised, and divided into shards.

`summarise_reads` is what `fetch` does. Its result, `reads.json`, is all that `embed` needs to read any shard alone:
the files and, per shard, the byte range in each.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import numba
import numpy as np

from readclade import fastq
from readclade.errors import InputError
from readclade.files import hash_file, write_atomically
from readclade.tables import Lane

_BATCH_BASES = 1 << 23
_GC_BINS = 100
_LETTERS = b"ACGTNacgtn"
_PHRED_OFFSET = 33
_PHRED_MAX = 93


@numba.njit(cache=True, nogil=True)
def _count_letters(letters, ends, histogram, gc_histogram):
    """Count the bytes of concatenated reads, and the reads by their share of G and C."""
    begin = 0
    for end in ends:
        gc = 0
        known = 0
        for i in range(begin, end):
            letter = letters[i]
            histogram[letter] += 1
            upper = letter & 0xDF
            gc += (upper == 71) | (upper == 67)
            known += upper != 78
        if known:
            gc_histogram[min(gc * _GC_BINS // known, _GC_BINS - 1)] += 1
        begin = end


class _Summary:
    """Sums over the reads of all lanes."""

    def __init__(self):
        self.letters = np.zeros(256, np.int64)
        self.qualities = np.zeros(256, np.int64)
        self.gc = np.zeros(_GC_BINS, np.int64)
        self.lengths: Counter[int] = Counter()

    def add(self, sequences: list[str], qualities: list[str], path: str, first_read: int) -> None:
        """Add a batch of reads; raise InputError for the first read with a letter or quality that is not allowed."""
        lengths = [len(sequence) for sequence in sequences]
        self.lengths.update(lengths)
        ends = np.cumsum(lengths, dtype=np.int64)
        letters = np.zeros(256, np.int64)
        _count_letters(np.frombuffer("".join(sequences).encode("ascii"), np.uint8), ends, letters, self.gc)
        values = np.bincount(np.frombuffer("".join(qualities).encode("ascii"), np.uint8), minlength=256)
        if letters.sum() != letters[list(_LETTERS)].sum():
            self._refuse_letters(sequences, path, first_read)
        if values[:_PHRED_OFFSET].any() or values[_PHRED_OFFSET + _PHRED_MAX + 1 :].any():
            self._refuse_qualities(qualities, path, first_read)
        self.letters += letters
        self.qualities += values

    @staticmethod
    def _refuse_letters(sequences: list[str], path: str, first_read: int) -> None:
        allowed = set(_LETTERS.decode())
        for number, sequence in enumerate(sequences, first_read):
            wrong = sorted(set(sequence) - allowed)
            if wrong:
                raise InputError(
                    f"read {number + 1:,} holds {', '.join(map(repr, wrong))}, but only A, C, G, T and N are read",
                    path=path,
                    line=4 * number + 2,
                    remedy="replace other letters by N (in RNA, U by T), or give the reads as the sequencer wrote them",
                )

    @staticmethod
    def _refuse_qualities(qualities: list[str], path: str, first_read: int) -> None:
        for number, quality in enumerate(qualities, first_read):
            if any(not _PHRED_OFFSET <= ord(letter) <= _PHRED_OFFSET + _PHRED_MAX for letter in quality):
                raise InputError(
                    f"read {number + 1:,} has a quality outside '!' to '~'",
                    path=path,
                    line=4 * number + 4,
                    remedy="qualities must be in the Phred+33 form of every sequencer since 2011",
                )

    def to_json(self) -> dict:
        """Return the sums as plain numbers."""
        lengths = np.array(sorted(self.lengths), np.int64)
        counts = np.array([self.lengths[length] for length in lengths.tolist()], np.int64)
        bases = lengths * counts
        half = np.searchsorted(np.cumsum(bases[::-1]), bases.sum() / 2) if bases.sum() else 0
        edges = np.unique(np.geomspace(max(lengths[0], 1), lengths[-1] + 1, 61).astype(np.int64))
        quality = self.qualities[_PHRED_OFFSET : _PHRED_OFFSET + _PHRED_MAX + 1]
        known = sum(int(self.letters[letter]) for letter in b"ACGTacgt")
        gc = sum(int(self.letters[letter]) for letter in b"GCgc")
        error = quality @ 10 ** (-np.arange(_PHRED_MAX + 1) / 10)
        return {
            "lengths": {
                "min": int(lengths[0]),
                "max": int(lengths[-1]),
                "mean": float(bases.sum() / counts.sum()),
                "n50": int(lengths[::-1][half]),
                "edges": edges.tolist(),
                "counts": np.histogram(lengths, edges, weights=counts)[0].astype(np.int64).tolist(),
            },
            "gc": {"mean": gc / known if known else None, "counts": self.gc.tolist()},
            "unknown_bases": int(self.letters[ord("N")] + self.letters[ord("n")]),
            "qualities": {
                "counts": np.trim_zeros(quality, "b").tolist(),
                "mean_error": float(error / quality.sum()) if quality.sum() else None,
            },
        }


def summarise_reads(
    sample: str,
    platform: str,
    lanes: list[Lane],
    out: Path,
    shard_bases: int,
    threads: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> dict:
    """Validate and count a sample's reads in one pass, and write `reads.json` and the seek indexes into `out`.

    A shard ends with the first fragment at which it holds `shard_bases` bases or more, and with its lane.

    Args:
        lanes: the sample's files, in the order that numbers its fragments.
        out: folder; `index/` in it takes one seek index per gzip file that holds more than one shard.
        shard_bases: bases per shard, >= 1.
        report: called with a line of progress every few seconds.

    Returns:
        The content of `reads.json`.

    Raises:
        InputError: names the file, the line and the remedy.
    """
    summary = _Summary()
    shards: list[dict] = []
    described = []
    (out / "index").mkdir(parents=True, exist_ok=True)
    for number, lane in enumerate(lanes):
        first_shard = len(shards)
        earlier = summary.qualities.copy()
        try:
            described.append(_scan_lane(lane, number, shards, summary, shard_bases, report))
        except InputError:
            # Damaged gzip data can look like a broken record; the checksum at their end tells the cause.
            for path in lane.paths:
                fastq.check_compression(path)
            raise
        _check_phred(summary.qualities - earlier, platform, lane.fq1)
        described[-1]["indexes"] = [
            _index_file(path, out, f"lane{number + 1}_{mate + 1}.gzi", threads, len(shards) - first_shard)
            for mate, path in enumerate(lane.paths)
        ]
    result = {
        "sample": sample,
        "platform": platform,
        "fragments": sum(lane["fragments"] for lane in described),
        "reads": sum(lane["reads"] for lane in described),
        "bases": sum(lane["bases"] for lane in described),
        **summary.to_json(),
        "lanes": described,
        "shards": shards,
    }
    write_atomically(out / "reads.json", json.dumps(result, indent=1) + "\n")
    return result


def check_reads(reads: dict) -> None:
    """Compare the FASTQ files with the checksums that `fetch` took; a shard must not mix two versions of a file.

    Raises:
        InputError: a file is missing or has changed.
    """
    for described in reads["lanes"]:
        for path, checksum in zip(Lane(described["fq1"], described["fq2"]).paths, described["sha256"], strict=True):
            try:
                is_same = hash_file(path) == checksum
            except OSError as error:
                raise InputError(f"cannot be read: {error.strerror}", path=path, remedy="bring the file back") from None
            if not is_same:
                raise InputError(
                    "is not the file that `fetch` looked at: its checksum changed",
                    path=path,
                    remedy="run `fetch` again",
                )


def load_reads(path: Path) -> dict:
    """Read `reads.json`.

    Raises:
        InputError: it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="run `fetch` for this sample") from None


def _check_phred(qualities: np.ndarray, platform: str, path: str) -> None:
    """Refuse old Illumina files whose qualities count from 64, which would read as nearly free of errors."""
    present = np.flatnonzero(qualities)
    if platform == "illumina" and len(present) and present[0] >= 64 and present[-1] > 80:
        raise InputError(
            f"the qualities run from '{chr(present[0])}' to '{chr(present[-1])}', the Phred+64 form of old files",
            path=path,
            remedy="convert them to Phred+33, for example with seqtk seq -VQ64",
        )


def _index_file(path: str, out: Path, name: str, threads: int, shards: int) -> str | None:
    """Write a seek index where one is needed; return its path relative to `out`."""
    if shards < 2 or not fastq.is_gzip(path):
        return None
    fastq.write_seek_index(path, str(out / "index" / name), threads)
    return f"index/{name}"


def _scan_lane(lane: Lane, number: int, shards: list[dict], summary: _Summary, shard_bases: int, report) -> dict:
    """Read one lane through; append its shards and add to the summary."""
    paths = lane.paths
    lines = fastq.get_lines_per_fragment(lane)
    begin = [0] * len(paths)
    fragments = bases = shard_fragments = shard_size = 0
    first_fragment = shards[-1]["first_fragment"] + shards[-1]["fragments"] if shards else 0
    batches = [([], []) for _ in paths]  # per file: sequences, qualities
    batch_bases = batched = 0
    started = told = time.monotonic()

    def close_batch():
        nonlocal batch_bases, batched
        for path, (sequences, qualities) in zip(paths, batches, strict=True):
            summary.add(sequences, qualities, path, batched * lines // 4)
            sequences.clear()
            qualities.clear()
        batched, batch_bases = fragments, 0

    def close_shard():
        nonlocal begin, shard_fragments, shard_size
        end = [stream.get_line_offset(lines * fragments) for stream in streams]
        shards.append(
            {
                "lane": number,
                "first_fragment": first_fragment + fragments - shard_fragments,
                "fragments": shard_fragments,
                "bases": shard_size,
                "begin": begin,
                "end": end,
            }
        )
        begin, shard_fragments, shard_size = end, 0, 0

    with ExitStack() as stack:
        streams = [stack.enter_context(closing(fastq.open_stream(path))) for path in paths]
        for record, mate in fastq.iterate_fragments(streams, lane):
            sequences, qualities = batches[0]
            sequences.append(record.sequence)
            qualities.append(record.qualities)
            size = len(record.sequence)
            if mate is not None:
                sequences, qualities = batches[-1]
                sequences.append(mate.sequence)
                qualities.append(mate.qualities)
                size += len(mate.sequence)
            if not record.id:
                raise InputError(
                    f"read {lines * fragments // 4 + 1:,} has no name",
                    path=lane.fq1,
                    line=lines * fragments + 1,
                    remedy="give every read a name after '@'",
                )
            fragments += 1
            bases += size
            shard_fragments += 1
            shard_size += size
            batch_bases += size
            if batch_bases >= _BATCH_BASES:
                close_batch()
                for stream in streams:
                    stream.forget_before(lines * fragments)
                if time.monotonic() - told > 5:
                    told = time.monotonic()
                    report(f"{lane.fq1}: {fragments:,} fragments, {bases / (told - started) / 1e6:.0f} Mb a second")
            if shard_size >= shard_bases:
                close_shard()
        close_batch()
        if shard_fragments:
            close_shard()
    if not fragments:
        raise InputError("holds no reads", path=lane.fq1, remedy="check that the download finished, or drop this row")
    return {
        "fq1": lane.fq1,
        "fq2": lane.fq2,
        "sha256": [hash_file(path) for path in paths],
        "fragments": fragments,
        "reads": fragments * (1 if lane.fq2 is None else 2),
        "bases": bases,
    }
