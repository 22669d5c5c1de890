"""The errors that a person can mend: each says what is wrong, where, and what to do about it.

A command-line script catches `ReadcladeError` and prints it without a traceback; any other exception is a bug and
keeps its traceback.
"""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from os import PathLike, fspath

_NETWORKS = {"torch", "tokenizers", "safetensors", "huggingface_hub", "gensim"}  # what requirements/networks.in names


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


@contextmanager
def needing_networks(embedder: str, remedy: str = "") -> Iterator[None]:
    """Say what to install where a block imports a package of requirements/networks.in that is not there.

    Args:
        embedder: who needs the package.
        remedy: what else to do, after a comma.

    Raises:
        ConfigError: such a package is not installed.
    """
    with _needing(
        _NETWORKS, f"the embedder {embedder}", f"`make networks`, or `make networks-gpu` for NVIDIA's GPUs{remedy}"
    ):
        yield


@contextmanager
def needing_package(package: str, purpose: str, otherwise: str) -> Iterator[None]:
    """Say what to install where a block imports a package of requirements/run.in that is not there.

    Args:
        package: name of the package, and of its module.
        purpose: what it is needed for.
        otherwise: what else to do.

    Raises:
        ConfigError: it is not installed.
    """
    with _needing({package}, purpose, f"`make install`, or {otherwise}"):
        yield


@contextmanager
def _needing(packages: Container[str], who: str, commands: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in packages:
            raise
        raise ConfigError(f"{package}, which {who} needs, is not installed", remedy=f"run {commands}") from None
