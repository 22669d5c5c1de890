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


class Progress:
    """Writes lines of progress; time left follows from the time that the stages so far took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Start the clock."""
        self._clock = clock
        self._start = clock()
        self._begin = self._end = self._skipped = self._share = 0.0

    def begin(self, end: float) -> None:
        """Begin a stage at whose end this share of the whole time has passed."""
        self._begin = self._share = self._end
        self._end = end

    def skip(self) -> None:
        """Tell that an earlier run did this stage: the time it took is not known."""
        self._skipped += self._end - self._share
        self._share = self._end

    def __call__(self, line: str, done: float | None = None) -> None:
        """Log a line; `done` (0 to 1) is how much of the stage is done."""
        if done is not None:
            self._share = self._begin + done * (self._end - self._begin)
        # Linux counts in kilobytes.
        text = f"{line}; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB on rank 0"
        passed = self._share - self._skipped
        if passed >= _LEAST_SHARE and self._share < 1:
            left = (self._clock() - self._start) * (1 - self._share) / passed
            text += f"; about {format_duration(left)} left"
        _log.info(text)
