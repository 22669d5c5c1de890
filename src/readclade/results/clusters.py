"""clusters.h5, what is known of the clusters as a whole: its data sets, its one writer and its readers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from readclade.results.tables import fail
from readclade.storage.files import replace_when_done

# The dimensions of each data set, in the order in which they are written.
_DIMENSIONS = {
    "centroids": ("cluster", "dimension"),
    "calibrated_centroids": ("cluster", "direction"),
    "sizes": ("cluster",),
    "bases": ("cluster",),
    "homology": ("cluster",),
    "two_relatives": ("cluster",),
    "objective": ("iteration",),
    "mean": ("dimension",),
    "calibration": ("dimension", "direction"),
}


@dataclass(frozen=True)
class ClusterModel:
    """What clusters.h5 holds: sizes and bases (k,), objective (iterations,), mean (d,), calibration (d, r).

    Clusters for which two_relatives (k,) is not 0 probably hold two relatives.
    """

    sizes: np.ndarray
    bases: np.ndarray
    two_relatives: np.ndarray
    objective: np.ndarray
    mean: np.ndarray
    calibration: np.ndarray
    parameters: dict[str, str]


def write_clusters(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, object]) -> None:
    """Write clusters.h5, which opens as netCDF-4 too: every data set has named dimensions.

    Args:
        arrays: centroids (k, d) in the space of the embeddings, calibrated_centroids (k, r), sizes (k,) fragments,
            bases (k,), homology (k,) share, NaN where not measured, two_relatives (k,) uint8, objective (iterations,),
            mean (d,), calibration (d, r).
        attributes: parameters, as numbers and strings.
    """
    with replace_when_done(path) as temporary, h5py.File(temporary, "w") as file:
        scales: dict[str, h5py.Dataset] = {}
        for name, dimensions in _DIMENSIONS.items():
            for dimension, length in zip(dimensions, arrays[name].shape, strict=True):
                if dimension not in scales:
                    scales[dimension] = file.create_dataset(dimension, data=np.arange(length))
                    scales[dimension].make_scale(dimension)
        for name, dimensions in _DIMENSIONS.items():
            dataset = file.create_dataset(name, data=arrays[name])
            for axis, dimension in enumerate(dimensions):
                dataset.dims[axis].attach_scale(scales[dimension])
        for name, value in attributes.items():
            file.attrs[name] = value


def read_clusters(path: Path, d: int) -> ClusterModel:
    """Read clusters.h5, whose calibration takes vectors of d values.

    Raises:
        InputError: it is missing, malformed, or of another d.
    """
    with _open_clusters(path) as file:
        names = ("sizes", "bases", "two_relatives", "objective", "mean", "calibration")
        arrays = {name: np.asarray(file[name]) for name in names}
        parameters = {name: _format_attribute(value) for name, value in sorted(file.attrs.items())}
    if arrays["mean"].shape != (d,) or arrays["calibration"].shape[:1] != (d,) or arrays["calibration"].ndim != 2:
        raise fail(f"does not fit embeddings of {d} values", path, "cluster")
    shapes = {arrays[name].shape for name in ("sizes", "bases", "two_relatives")}
    if len(shapes) != 1 or arrays["sizes"].ndim != 1:
        raise fail("has sizes, bases and marks of two relatives that do not fit each other", path, "cluster")
    return ClusterModel(**arrays, parameters=parameters)


def read_sizes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the fragments and the bases of each cluster, both (k,) int64.

    Raises:
        InputError: the file is missing or malformed.
    """
    with _open_clusters(path) as file:
        return file["sizes"][:], file["bases"][:]


@contextmanager
def _open_clusters(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path) as file:
            yield file
    except KeyError as error:
        raise fail(f"lacks a data set: {error.args[0]}", path, "cluster") from None
    except OSError as error:
        raise fail(f"cannot be read as HDF5: {error}", path, "cluster") from None


def _format_attribute(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
