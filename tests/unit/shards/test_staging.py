"""Staging: what stands in the target is whole, and stands only when it is."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from readclade.errors import InputError, ReadcladeError, StorageError
from readclade.shards import staging
from readclade.shards.manifest import read_manifest
from readclade.shards.staging import stage_shards
from readclade.storage import locations, s3, s3_reader

DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "staged/sample"


def damage(path: Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def get_work(out: Path) -> Path:
    """Return the hidden folder that shards are gathered in."""
    return out.with_name(f".{out.name}.incomplete")


def get_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def assert_staged(source: Path, out: Path):
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in source.parent.iterdir())
    for path in out.iterdir():
        assert path.read_bytes() == (source.parent / path.name).read_bytes()


@pytest.mark.parametrize("streams", [1, 3, 9])
def test_stage_shards_copies_shards_and_manifest(source, out, streams, lines):
    manifest = stage_shards(source, out, streams=streams)
    assert manifest == read_manifest(out / "manifest.json") == read_manifest(source)
    assert_staged(source, out)
    assert lines[0] == "0 of 4 shards are there already"
    assert len(lines) == 5


def test_stage_shards_file_of_several_blocks(source, out, monkeypatch):
    monkeypatch.setattr(locations, "_COPY_BYTES", 1000)
    monkeypatch.setattr(locations, "_FLUSH_BYTES", 2500)
    stage_shards(source, out)
    assert_staged(source, out)


def test_stage_shards_second_run_copies_no_shard(source, out, lines):
    stage_shards(source, out)
    before = get_times(out)
    lines.clear()
    stage_shards(source, out)
    after = get_times(out)
    del before["manifest.json"], after["manifest.json"]
    assert after == before
    assert lines == ["4 of 4 shards are there already"]


def test_stage_shards_resumes_with_what_is_missing_or_damaged(source, out, lines):
    stage_shards(source, out)
    (out / "shard-00001.parquet").unlink()
    damage(out / "shard-00002.parquet")
    before = get_times(out)
    lines.clear()
    stage_shards(source, out, streams=2)
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
        stage_shards(source, out, streams=2)
    error = caught.value
    assert error.path == str(source)
    assert "2 of 4 shards cannot be staged" in error.message
    assert "shard-00001.parquet does not exist; shard-00003.parquet has the checksum" in error.message
    assert "shard-00000" not in error.message
    assert "delete these shards and run the workflow again" in error.remedy
    # What is whole is kept for the next run, where nobody takes it for all; nothing stands under a temporary name.
    assert not out.exists()
    assert sorted(path.name for path in get_work(out).iterdir()) == ["shard-00000.parquet", "shard-00002.parquet"]


def test_stage_shards_truncated_source_is_named(source, out):
    path = source.parent / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"1 of 4 shards .*shard-00000\.parquet has the checksum"):
        stage_shards(source, out)
    assert "shard-00000.parquet" not in get_times(get_work(out))


def test_stage_shards_failure_leaves_no_older_folder(source, out):
    stage_shards(source, out)
    damage(out / "shard-00002.parquet")
    damage(source.parent / "shard-00002.parquet")
    with pytest.raises(InputError, match=r"shard-00002\.parquet"):
        stage_shards(source, out)
    assert not out.exists()


def test_stage_shards_passing_fault_is_tried_again(source, out, monkeypatch):
    copy, failed = staging.download_file, []

    def copy_badly_once(location, path, sha256):
        if path.name == "shard-00001.parquet" and not failed:
            failed.append(location)
            sha256 = "0" * 64
        return copy(location, path, sha256)

    monkeypatch.setattr(staging, "download_file", copy_badly_once)
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
    assert str(out.parent) in caught.value.message
    assert "free some space" in caught.value.remedy
    assert not out.exists()
    assert list(get_work(out).iterdir()) == []


def test_stage_shards_space_is_asked_only_for_what_is_missing(source, out, monkeypatch):
    stage_shards(source, out)
    (out / "shard-00001.parquet").unlink()
    size = (source.parent / "shard-00001.parquet").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(0, 0, size))
    stage_shards(source, out)
    assert_staged(source, out)


def test_stage_shards_folder_appears_when_all_is_there(source, out, monkeypatch):
    rename, seen = Path.rename, []

    def watch(path, target):
        seen.append((out.exists(), sorted(path.name for path in path.iterdir())))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watch)
    stage_shards(source, out, streams=2)
    assert seen == [(False, ["manifest.json", *(f"shard-{number:05d}.parquet" for number in range(4))])]


def test_stage_shards_goes_on_from_what_an_interrupted_run_left(source, out, lines):
    work = get_work(out)
    work.mkdir(parents=True)
    for number in (0, 2):
        shutil.copyfile(source.parent / f"shard-{number:05d}.parquet", work / f"shard-{number:05d}.parquet")
    damage(work / "shard-00002.parquet")
    (work / ".shard-00003.parquet.1.tmp").write_bytes(b"half")
    before = get_times(work)["shard-00000.parquet"]
    lines.clear()
    stage_shards(source, out)
    assert_staged(source, out)
    assert get_times(out)["shard-00000.parquet"] == before
    assert lines[0] == "1 of 4 shards are there already"
    assert not work.exists()


def test_stage_shards_manifest_that_cannot_be_used_is_refused_first(source, out):
    value = json.loads(source.read_text())
    value["shards"][2]["first_fragment"] = 21
    source.write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"shard-00002\.parquet begins with fragment 21, expected 20"):
        stage_shards(source, out)
    assert not out.exists()


# From S3


@pytest.fixture
def remote(source, bucket, tmp_path) -> Path:
    """Return the same manifest, whose shards are in a bucket."""
    manifest = read_manifest(source)
    for shard in manifest.shards:
        locations.upload_file(source.parent / shard.file, f"{bucket}/sample/{shard.file}")
    path = tmp_path / "remote/manifest.json"
    path.parent.mkdir()
    replace(manifest, location=f"{bucket}/sample").write(path)
    return path


def test_stage_shards_from_s3_asks_once_for_each_shard(remote, source, out, monkeypatch):
    asked, call = [], s3.call

    def note(operation, url, *arguments, **options):
        asked.append((operation, url.rsplit("/", 1)[1]))
        return call(operation, url, *arguments, **options)

    monkeypatch.setattr(s3, "call", note)
    monkeypatch.setattr(s3_reader, "call", note)
    stage_shards(remote, out, streams=3)
    assert_staged(source, out)
    assert sorted(asked) == [("get_object", f"shard-{number:05d}.parquet") for number in range(4)]


def test_stage_shards_from_s3_names_missing_and_damaged_objects(remote, bucket, out):
    locations.delete(f"{bucket}/sample/shard-00001.parquet")
    locations.write_bytes(f"{bucket}/sample/shard-00003.parquet", b"something else")
    with pytest.raises(InputError, match="2 of 4 shards cannot be staged") as caught:
        stage_shards(remote, out, streams=2)
    assert "shard-00001.parquet does not exist; shard-00003.parquet has the checksum" in caught.value.message
    assert sorted(path.name for path in get_work(out).iterdir()) == ["shard-00000.parquet", "shard-00002.parquet"]


def test_stage_shards_store_that_fails_is_no_fault_of_the_shards(remote, out, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("READCLADE_S3_PATIENCE_S", "1")
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        stage_shards(remote, out)
    assert "check the network" in caught.value.remedy
    assert not out.exists()


# In place


def test_in_place_links_to_verified_shards(source, out, tmp_path):
    stage_shards(source, out, "in-place", streams=3)
    assert_staged(source, out)
    assert all((out / name).is_symlink() for name in get_times(out) if name != "manifest.json")
    # The links are relative: the folder may move as a whole.
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} moved"))
    moved = tmp_path.with_name(f"{tmp_path.name} moved")
    assert (moved / "staged/sample/shard-00000.parquet").stat().st_size > 0
    moved.rename(tmp_path)


def test_in_place_after_a_copy_and_a_copy_after_it(source, out):
    for way in ("copy", "in-place", "copy"):
        stage_shards(source, out, way)
        assert_staged(source, out)
        assert (out / "shard-00000.parquet").is_symlink() == (way == "in-place")
    assert not any(path.is_symlink() for path in source.parent.iterdir())


def test_in_place_names_every_shard_that_is_not_as_the_manifest_says(source, out):
    damage(source.parent / "shard-00000.parquet")
    (source.parent / "shard-00001.parquet").unlink()
    path = source.parent / "shard-00003.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="3 of 4 shards") as caught:
        stage_shards(source, out, "in-place")
    for text in ("00000.parquet has another checksum", "00001.parquet is missing", "00003.parquet has"):
        assert text in caught.value.message
    assert not out.exists()
