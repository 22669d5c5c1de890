"""clusters.h5: written whole or not at all, and read as it was written."""

import h5py
import numpy as np
import pytest

from readclade.errors import InputError
from readclade.results.clusters import read_clusters, read_sizes, write_clusters

ARRAYS = {
    "centroids": np.zeros((2, 3)),
    "calibrated_centroids": np.zeros((2, 1)),
    "sizes": np.array([5, 4]),
    "bases": np.array([500, 600]),
    "homology": np.array([0.25, np.nan]),
    "two_relatives": np.array([1, 0], np.uint8),
    "objective": np.array([2.0, 1.5]),
    "mean": np.arange(3.0),
    "calibration": np.ones((3, 1)),
}


def test_write_clusters_leaves_nothing_when_it_fails(tmp_path):
    with pytest.raises(TypeError):
        write_clusters(tmp_path / "clusters.h5", ARRAYS, {"odd": object()})
    assert list(tmp_path.iterdir()) == []
    write_clusters(tmp_path / "clusters.h5", ARRAYS, {"even": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["clusters.h5"]


def test_readers_return_what_was_written(tmp_path):
    write_clusters(tmp_path / "clusters.h5", ARRAYS, {"seed": 0, "k": "auto"})
    model = read_clusters(tmp_path / "clusters.h5", 3)
    for name in ("sizes", "bases", "two_relatives", "objective", "mean", "calibration"):
        assert np.array_equal(getattr(model, name), ARRAYS[name]), name
    assert model.parameters == {"k": "auto", "seed": "0"}
    sizes, bases = read_sizes(tmp_path / "clusters.h5")
    assert (sizes.tolist(), bases.tolist()) == ([5, 4], [500, 600])


def test_readers_name_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="cannot be read as HDF5") as caught:
        read_sizes(tmp_path / "clusters.h5")
    assert "run `cluster`" in caught.value.remedy
    write_clusters(tmp_path / "clusters.h5", ARRAYS, {})
    with pytest.raises(InputError, match="does not fit embeddings of 4 values"):
        read_clusters(tmp_path / "clusters.h5", 4)
    with h5py.File(tmp_path / "clusters.h5", "a") as file:
        del file["bases"]
    for read in (read_sizes, lambda path: read_clusters(path, 3)):
        with pytest.raises(InputError, match=r"lacks a data set: .*bases"):
            read(tmp_path / "clusters.h5")
