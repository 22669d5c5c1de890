"""What the scripts share: errors without a traceback, and lines of progress."""

import argparse
import logging
import sys
import time
from collections.abc import Callable

from readclade.errors import ConfigError, InputError, ReadcladeError

_START = time.monotonic()


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser whose help is a script's docstring: a command to paste, then what it does."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def run(main: Callable[[], None]) -> None:
    """Run a script's main function; print an error that the user can mend without a traceback."""
    try:
        main()
    except ReadcladeError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(get_exit_code(error))
    except OSError as error:
        # A full disk, a folder that may not be written: the file system's own words, and no traceback.
        problem = InputError(
            error.strerror or str(error), path=error.filename, remedy="check the space and the permissions there"
        )
        print(f"error: {problem}", file=sys.stderr, flush=True)
        sys.exit(get_exit_code(problem))


def get_exit_code(error: ReadcladeError) -> int:
    """Return 2 for what must be set otherwise, 1 for input that cannot be used."""
    return 2 if isinstance(error, ConfigError) else 1


def start_log(name: str) -> logging.Logger:
    """Print what the library logs to standard error, each line with a name and the seconds since the start.

    Returns:
        The logger, for lines of the script's own.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(name))
    logger = logging.getLogger("readclade")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


class _Formatter(logging.Formatter):
    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        return f"{self._name} [{time.monotonic() - _START:6.1f} s] {record.getMessage()}"
