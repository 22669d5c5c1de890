"""What a checkpoint keeps of links is what was linked."""

from dataclasses import fields

import numpy as np
import pytest
from mpi4py import MPI

from readclade.clustering.groups.linkage import Linkage, load_linkage
from readclade.clustering.ranks.checkpoints import Checkpoints
from readclade.clustering.ranks.exchange import Layout

LAYOUT = Layout(MPI.COMM_SELF, [0, 4, 4, 9])


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(MPI.COMM_SELF, tmp_path, "0" * 64)


def make() -> Linkage:
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 9, 9) for _ in range(3)]
    depths = rng.random(9).astype(np.float32)
    first, second, count = np.array([[0, 1, 2], [3, 7, 1], [4, 5, 3], [4, 8, 9]]).T
    return Linkage(levels, depths, first, second, count, np.array([[1, 8, 3], [3, 4, 1], [6, 7, 2]]), True)


def forbid() -> Linkage:
    raise AssertionError("it was saved")


def test_what_is_saved_is_loaded(checkpoints):
    made, is_resumed = load_linkage(LAYOUT, checkpoints, 3, True, make)
    assert not is_resumed
    loaded, is_resumed = load_linkage(LAYOUT, checkpoints, 3, True, forbid)
    assert is_resumed
    for field in fields(Linkage):
        mine, theirs = getattr(loaded, field.name), getattr(made, field.name)
        assert np.array_equal(mine, theirs), field.name
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype


def test_links_without_a_file_that_belongs_to_them_are_made_again(checkpoints):
    load_linkage(LAYOUT, checkpoints, 3, True, make)
    assert not load_linkage(LAYOUT, checkpoints, 3, True, make, ["beside"])[1]
    (checkpoints.folder / "beside").touch()
    assert load_linkage(LAYOUT, checkpoints, 3, True, forbid, ["beside"])[1]
