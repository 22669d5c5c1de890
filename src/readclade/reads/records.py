"""The records of a lane, fragment by fragment: mates in step, errors that name file and line.

dnaio parses what `lines` put right. It tells records but not their offsets, which the streams below it remember.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import PurePosixPath
from typing import BinaryIO, Self, cast

import dnaio

from readclade.errors import InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads import fastq
from readclade.reads.lines import LineFilter
from readclade.reads.names import are_mates, get_mate_number, get_name
from readclade.reads.streams import TrackedStream

_FORGET_EVERY = 64  # fragments: the longest reads have a million letters

Mates = tuple[dnaio.SequenceRecord, dnaio.SequenceRecord | None]


class FragmentReader:
    """The fragments of a lane, in their order; a context manager, which closes the files.

    Streams remember where lines begin; what lies behind the parser is freed as it goes.

    Attributes:
        fragments: how many were yielded.
        lines: of one file that make a fragment.
    """

    def __init__(self, lane: Lane, streams: Iterable[TrackedStream]):
        """Take the streams over.

        Args:
            lane: names the files in errors, and says whether mates alternate in one file.
            streams: one, or two for a lane whose mates lie in two files; opened here if this makes them one by one.
        """
        self.fragments = 0
        self.lines = 8 if lane.fq2 == INTERLEAVED else 4
        self._lane = lane
        with ExitStack() as stack:
            self._streams = [stack.enter_context(closing(stream)) for stream in streams]
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Mates]:
        """Yield the records of each fragment, mates together and in step.

        Raises:
            InputError: a broken record, or mates that differ in name or number, with file and line.
        """
        for mates in _pair_records(self._streams, self._lane):
            self.fragments += 1
            yield mates
            if self.fragments % _FORGET_EVERY == 0:
                for stream in self._streams:
                    stream.forget_before(self.lines * self.fragments)

    def get_offsets(self) -> tuple[int, ...]:
        """Return the byte at which the next fragment begins in each file."""
        return tuple(stream.get_line_offset(self.lines * self.fragments) for stream in self._streams)

    def get_sha256(self) -> tuple[str, ...]:
        """Return the checksum of each file as it lies there; only of `open_lane`, read to its end."""
        return tuple(stream.get_sha256() for stream in self._streams)

    def list_read_errors(self) -> list[InputError]:
        """Return what went wrong with the files below, where the decompression hides it."""
        return [error for stream in self._streams if (error := stream.get_read_error()) is not None]


def open_lane(lane: Lane, etags: Sequence[str | None] | None = None) -> FragmentReader:
    """Open the files of a lane from their beginning, with every check of their compression.

    Args:
        etags: on S3, the version that each file must be; None for any.
    """
    versions = [None] * len(lane.paths) if etags is None else etags
    return FragmentReader(lane, (fastq.open_stream(*file) for file in zip(lane.paths, versions, strict=True)))


def _pair_records(streams: list[TrackedStream], lane: Lane) -> Iterator[Mates]:
    """Yield the records of each fragment, mates together and in step."""
    first = _read_records(streams[0], lane.fq1)
    if lane.fq2 is None:
        for record in first:
            yield record, None
        return
    interleaved = lane.fq2 == INTERLEAVED
    second_path = lane.fq1 if interleaved else lane.fq2
    second = first if interleaved else _read_records(streams[1], second_path)
    number = 0
    for record in first:
        mate = next(second, None)
        if mate is None:
            raise _out_of_step(lane.fq1, second_path, number, f"'{record.name}' has no mate")
        if number == 0:
            _check_numbers(lane.fq1, second_path, record, mate)
        if not are_mates(record.id, mate.id):
            raise _out_of_step(lane.fq1, second_path, number, f"'{record.name}' is beside '{mate.name}'")
        yield record, mate
        number += 1
    extra = next(second, None)
    if extra is not None:
        raise _out_of_step(second_path, lane.fq1, number, f"'{extra.name}' has no mate")


def _check_numbers(path: str, other: str, record: dnaio.SequenceRecord, mate: dnaio.SequenceRecord) -> None:
    """Refuse two files of first mates, or of second mates, whose names are the same."""
    found = get_mate_number(record.name)
    if found and found == get_mate_number(mate.name):
        raise InputError(
            f"holds mates {found}, and so does {PurePosixPath(other).name}: both have '{record.name}'",
            path=path,
            line=1,
            remedy="give the file of the first mates as fq1 and that of the second ones as fq2",
        )
    if (found, get_mate_number(mate.name)) == (2, 1):
        raise _out_of_step(
            path,
            other,
            0,
            f"'{record.name}' is beside '{mate.name}'",
            "the mates are swapped: exchange fq1 and fq2",
        )


def _out_of_step(path: str, other: str, number: int, message: str, remedy: str | None = None) -> InputError:
    line = 8 * number + 1 if path == other else 4 * number + 1
    return InputError(
        f"the mates are out of step with {PurePosixPath(other).name} at pair {number + 1:,}: {message}",
        path=path,
        line=line,
        remedy=remedy
        or "give both files of one run in their original order, or repair them with a tool such as repair.sh",
    )


def _read_records(stream: TrackedStream, path: str) -> Iterator[dnaio.SequenceRecord]:
    try:
        # 1 MiB keeps the share of Python in reading small; dnaio grows the buffer for a longer record.
        # It calls read and close.
        yield from dnaio.FastqReader(cast(BinaryIO, LineFilter(stream, path)), buffer_size=1 << 20)
    except dnaio.FastqFormatError as error:
        line = stream.find_non_ascii() if error.line is None else error.line
        raise InputError(
            f"is not valid FASTQ: {error.message}",
            path=path,
            line=None if line is None else line + 1,
            remedy="each record has four lines: @name, bases, +, and as many qualities as bases; look at this one",
        ) from None


def get_fragment_name(record: dnaio.SequenceRecord, mate: dnaio.SequenceRecord | None, platform: str) -> str:
    """Return what a fragment is called, by the rule of `names`, unless an earlier one has the same name."""
    return get_name(record.id, None if mate is None else mate.id, platform)


def find_layout(lane: Lane) -> Lane:
    """Return a lane as its file says: BAM whose records are mates holds interleaved pairs."""
    return Lane(lane.fq1, INTERLEAVED) if lane.fq2 is None and fastq.holds_pairs(lane.fq1) else lane
