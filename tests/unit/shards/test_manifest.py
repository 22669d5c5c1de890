"""The manifest: written and read back, and refused where it does not describe shards."""

import json

import jsonschema
import pytest
import yaml

from readclade.errors import InputError
from readclade.shards.manifest import Manifest, Shard, read_manifest
from readclade.storage.files import hash_file

PROJECTION = {
    "method": "principal-directions",
    "mean": {"shape": [2], "float32": "AAAAAAAAAAA="},
    "components": {"shape": [2, 1], "float32": "AAAAAAAAAAA="},
}
EMBEDDER = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": PROJECTION}


def make_manifest() -> Manifest:
    shards = (
        Shard("shard-00000.parquet", 7, 1050, 4000, "a" * 64, 0),
        Shard("shard-00001.parquet", 3, 450, 2000, "b" * 64, 7),
    )
    return Manifest("sample", "illumina", EMBEDDER, 1, "c" * 64, shards)


def test_manifest_counts_what_its_shards_hold():
    assert (make_manifest().fragments, make_manifest().bases) == (10, 1500)


def test_read_manifest_gives_what_was_written(tmp_path, repository):
    path = tmp_path / "new/manifest.json"
    make_manifest().write(path)
    assert read_manifest(path) == make_manifest()
    assert list(path.parent.iterdir()) == [path]
    schema = yaml.safe_load((repository / "config/schemas/manifest.schema.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))


def assert_refused(path, message: str, remedy: str):
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert caught.value.path == str(path)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_read_manifest_missing_is_refused(tmp_path):
    assert_refused(tmp_path / "manifest.json", "No such file", "run `embed` for this sample")


@pytest.mark.parametrize("data", [b"", b"{", b'{"sample": "a"', b"PAR1", b"\xff\xfe"])
def test_read_manifest_not_json_is_refused(tmp_path, data):
    path = tmp_path / "manifest.json"
    path.write_bytes(data)
    assert_refused(path, "is not JSON", "delete it and run `embed` again")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.pop("sample"), "'sample' is a required property"),
        (lambda value: value.update(more=1), "'more' was unexpected"),
        (lambda value: value.update(platform="sanger"), "$.platform"),
        (lambda value: value.update(d=0), "$.d"),
        (lambda value: value.update(d=1.0), "$.d"),
        (lambda value: value.update(fingerprint="x"), "$.fingerprint"),
        (lambda value: value["embedder"].pop("projection"), "'projection' is a required property"),
        (lambda value: value["embedder"]["projection"].pop("mean"), "'mean' is a required property"),
        (lambda value: value["shards"][1].pop("sha256"), "$.shards[1]"),
        (lambda value: value["shards"][1].update(sha256="B" * 64), "$.shards[1].sha256"),
        (lambda value: value["shards"][0].update(rows="7"), "$.shards[0].rows"),
        (lambda value: value["shards"][0].update(rows=True), "$.shards[0].rows"),
        (lambda value: value["shards"][0].update(bytes=-1), "$.shards[0].bytes"),
        (lambda value: value["shards"][0].update(file="../shard-00000.parquet"), "$.shards[0].file"),
        (lambda value: value["shards"][0].update(file="/etc/a.parquet"), "$.shards[0].file"),
    ],
)
def test_read_manifest_against_the_schema_is_refused(tmp_path, change, message):
    path = tmp_path / "manifest.json"
    value = json.loads(make_manifest().to_json())
    change(value)
    path.write_text(json.dumps(value))
    assert_refused(path, message, "give a manifest.json that `embed` wrote")
    assert_refused(path, "is no manifest of shards", "run `embed` again")


@pytest.mark.parametrize("value", [[], "text", None, 1])
def test_read_manifest_other_json_is_refused(tmp_path, value):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(value))
    assert_refused(path, "is no manifest of shards", "give a manifest.json")


@pytest.mark.parametrize(("first", "expected"), [(8, "7"), (6, "7"), (0, "7")])
def test_read_manifest_gap_or_overlap_is_refused(tmp_path, first, expected):
    path = tmp_path / "manifest.json"
    value = json.loads(make_manifest().to_json())
    value["shards"][1]["first_fragment"] = first
    path.write_text(json.dumps(value))
    message = f"shard-00001.parquet begins with fragment {first}, expected {expected}"
    assert_refused(path, message, "run `embed` again")


def test_read_manifest_shards_out_of_order_are_refused(tmp_path):
    path = tmp_path / "manifest.json"
    value = json.loads(make_manifest().to_json())
    value["shards"] = value["shards"][::-1]
    path.write_text(json.dumps(value))
    assert_refused(path, "shard-00001.parquet begins with fragment 7, expected 0", "run `embed` again")


def test_shard_is_complete_and_intact(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"12345")
    shard = Shard("a.parquet", 1, 1, 5, hash_file(path), 0)
    assert shard.is_complete(tmp_path)
    assert shard.is_intact(tmp_path)
    path.write_bytes(b"12346")
    assert shard.is_complete(tmp_path)
    assert not shard.is_intact(tmp_path)
    path.write_bytes(b"1234")
    assert not shard.is_complete(tmp_path)
    path.unlink()
    assert not shard.is_complete(tmp_path)
    assert not shard.is_intact(tmp_path)
    path.mkdir()
    assert not shard.is_complete(tmp_path)
