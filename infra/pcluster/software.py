"""Pack what the Slurm cluster's nodes take from the bucket for code: the workflow and the scripts they start with."""

import gzip
import io
import json
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
    "docs/captions",
    "envs",
    "infra/catalog",
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
    """Write what the bucket for code holds into `code`, and the parameter of the stack that goes with it beside that.

    Args:
        folder: in which `code` is made anew.

    Returns:
        The paths of all files.
    """
    shutil.rmtree(folder / "code", ignore_errors=True)
    workflow = pack_workflow()
    checksum = sha256(workflow).hexdigest()
    files = {f"code/workflow/{checksum}.tar.gz": workflow}
    files |= {f"code/pcluster/{name}": (ROOT / "infra/pcluster" / name).read_bytes() for name in SCRIPTS}
    # In the form that both `aws cloudformation deploy` and CodePipeline read.
    files["pcluster.parameters.json"] = json.dumps({"Parameters": {"WorkflowSha256": checksum}}).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _list_files() -> list[Path]:
    found = [path for part in PARTS for path in [ROOT / part, *(ROOT / part).rglob("*")] if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"]
