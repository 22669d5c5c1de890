"""Staging: what stands in the target is whole, and stands only when it is."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from readclade import staging
from readclade.errors import InputError, ReadcladeError
from readclade.files import hash_file
from readclade.manifest import Manifest, Shard, read_manifest
from readclade.staging import stage_shards

DiskUsage = namedtuple("DiskUsage", "total used free")
PROJECTION = {
    "method": "principal-directions",
    "mean": {"shape": [2], "float32": "AAAAAAAAAAA="},
    "components": {"shape": [2, 1], "float32": "AAAAAAAAAAA="},
}
EMBEDDER = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": PROJECTION}


@pytest.fixture
def source(tmp_path, repository) -> Path:
    """Return the manifest of four shards; for a copy any bytes will do, here those of real genomes."""
    folder = tmp_path / "shards"
    folder.mkdir()
    shards = []
    for number, genome in enumerate(sorted((repository / "demo/genomes").iterdir())[:4]):
        path = folder / f"shard-{number:05d}.parquet"
        shutil.copyfile(genome, path)
        shards.append(Shard(path.name, 10, 1000, path.stat().st_size, hash_file(path), 10 * number))
    Manifest("sample", "illumina", EMBEDDER, 1, "c" * 64, tuple(shards)).write(folder / "manifest.json")
    return folder / "manifest.json"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "staged/sample"


def damage(path: Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def get_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def assert_staged(source: Path, out: Path):
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in source.parent.iterdir())
    for path in out.iterdir():
        assert path.read_bytes() == (source.parent / path.name).read_bytes()


@pytest.mark.parametrize("streams", [1, 3, 9])
def test_stage_shards_copies_shards_and_manifest(source, out, streams):
    lines = []
    manifest = stage_shards(source, out, streams, lines.append)
    assert manifest == read_manifest(out / "manifest.json") == read_manifest(source)
    assert_staged(source, out)
    assert lines[0] == "0 of 4 shards are there already"
    assert len(lines) == 5


def test_stage_shards_file_of_several_blocks(source, out, monkeypatch):
    monkeypatch.setattr(staging, "_BLOCK_BYTES", 1000)
    stage_shards(source, out)
    assert_staged(source, out)


def test_stage_shards_second_run_copies_no_shard(source, out):
    stage_shards(source, out)
    before = get_times(out)
    lines = []
    stage_shards(source, out, report=lines.append)
    after = get_times(out)
    del before["manifest.json"], after["manifest.json"]
    assert after == before
    assert lines == ["4 of 4 shards are there already"]


def test_stage_shards_resumes_with_what_is_missing_or_damaged(source, out):
    stage_shards(source, out)
    (out / "shard-00001.parquet").unlink()
    damage(out / "shard-00002.parquet")
    before = get_times(out)
    lines = []
    stage_shards(source, out, 2, lines.append)
    assert_staged(source, out)
    after = get_times(out)
    assert {name for name in ("shard-00000.parquet", "shard-00003.parquet") if before[name] == after[name]} == {
        "shard-00000.parquet",
        "shard-00003.parquet",
    }
    assert before["shard-00002.parquet"] != after["shard-00002.parquet"]
    assert lines[0] == "2 of 4 shards are there already"


def test_stage_shards_damaged_and_missing_sources_are_all_named(source, out):
    damage(source.parent / "shard-00003.parquet")
    (source.parent / "shard-00001.parquet").unlink()
    with pytest.raises(InputError) as caught:
        stage_shards(source, out, 2)
    error = caught.value
    assert error.path == str(source)
    assert "2 of 4 shards cannot be staged" in error.message
    assert "shard-00001.parquet is missing; shard-00003.parquet has the checksum" in error.message
    assert "shard-00000" not in error.message
    assert "delete these shards and run the workflow again" in error.remedy
    # What is whole is kept for the next run; there is no manifest, and nothing under a temporary name.
    assert sorted(path.name for path in out.iterdir()) == ["shard-00000.parquet", "shard-00002.parquet"]


def test_stage_shards_truncated_source_is_named(source, out):
    path = source.parent / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"1 of 4 shards .*shard-00000\.parquet has the checksum"):
        stage_shards(source, out)
    assert "shard-00000.parquet" not in get_times(out)


def test_stage_shards_failure_removes_an_older_manifest(source, out):
    stage_shards(source, out)
    damage(out / "shard-00002.parquet")
    damage(source.parent / "shard-00002.parquet")
    with pytest.raises(InputError, match=r"shard-00002\.parquet"):
        stage_shards(source, out)
    assert not (out / "manifest.json").exists()


def test_stage_shards_passing_fault_is_tried_again(source, out, monkeypatch):
    copy, failed = staging._copy_and_hash, []

    def copy_badly_once(source, target):
        checksum = copy(source, target)
        if source.name == "shard-00001.parquet" and not failed:
            failed.append(source)
            return "0" * 64
        return checksum

    monkeypatch.setattr(staging, "_copy_and_hash", copy_badly_once)
    stage_shards(source, out)
    assert failed
    assert_staged(source, out)


def test_stage_shards_removes_shards_that_are_not_in_the_manifest(source, out):
    stage_shards(source, out)
    manifest = read_manifest(source)
    (source.parent / "shard-00003.parquet").unlink()
    replace(manifest, shards=manifest.shards[:3]).write(source)
    stage_shards(source, out)
    assert_staged(source, out)
    assert len(list(out.glob("*.parquet"))) == 3


def test_stage_shards_full_disk_is_refused_with_the_numbers(source, out, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(0, 0, 1000))
    with pytest.raises(ReadcladeError, match=r"has 0\.0 GB free, but the shards need 0\.\d GB") as caught:
        stage_shards(source, out)
    assert str(out) in caught.value.message
    assert "free some space" in caught.value.remedy
    assert list(out.iterdir()) == []


def test_stage_shards_space_is_asked_only_for_what_is_missing(source, out, monkeypatch):
    stage_shards(source, out)
    (out / "shard-00001.parquet").unlink()
    size = (source.parent / "shard-00001.parquet").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(0, 0, size))
    stage_shards(source, out)
    assert_staged(source, out)


def test_stage_shards_manifest_is_copied_last(source, out, monkeypatch):
    copy, seen = shutil.copyfile, []

    def copy_manifest(source, target):
        seen.append(sorted(path.name for path in out.iterdir()))
        return copy(source, target)

    monkeypatch.setattr(staging.shutil, "copyfile", copy_manifest)
    stage_shards(source, out, 2)
    assert seen == [[f"shard-{number:05d}.parquet" for number in range(4)]]


def test_stage_shards_manifest_that_cannot_be_used_is_refused_first(source, out):
    value = json.loads(source.read_text())
    value["shards"][2]["first_fragment"] = 21
    source.write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"shard-00002\.parquet begins with fragment 21, expected 20"):
        stage_shards(source, out)
    assert not out.exists()
