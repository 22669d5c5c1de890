"""What the cluster's nodes install: packed the same each time, checked before it is used, and whole or not there."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from infra.pcluster.software import PARTS, SCRIPTS, pack_workflow, write_code

ROOT = Path(__file__).parents[2]
PCLUSTER = ROOT / "infra/pcluster"

# Stands in for what a machine without AWS lacks: a bucket in a folder, a parameter in a file, a mounted file system.
STUBS = {
    "aws": """
        shift_options() { while [ "${1#--}" != "$1" ]; do shift; done; echo "$@"; }
        case "$1 $2" in
            "ssm get-parameter") cat "$TEST_PARAMETER" ;;
            "s3 cp") shift 2; set -- $(shift_options "$@"); cp "$TEST_BUCKET/${1#s3://code/}" "$2" ;;
            "s3 sync") ;;
            *) exit 64 ;;
        esac""",
    "mountpoint": 'test -d "$2"',
    "dnf": "true",
    "chown": "true",
    "curl": 'echo "curl: could not resolve host" >&2; exit 6',
    "make": 'echo "$@" >> "$TEST_LOG"; test ! -f "$TEST_BUCKET/make-fails" && mkdir -p "$2/.venv/bin"',
}


class Machine:
    """A head node to be: a file system for all nodes, a bucket, and the commands of a node."""

    def __init__(self, root: Path) -> None:
        self.bucket, self.fsx, self.log = root / "code", root / "fsx", root / "make.log"
        self.parameter, self.profile = root / "parameter", root / "readclade.sh"
        commands = root / "bin"
        for folder in (self.bucket, self.fsx, commands):
            folder.mkdir()
        for name, text in STUBS.items():
            (commands / name).write_text(f"#!/bin/sh\n{text}\n")
            (commands / name).chmod(0o755)
        self.environment = {
            "PATH": f"{commands}:/usr/bin:/bin",
            "TEST_BUCKET": str(self.bucket),
            "TEST_PARAMETER": str(self.parameter),
            "TEST_LOG": str(self.log),
            "READCLADE_HOME": str(self.fsx / "readclade"),
            "READCLADE_PROFILE": str(self.profile),
        }
        (archive,) = [path for path in write_code(root) if path.parent.name == "workflow"]
        self.sha256 = archive.name.removesuffix(".tar.gz")
        self.parameter.write_text(self.sha256 + "\n")
        # An installer whose checksum the script knows cannot be had here, so the copy that runs knows this one's.
        installer = b'#!/bin/sh\nmkdir -p "$3/bin"; touch "$3/bin/conda"; chmod +x "$3/bin/conda"\n'
        text = (PCLUSTER / "install_workflow.sh").read_text()
        (name,) = [line.split("=")[1] for line in text.splitlines() if line.startswith("miniforge=")]
        (known,) = [line.split("=")[1] for line in text.splitlines() if line.startswith("miniforge_sha256=")]
        self.script = root / "install_workflow.sh"
        self.script.write_text(text.replace(known, hashlib.sha256(installer).hexdigest()))
        self.installer = self.bucket / "software" / name
        self.installer.parent.mkdir()
        self.installer.write_bytes(installer)

    def install(self) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", self.script, "code", "/readclade/workflow"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def release(self) -> Path:
        return self.fsx / "readclade/releases" / self.sha256


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def test_workflow_is_packed_the_same_each_time(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_code(folder)
    listings = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert listings[0] == listings[1]
    assert len(listings[0]) == 2 + len(SCRIPTS)


def test_archive_holds_the_workflow_and_nothing_else():
    with tarfile.open(fileobj=io.BytesIO(pack_workflow())) as archive:
        entries = archive.getmembers()
    names = [entry.name for entry in entries]
    assert {"Snakefile", "Makefile", "requirements/run.txt", "scripts/cluster_fragments.py"} <= set(names)
    assert all(any(name == part or name.startswith(part + "/") for part in PARTS) for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "demo", ".venv"))]
    assert all(entry.isfile() and (entry.uid, entry.uname, entry.mtime) == (0, "", 0) for entry in entries)


def test_packed_workflow_runs(tmp_path):
    # Not by `tarfile`, whose filter Python has from 3.11.4 on only.
    subprocess.run(["tar", "--extract", "--gzip", "-C", tmp_path], input=pack_workflow(), check=True, timeout=60)
    done = subprocess.run(
        ["make", "--directory", tmp_path, "--dry-run", "install"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "requirements/run.txt" in done.stdout
    script = [sys.executable, "-m", "py_compile", *map(str, (tmp_path / "scripts").glob("*.py"))]
    subprocess.run(script, check=True, timeout=60)


def test_parameters_name_the_archive_that_is_uploaded(templates, tmp_path):
    (archive,) = [path for path in write_code(tmp_path) if path.parent.name == "workflow"]
    parameters = json.loads((tmp_path / "pcluster.parameters.json").read_text())["Parameters"]
    required = {name for name, entry in templates["pcluster"]["Parameters"].items() if "Default" not in entry}
    assert set(parameters) == required
    checksum = parameters["WorkflowSha256"]
    assert archive.name == f"{checksum}.tar.gz"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == checksum


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_well_formed(script):
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, PCLUSTER / script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_install_twice(machine):
    first = machine.install()
    assert first.returncode == 0, first.stderr
    home = machine.fsx / "readclade"
    assert (home / "workflow").resolve() == machine.release
    assert (home / "workflow/Snakefile").read_bytes() == (ROOT / "Snakefile").read_bytes()
    assert (machine.release / ".installed").exists()
    assert str(home / "workflow/.venv/bin") in machine.profile.read_text()
    assert machine.install().returncode == 0
    # The second time everything was there.
    assert len(machine.log.read_text().splitlines()) == 1


def test_install_refuses_a_changed_archive(machine):
    archive = machine.bucket / f"workflow/{machine.sha256}.tar.gz"
    archive.write_bytes(archive.read_bytes() + b"\0")
    done = machine.install()
    assert done.returncode == 1
    assert f"does not have the SHA-256 {machine.sha256}; nothing was installed" in done.stderr
    assert not machine.release.exists()
    assert not (machine.fsx / "readclade/workflow").exists()


def test_install_refuses_a_changed_installer_of_conda(machine):
    machine.installer.write_bytes(b"#!/bin/sh\necho evil\n")
    done = machine.install()
    assert done.returncode == 1
    assert "does not have the SHA-256" in done.stderr
    assert not (machine.fsx / "readclade/conda-base").exists()


@pytest.mark.parametrize("value", ["", "latest", "../" * 21 + "x", "0" * 63], ids=["empty", "word", "path", "short"])
def test_install_refuses_what_is_no_checksum(machine, value):
    machine.parameter.write_text(value + "\n")
    done = machine.install()
    assert done.returncode == 1
    assert "the parameter /readclade/workflow holds no SHA-256" in done.stderr


def test_install_refuses_a_file_system_that_is_not_mounted(machine):
    shutil.rmtree(machine.fsx)
    done = machine.install()
    assert done.returncode == 1
    assert "is not mounted" in done.stderr


def test_install_goes_on_after_packages_failed(machine):
    (machine.bucket / "make-fails").touch()
    done = machine.install()
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert not (machine.fsx / "readclade/workflow").exists()
    (machine.bucket / "make-fails").unlink()
    assert machine.install().returncode == 0


def test_install_replaces_the_workflow_at_an_update(machine):
    assert machine.install().returncode == 0
    newer = (machine.bucket / f"workflow/{machine.sha256}.tar.gz").read_bytes()
    other = hashlib.sha256(newer + b"\0" * 512).hexdigest()
    (machine.bucket / f"workflow/{other}.tar.gz").write_bytes(newer + b"\0" * 512)
    machine.parameter.write_text(other)
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert (machine.fsx / "readclade/workflow").resolve().name == other
    # The older release stays for jobs that still run from it.
    assert machine.release.exists()


def test_miniforge_is_new_enough_for_snakemake():
    # Snakemake needs conda 24.7.1; Miniforge is versioned like the conda in it.
    text = (PCLUSTER / "install_workflow.sh").read_text()
    (version,) = [line.split("-")[1] for line in text.splitlines() if line.startswith("miniforge=")]
    assert tuple(map(int, version.split("."))) >= (24, 7, 1)


def test_check_node_refuses_a_node_without_the_file_system():
    done = subprocess.run(["bash", PCLUSTER / "check_node.sh", "gpu"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "check_node: /fsx is not mounted" in done.stderr
