"""Lustre's data repository. No Lustre runs here: a small `lfs` answers in the format of Lustre 2.15's own.

Its files start as released, and each is loaded a little after it was asked for.
"""

import json
import os
import stat
from pathlib import Path

import pytest

from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.shards import lustre
from readclade.shards.lustre import DataRepository, restore_files
from readclade.shards.manifest import read_manifest
from readclade.shards.staging import stage_shards

LFS = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path

state = Path(__file__).with_name("state.json")
files = json.loads(state.read_text())
command, *paths = sys.argv[1:]
if command == "hsm_restore":
    if os.environ.get("LFS_REFUSES"):
        sys.exit("Cannot send HSM request (use of " + paths[0] + "): Operation not permitted")
    for path in paths:
        files[path]["asked"] = True
elif command == "hsm_state":
    loading = [path for path in files if files[path]["asked"] and files[path]["bits"] == 0x0D]
    for path in loading[:1]:
        files[path]["bits"] = 0x09
    names = {1: "exists", 4: "released", 8: "archived", 64: "lost_from_hsm"}
    for path in paths:
        bits = files[path]["bits"]
        words = "".join(f" {names[bit]}" for bit in (4, 1, 8, 64) if bits & bit)
        print(f"{path}: (0x{bits:08x}){words}, archive_id:1")
state.write_text(json.dumps(files))
"""


@pytest.fixture
def lustre_folder(tmp_path, source, monkeypatch) -> Path:
    """Return the folder that shows the bucket's shards, all released, with `lfs` on the path."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "lfs").write_text(LFS)
    (programs / "lfs").chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(lustre, "_POLL_SECONDS", 0.01)
    folder = source.parent
    set_bits(tmp_path, dict.fromkeys(folder.glob("*.parquet"), 0x0D))
    return folder


def set_bits(tmp_path: Path, bits: dict[Path, int]):
    state = {str(path): {"bits": value, "asked": False} for path, value in bits.items()}
    (tmp_path / "programs/state.json").write_text(json.dumps(state))


def get_bits(tmp_path: Path) -> set[int]:
    return {file["bits"] for file in json.loads((tmp_path / "programs/state.json").read_text()).values()}


def get_sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in sorted(folder.glob("*.parquet"))}


def test_parse_and_find_folder():
    repository = DataRepository.parse("s3://bucket/shards/=/fsx/data")
    assert repository.find_folder("s3://bucket/shards/gut") == Path("/fsx/data/gut")
    assert repository.find_folder("s3://bucket/shards") == Path("/fsx/data")


@pytest.mark.parametrize("text", ["none", "", "s3://bucket", "/fsx=s3://bucket", "s3://bucket=fsx"])
def test_parse_other_forms_are_refused(text):
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        DataRepository.parse(text)
    assert "s3://BUCKET/PREFIX=/FOLDER" in caught.value.remedy


@pytest.mark.parametrize("location", ["s3://bucket/shards-2/gut", "s3://other/shards/gut", "/disk/shards"])
def test_find_folder_elsewhere_is_refused(location):
    with pytest.raises(ConfigError, match="not below"):
        DataRepository.parse("s3://bucket/shards=/fsx/data").find_folder(location)


def test_restore_loads_all_and_tells_of_its_progress(lustre_folder, tmp_path, lines):
    restore_files(get_sizes(lustre_folder))
    assert get_bits(tmp_path) == {0x09}
    assert [line.split()[0] for line in lines] == ["3", "2", "1", "all"]
    assert "shards to load: 0.1 of 0.2 MB are there" in lines[0]
    lines.clear()
    restore_files(get_sizes(lustre_folder))
    assert lines == ["4 of 4 shards are loaded already"]


def test_import_stages_links_into_lustre(lustre_folder, source, tmp_path):
    repository = DataRepository("s3://bucket/shards", lustre_folder)
    # Where the shards' location is the local folder, the repository is asked for that.
    repository = DataRepository(str(source.parent), lustre_folder)
    out = tmp_path / "staged/sample"
    stage_shards(source, out, "import", 2, repository)
    assert get_bits(tmp_path) == {0x09}
    assert all(shard.is_intact(out) for shard in read_manifest(out / "manifest.json").shards)
    assert (out / "shard-00000.parquet").is_symlink()


def test_import_finds_damage_that_came_with_the_data(lustre_folder, source, tmp_path):
    path = lustre_folder / "shard-00002.parquet"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(InputError, match=r"shard-00002\.parquet has another checksum"):
        stage_shards(source, tmp_path / "staged", "import", 1, DataRepository(str(source.parent), lustre_folder))


def test_restore_refused_goes_on_by_reading(lustre_folder, source, tmp_path, monkeypatch, lines):
    monkeypatch.setenv("LFS_REFUSES", "1")
    lines.clear()
    restore_files(get_sizes(lustre_folder))
    assert "refused" in lines[-1]
    assert "Operation not permitted" in lines[-1]
    stage_shards(source, tmp_path / "staged", "import", 1, DataRepository(str(source.parent), lustre_folder))


def test_restore_without_progress_is_given_up(lustre_folder, tmp_path, monkeypatch):
    # Files that are asked for stay released, as when the association was deleted.
    script = (tmp_path / "programs/lfs").read_text().replace("loading[:1]", "[]")
    (tmp_path / "programs/lfs").write_text(script)
    with pytest.raises(InputError, match=r"4 shards have not been loaded for .*shard-00000\.parquet") as caught:
        restore_files(get_sizes(lustre_folder), patience=0.2)
    assert "data-repository association" in caught.value.remedy


def test_restore_of_files_that_were_not_imported(lustre_folder):
    sizes = get_sizes(lustre_folder) | {lustre_folder / "shard-00009.parquet": 1000}
    with pytest.raises(InputError, match=r"1 shards have not been imported .*shard-00009\.parquet"):
        restore_files(sizes, patience=0.2)


def test_restore_of_a_lost_file(lustre_folder, tmp_path):
    bits = dict.fromkeys(get_sizes(lustre_folder), 0x0D)
    bits[lustre_folder / "shard-00001.parquet"] = 0x4D
    set_bits(tmp_path, bits)
    with pytest.raises(InputError, match="is lost in the data repository") as caught:
        restore_files(get_sizes(lustre_folder))
    assert caught.value.path.endswith("shard-00001.parquet")


def test_restore_elsewhere_than_on_lustre(lustre_folder, tmp_path):
    (tmp_path / "programs/lfs").write_text("#!/bin/sh\necho 'not on a Lustre file system' >&2\nexit 1\n")
    with pytest.raises(InputError, match="says nothing about it: not on a Lustre file system"):
        restore_files(get_sizes(lustre_folder))


def test_restore_without_lfs(source, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="no client of Lustre") as caught:
        restore_files(get_sizes(source.parent))
    assert "staging: copy" in caught.value.remedy


def test_restore_without_space(lustre_folder, monkeypatch):
    class Usage:
        free = 10

    monkeypatch.setattr(lustre.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(ReadcladeError, match=r"0\.0 GB free"):
        restore_files(get_sizes(lustre_folder))
