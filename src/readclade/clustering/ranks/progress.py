"""Progress of the job: what a stage did, the memory on rank 0, and about how much time is left."""

import logging
import resource
import time
from collections.abc import Callable

from readclade.formats import format_duration

# Where stages end, as shares of the whole time: 261,000 pairs and 5,900 long reads, on one rank and on two.
READ, LINKED, FOUND = 0.05, 0.7, 0.95
_LEAST_SHARE = 0.02  # of the time, from which the rest can be told
_log = logging.getLogger(__name__)


def tell(line: str, done: float | None = None) -> None:
    """Log a line of progress; `done` (0 to 1) is how much of the stage is done."""
    _log.info(line, extra={"done": done})


class Progress(logging.Filter):
    """While it is entered, what is told names memory and time left, which follows from what the stages so far took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Start the clock."""
        super().__init__()
        self._clock = clock
        self._start = clock()
        self._begin = self._end = self._skipped = self._share = 0.0

    def __enter__(self) -> "Progress":
        _log.addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        _log.removeFilter(self)

    def begin(self, end: float) -> None:
        """Begin a stage at whose end this share of the whole time has passed."""
        self._begin = self._share = self._end
        self._end = end

    def skip(self) -> None:
        """Tell that an earlier run did this stage: the time it took is not known."""
        self._skipped += self._end - self._share
        self._share = self._end

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete a line; none is held back."""
        done = record.__dict__["done"]
        if done is not None:
            self._share = self._begin + done * (self._end - self._begin)
        # Linux counts in kilobytes.
        record.msg += f"; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB on rank 0"
        passed = self._share - self._skipped
        if passed >= _LEAST_SHARE and self._share < 1:
            left = (self._clock() - self._start) * (1 - self._share) / passed
            record.msg += f"; about {format_duration(left)} left"
        return True
