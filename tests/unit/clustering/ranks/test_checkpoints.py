"""Checkpoints on one rank; tests/mpi kills a job and goes on with them."""

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.ranks.checkpoints import FOLDER, Checkpoints
from readclade.errors import InputError


@pytest.fixture
def begin(tmp_path):
    """Return a function that begins a job of a fingerprint."""
    return lambda fingerprint="a" * 64: Checkpoints(MPI.COMM_SELF, tmp_path / "out", fingerprint)


def test_what_is_saved_is_loaded(begin, lines):
    arrays = {
        "ids": np.arange(5),
        "rates": np.array([0.5, np.nan], np.float32),
        "pairs": np.zeros((0, 2), np.int64),
        "kept": np.array([True, False]),
    }
    begin().save("links-00000", **arrays)
    loaded = begin().load("links-00000")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()
    assert lines == []


def test_have_all_wants_every_name(begin):
    checkpoints = begin()
    assert checkpoints.have_all([])
    assert not checkpoints.have_all(["a"])
    checkpoints.save("a", x=np.ones(1))
    assert checkpoints.have_all(["a"])
    assert not checkpoints.have_all(["a", "b"])


def test_what_was_not_saved_is_none(begin):
    assert begin().load("a") is None


def test_a_half_written_file_is_not_there(begin, tmp_path):
    checkpoints = begin()
    (tmp_path / "out" / FOLDER / ".a.npz.123.tmp").write_bytes(b"PK")
    assert not checkpoints.have_all(["a"])
    assert checkpoints.load("a") is None


@pytest.mark.parametrize("other", ["b" * 64, ""])
def test_checkpoints_of_another_fingerprint_are_deleted_and_this_is_said(other, begin, lines, tmp_path):
    begin(other).save("a", x=np.ones(1))
    checkpoints = begin()
    assert not checkpoints.have_all(["a"])
    assert lines == [f"{tmp_path / 'out' / FOLDER} is of other data or code: deleted, starting anew"]
    checkpoints.save("a", x=np.zeros(1))
    assert begin().load("a")["x"].tolist() == [0]
    assert len(lines) == 1


def test_checkpoints_without_a_fingerprint_are_deleted(begin, lines, tmp_path):
    begin().save("a", x=np.ones(1))
    (tmp_path / "out" / FOLDER / "fingerprint").unlink()
    assert not begin().have_all(["a"])
    assert len(lines) == 1


@pytest.mark.parametrize("kept", [0, 10, 150, -1])
def test_a_truncated_file_is_refused(kept, begin, tmp_path):
    checkpoints = begin()
    checkpoints.save("a", x=np.arange(100))
    path = tmp_path / "out" / FOLDER / "a.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"a\.npz: is damaged") as caught:
        checkpoints.load("a")
    assert str(path.parent) in caught.value.remedy


def test_a_flipped_byte_is_refused(begin, tmp_path):
    checkpoints = begin()
    checkpoints.save("a", x=np.arange(100))
    path = tmp_path / "out" / FOLDER / "a.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz: is damaged"):
        checkpoints.load("a")


def test_remove_deletes_all_but_the_results(begin, tmp_path):
    checkpoints = begin()
    checkpoints.save("a", x=np.ones(1))
    (tmp_path / "out/binning.tsv").write_text("results")
    checkpoints.remove()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["binning.tsv"]
