"""The results arrive whole, only what is not there is sent, and the receipt comes last."""

import json
from pathlib import Path

import pytest

from readclade.errors import InputError
from readclade.storage import locations
from readclade.storage.files import hash_file
from readclade.storage.syncing import sync_results


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "results"
    (folder / "pairs/cluster").mkdir(parents=True)
    (folder / "report.html").write_text("<html></html>")
    (folder / "pairs/cluster/clusters.h5").write_bytes(bytes(100_000))
    (folder / "pairs/empty.tsv").write_bytes(b"")
    (folder / ".report.html.1.tmp").write_text("half")
    return folder


@pytest.fixture(params=["folder", "s3"])
def target(request, tmp_path) -> str:
    return str(tmp_path / "target") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/results"


@pytest.fixture
def sync(lines):
    """Return a function that copies, and returns what was logged."""

    def sync(results: Path, target: str) -> str:
        sync_results(results, target, results.parent / "receipt.json", 2)
        return lines[-1]

    return sync


def test_all_files_arrive_and_the_receipt_lists_them(results, target, sync):
    assert sync(results, target).startswith("3 of 3 files copied")
    receipt = json.loads((results.parent / "receipt.json").read_text())
    assert json.loads(locations.read_bytes(locations.join(target, "receipt.json"))) == receipt
    assert receipt["target"] == target
    names = ["pairs/cluster/clusters.h5", "pairs/empty.tsv", "report.html"]
    assert [file["path"] for file in receipt["files"]] == names
    for file in receipt["files"]:
        assert file["sha256"] == hash_file(results / file["path"])
        assert locations.read_bytes(locations.join(target, file["path"])) == (results / file["path"]).read_bytes()
    assert locations.find(locations.join(target, ".report.html.1.tmp")) is None


def test_only_what_is_not_there_is_copied(results, target, sync):
    sync(results, target)
    assert sync(results, target).startswith("0 of 3 files copied")
    (results / "report.html").write_text("<HTML></HTML>")  # as many bytes as before
    assert sync(results, target).startswith("1 of 3 files copied")
    assert locations.read_bytes(locations.join(target, "report.html")) == b"<HTML></HTML>"


def test_file_that_somebody_wrote_over_is_copied_again(results, target, sync):
    sync(results, target)
    locations.write_bytes(locations.join(target, "report.html"), b"<html>other</")
    assert sync(results, target).startswith("1 of 3 files copied")
    assert locations.read_bytes(locations.join(target, "report.html")) == b"<html></html>"


def test_target_that_cannot_be_written_leaves_no_receipt(results, bucket, sync):
    with pytest.raises(InputError, match="no-such-bucket"):
        sync(results, "s3://no-such-bucket/results")
    assert not (results.parent / "receipt.json").exists()


def test_empty_folder_is_an_error(tmp_path, sync):
    (tmp_path / "results").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        sync(tmp_path / "results", str(tmp_path / "target"))
