"""Files that exist whole or not at all."""

import hashlib

import pytest

from readclade.storage.files import hash_file, remove_leftovers, replace_when_done, write_atomically


def test_replace_when_done_success_leaves_only_the_file(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    with replace_when_done(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_replace_when_done_failure_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with replace_when_done(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_when_done_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replace_when_done(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_write_atomically_replaces_the_text(tmp_path):
    path = tmp_path / "file"
    for text in ("a longer text: ångström\n", "short\n"):
        write_atomically(path, text)
        assert path.read_bytes() == text.encode("utf-8")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(256)) * 5000])
def test_hash_file_equals_sha256_of_its_bytes(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert hash_file(path) == hashlib.sha256(data).hexdigest()


def test_remove_leftovers_removes_what_a_killed_process_left(tmp_path):
    (tmp_path / ".shard-00000.parquet.123.tmp").write_text("half")
    (tmp_path / "shard-00000.parquet").write_text("whole")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00000.parquet"]
