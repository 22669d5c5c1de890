"""The errors that a person can mend: each says what is wrong, where, and what to do about it.

A command-line script catches `ReadcladeError` and prints it without a traceback; any other exception is a bug and
keeps its traceback.
"""

from os import PathLike, fspath


class ReadcladeError(Exception):
    """Report a problem and its remedy.

    Args:
        message: one sentence that says what is wrong.
        remedy: one sentence that says what to do; None where there is nothing to advise.
    """

    def __init__(self, message: str, *, remedy: str | None = None):
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self._with_remedy(self.message)

    def _with_remedy(self, text: str) -> str:
        return f"{text}\n  remedy: {self.remedy}" if self.remedy else text


class ConfigError(ReadcladeError):
    """Report a key or a value of the configuration that cannot be used."""


class InputError(ReadcladeError):
    """Report a file that cannot be used, and the place in it.

    Args:
        message: one sentence that says what is wrong.
        path: the file.
        line: line number in the file, from 1.
        remedy: one sentence that says what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ):
        super().__init__(message, remedy=remedy)
        self.path = None if path is None else fspath(path)
        self.line = line

    def __str__(self) -> str:
        place = [part for part in (self.path, None if self.line is None else str(self.line)) if part]
        return self._with_remedy(": ".join([":".join(place), self.message]) if place else self.message)


class StorageError(InputError):
    """Report a store that refuses or fails; the file itself may well be what it should be."""
