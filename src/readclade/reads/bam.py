"""Unaligned BAM, as dorado and PacBio's instruments write it, read as FASTQ: names, qualities and order stay.

pysam reads it. Mates, which the records' flags tell, get /1 and /2, as `samtools fastq` gives them.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Protocol

import pysam

from readclade.errors import InputError
from readclade.reads.compression import DamagedError

_BLOCK_BYTES = 1 << 18
_NO_QUALITY = '"'  # Phred 1, which `samtools fastq` writes where a record has no qualities
_COMPLEMENT = str.maketrans("ACGTUNRYSWKMBDHVacgtunryswkmbdhv", "TGCAANYRSWMKVHDBtgcaanyrswmkvhdb")


class ReadableFile(Protocol):
    """What BAM is read from."""

    def read(self, size: int, /) -> bytes | None: ...
    def close(self) -> None: ...


class BamStream:
    """The reads of a BAM file as the bytes of a FASTQ file.

    A thread pumps the file into a pipe, because the library below pysam takes files of the system alone.
    """

    def __init__(self, file: ReadableFile, path: str):
        """Take an open file; `path` is named in errors."""
        self._path = path
        self._source = file
        self._failure: BaseException | None = None
        self._left = b""
        out, into = os.pipe()
        self._pump = threading.Thread(target=self._fill, args=(into,), daemon=True)
        self._pump.start()
        pysam.set_verbosity(0)  # what is wrong is said by an error
        with ExitStack() as stack:
            pipe = stack.enter_context(os.fdopen(out, "rb"))
            try:
                self._bam = pysam.AlignmentFile(pipe, "rb", check_sq=False)
            except (OSError, ValueError) as error:
                raise self._explain(error) from None
        self._records = self._format()

    def is_paired(self) -> bool:
        """Return whether the first record is a mate; only of a stream that is not read."""
        first = next(iter(self._bam.fetch(until_eof=True)), None)
        return first is not None and first.is_paired

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end.

        Raises:
            DamagedError: the file is truncated or damaged.
            InputError: it holds alignments.
        """
        parts = [self._left]
        length = len(self._left)
        try:
            while length < size and (part := next(self._records, None)):
                parts.append(part)
                length += len(part)
        except (OSError, ValueError) as error:
            raise self._explain(error) from None
        if self._failure:
            raise self._failure
        block = b"".join(parts)
        self._left = block[size:]
        if not block:
            self._stop()
        return block[:size]

    def seek(self, offset: int) -> None:
        """Go to an offset in bytes, from the beginning."""
        while offset > 0 and (block := self.read(min(offset, _BLOCK_BYTES))):
            offset -= len(block)

    def close(self) -> None:
        """Close the file below."""
        self._stop()
        self._source.close()

    def _stop(self) -> None:
        with suppress(OSError):  # of a truncated file, which was told
            self._bam.close()
        self._pump.join()

    def _fill(self, into: int) -> None:
        """Write the file into the pipe, until it ends or nobody reads on."""
        with os.fdopen(into, "wb", buffering=0) as pipe:
            try:
                while block := self._source.read(_BLOCK_BYTES):
                    rest = memoryview(block)
                    while rest:
                        rest = rest[pipe.write(rest) :]
            except BrokenPipeError:
                pass
            except Exception as error:  # told by the thread that reads
                self._failure = error

    def _explain(self, error: Exception) -> BaseException:
        return self._failure or DamagedError(str(error))

    def _format(self) -> Iterator[bytes]:
        for record in self._bam.fetch(until_eof=True):
            if not record.is_unmapped or record.is_secondary or record.is_supplementary:
                raise InputError(
                    f"holds alignments ('{record.query_name}' lies on '{record.reference_name}'), and so its reads in "
                    "another order, or some twice",
                    path=self._path,
                    remedy="give the unaligned BAM or FASTQ that was aligned, or bring the reads back: samtools "
                    "collate -uO FILE | samtools fastq -0 reads.fq.gz -1 reads_1.fq.gz -2 reads_2.fq.gz -s rest.fq.gz",
                )
            yield _format_record(record)


def _format_record(record: pysam.AlignedSegment) -> bytes:
    """Return one record as FASTQ."""
    sequence = record.query_sequence or ""
    qualities = record.query_qualities_str or _NO_QUALITY * len(sequence)
    if record.is_reverse:
        sequence, qualities = sequence.translate(_COMPLEMENT)[::-1], qualities[::-1]
    mate = "" if not record.is_paired else "/1" if record.is_read1 else "/2"
    return f"@{record.query_name}{mate}\n{sequence}\n+\n{qualities}\n".encode()
