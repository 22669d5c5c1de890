"""Checkpoints: what a stage made, kept beside the results until these are whole, so that a killed run goes on.

Links are kept shard by shard, so that a run with another number of ranks can use them. A checkpoint that was made from
other data or by other code is refused: it is deleted, and the run begins anew. What depends on parameters too has their
hash in its name.
"""

import logging
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from mpi4py import MPI

from readclade.clustering.ranks.communicator import run_on_each
from readclade.errors import InputError
from readclade.storage.files import replace_when_done, write_atomically

_log = logging.getLogger(__name__)

FOLDER = "checkpoint"
_FINGERPRINT = "fingerprint"


class Checkpoints:
    """The checkpoints of one job, in a folder within that of its results.

    Attributes:
        folder: its path.
    """

    def __init__(self, comm: MPI.Comm, out: Path, fingerprint: str):
        """Take what an earlier run of the same fingerprint left, or begin anew. Collective."""
        self._comm, self.folder = comm, out / FOLDER
        run_on_each(comm, lambda: self._prepare(fingerprint) if comm.rank == 0 else None)

    def _prepare(self, fingerprint: str) -> None:
        path = self.folder / _FINGERPRINT
        if self.folder.exists():
            if path.is_file() and path.read_text(encoding="ascii") == fingerprint:
                return
            _log.info(f"{self.folder} is of other data or code: deleted, starting anew")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        write_atomically(path, fingerprint)

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """Return what was saved under a name, or None. Not collective.

        Raises:
            InputError: the file is damaged.
        """
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (BadZipFile, EOFError, ValueError, zlib.error) as error:
            raise InputError(f"is damaged: {error}", path=path, remedy=f"delete {self.folder} and run again") from None

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Save arrays under a name; the file appears when it is whole. Not collective."""
        with replace_when_done(self.folder / f"{name}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def have_all(self, names: list[str], files: Sequence[str] = ()) -> bool:
        """Return whether every name of all ranks was saved, and these files lie beside them. Collective."""
        paths = [*(f"{name}.npz" for name in names), *files]
        return bool(self._comm.allreduce(all((self.folder / path).exists() for path in paths), op=MPI.LAND))

    def remove(self) -> None:
        """Delete all: the results are whole. Collective."""
        self._comm.Barrier()
        if self._comm.rank == 0:
            shutil.rmtree(self.folder)
