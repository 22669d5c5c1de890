"""The fragments of a planned shard, read from its range of the FASTQ files as columns."""

from collections.abc import Iterator
from os import PathLike

import numba
import numpy as np
import pyarrow as pa

from readclade.errors import InputError, StorageError
from readclade.letters import get_letters, spell_out
from readclade.reads import fastq
from readclade.reads.batch import Batch
from readclade.reads.names import number
from readclade.reads.plan import ReadPlan
from readclade.reads.records import FragmentReader, get_fragment_name
from readclade.storage import locations

# One batch is one row group: large enough to compress well, small enough that an actor's memory stays bounded.
_BATCH_BASES = 8_000_000
_ERROR_OF_QUALITY = (10 ** (-(np.arange(256) - 33) / 10)).astype(np.float64)


@numba.njit(cache=True, nogil=True)
def _sum_errors(letters, offsets, errors, sums):
    for i in range(len(sums)):
        total = 0.0
        for position in range(offsets[i], offsets[i + 1]):
            total += errors[letters[position]]
        sums[i] += total


def read_batches(plan: ReadPlan, index: int, folder: str | PathLike[str]) -> Iterator[Batch]:
    """Read the fragments of one planned shard from the FASTQ files, a bounded number of bases at a time.

    Args:
        plan: of the sample.
        index: which of its shards.
        folder: where `reads.json` lies, a path or a prefix on S3; the seek indexes are relative to it.

    Raises:
        InputError: the files are not those that `fetch` looked at.
    """
    shard = plan.shards[index]
    planned = plan.lanes[shard.lane]
    lane = planned.lane
    indexes = [None if name is None else locations.join(folder, name) for name in planned.indexes]
    ranges = zip(lane.paths, shard.begin, shard.end, indexes, planned.etags, strict=True)
    fragments = 0
    repeated = plan.list_repeated(shard.first_fragment, shard.first_fragment + shard.fragments)
    reader = None
    try:
        with FragmentReader(lane, (fastq.open_range(*each) for each in ranges)) as reader:
            columns: list[list] = [[], [], [], [], []]
            names, sequences, mates, qualities, mate_qualities = columns
            bases = 0
            for record, mate in reader:
                name = get_fragment_name(record, mate, plan.platform)
                fragment = shard.first_fragment + reader.fragments - 1
                names.append(number(name, fragment, repeated))
                sequences.append(record.sequence)
                qualities.append(record.qualities)
                bases += len(record.sequence)
                if mate is not None:
                    mates.append(mate.sequence)
                    mate_qualities.append(mate.qualities)
                    bases += len(mate.sequence)
                if bases >= _BATCH_BASES:
                    yield _make_batch(shard.first_fragment + fragments, *columns)
                    fragments += len(names)
                    for column in columns:
                        column.clear()
                    bases = 0
            if names:
                yield _make_batch(shard.first_fragment + fragments, *columns)
                fragments += len(names)
    except StorageError:
        raise
    except InputError as error:  # `fetch` has seen no such problem in these bytes
        raise _changed(error.path or lane.fq1, error.message) from None
    except (ValueError, RuntimeError, OSError) as error:  # rapidgzip, where the bytes do not fit the seek index
        for cause in [] if reader is None else reader.list_read_errors():
            if isinstance(cause, StorageError):
                raise cause from None
        raise _changed(lane.fq1, str(error).partition("\n")[0]) from None
    if fragments != shard.fragments:
        raise _changed(lane.fq1, f"found {fragments:,} fragments where there were {shard.fragments:,}")


def _changed(path: str, what: str) -> InputError:
    return InputError(f"is not the file that `fetch` looked at: {what}", path=path, remedy="run `fetch` again")


def _make_batch(first_fragment: int, names, sequences, mates, qualities, mate_qualities) -> Batch:
    sums = np.zeros(len(names))
    bases = np.zeros(len(names), np.int64)
    for column in (qualities, mate_qualities):
        if column:
            letters, offsets = get_letters(pa.array(column, pa.string()))
            _sum_errors(letters, offsets, _ERROR_OF_QUALITY, sums)
            bases += np.diff(offsets)
    with np.errstate(invalid="ignore"):
        error_rates = (sums / bases).astype(np.float32)
    return Batch(
        first_fragment,
        pa.array(names, pa.string()),
        spell_out(pa.array(sequences, pa.string())),
        spell_out(pa.array(mates, pa.string())) if mates else None,
        error_rates,
        int(np.sum(bases)),
    )
