"""What the scripts share: errors without a traceback, and lines of progress."""

import argparse
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


def make_reporter(name: str) -> Callable[[str], None]:
    """Return a function that prints a line of progress, with the seconds since the start, to standard error."""

    def report(line: str) -> None:
        print(f"{name} [{time.monotonic() - _START:6.1f} s] {line}", file=sys.stderr, flush=True)

    return report
