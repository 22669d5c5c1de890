"""Pack what the Slurm cluster's nodes take from the bucket for code: the workflow and the scripts they start with."""

import gzip
import io
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path

from infra.template import ROOT

# What a run needs; no data, tests or environments.
PARTS = [
    "Makefile",
    "README.md",
    "Snakefile",
    "config",
    "envs",
    "infra/scaling",
    "profiles",
    "requirements",
    "rules",
    "scripts",
    "src",
]
SCRIPTS = ["install_workflow.sh", "check_node.sh"]


def pack_workflow() -> bytes:
    """Return the workflow as a .tar.gz that is the same for the same files, whoever packs it and whenever."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for path in sorted(_list_files()):
            entry = tarfile.TarInfo(str(path.relative_to(ROOT)))
            entry.size = path.stat().st_size
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return packed.getvalue()


def write_code(folder: Path) -> list[Path]:
    """Write what belongs into the bucket for code, under the names that it has there, and return the paths.

    Args:
        folder: whose contents are made anew.
    """
    shutil.rmtree(folder, ignore_errors=True)
    workflow = pack_workflow()
    files = {f"workflow/{sha256(workflow).hexdigest()}.tar.gz": workflow}
    files |= {f"pcluster/{name}": (ROOT / "infra/pcluster" / name).read_bytes() for name in SCRIPTS}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _list_files() -> list[Path]:
    found = [path for part in PARTS for path in [ROOT / part, *(ROOT / part).rglob("*")] if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"]
