"""The affine map from an embedder's D columns to the d that shards hold.

It is fitted on the first fragments of a sample and kept in its manifest, so that references and other samples can be
put through the same map.
"""

import base64
from dataclasses import dataclass

import numba
import numpy as np

from readclade.errors import InputError

_METHOD = "principal-directions"
_SMALLEST = 2.0**-24  # the smallest float16 above zero


@numba.njit(cache=True, nogil=True)
def _project(vectors, mean, components, projected):
    """Write (vectors - mean) @ components into projected, zeros for a row of NaN.

    A library's matrix product takes other kernels for other numbers of rows, and what a row shares its batch with can
    change its last bit. Here each row is added up by itself, column by column.
    """
    for i in range(len(vectors)):
        row = projected[i]
        row[:] = 0
        if np.isnan(vectors[i, 0]):
            continue
        for column in range(len(mean)):
            value = vectors[i, column] - mean[column]
            for j in range(len(row)):
                row[j] += value * components[column, j]


@dataclass(frozen=True)
class Projection:
    """y = (x - mean) @ components, rounded to float16's precision.

    Attributes:
        mean: (D,) float32, the background that is taken away.
        components: (D, d) float32, scaling and directions in one.
    """

    mean: np.ndarray
    components: np.ndarray

    @property
    def d(self) -> int:
        """The number of directions that are kept."""
        return self.components.shape[1]

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, d) float32 with values of float16's precision; a row of NaN becomes a row of zeros.

        Zeros everywhere mean "nothing is known": `cluster` leaves such fragments unassigned.
        """
        projected = np.empty((len(vectors), self.d), np.float32)
        _project(vectors, self.mean, self.components, projected)
        rounded = projected.astype(np.float16).astype(np.float32)
        # A fragment that equals the mean (the only one of its sample, say) is known all the same.
        known = ~np.isnan(vectors[:, 0])
        rounded[known & ~rounded.any(axis=1), 0] = _SMALLEST
        return rounded

    def to_json(self) -> dict:
        """Return plain JSON values; the arrays as base64 of little-endian float32."""
        return {"method": _METHOD, "mean": _encode(self.mean), "components": _encode(self.components)}

    @classmethod
    def from_json(cls, value: dict) -> "Projection":
        """Return the projection that `to_json` described.

        Raises:
            InputError: another method, or arrays that do not fit each other.
        """
        if value["method"] != _METHOD:
            raise InputError(f"unknown projection method '{value['method']}'", remedy="run `embed` again")
        return cls(_decode(value["mean"]), _decode(value["components"]))


def fit_projection(vectors: np.ndarray, d: int, is_composition: bool) -> Projection:
    """Fit a projection to d directions, all of them where D <= d.

    Frequencies are first divided by the square root of their background: then sampling noise has nearly the same
    variance in every direction (the chi-square metric of correspondence analysis, Greenacre 1984), and the leading
    principal directions are those in which the fragments differ by more than noise.

    Args:
        vectors: (n, D) float32, n >= 1, rows of NaN are left out.
        d: directions to keep, >= 1.
        is_composition: whether the columns are frequencies.
    """
    known = vectors[~np.isnan(vectors[:, 0])].astype(np.float64)
    if not len(known):
        known = np.zeros((1, vectors.shape[1]))
    mean = known.mean(axis=0)
    # A k-mer that these fragments do not hold must not get an infinite weight: a floor of a tenth of the mean column.
    scale = 1 / np.sqrt(np.maximum(mean, 0.1 / len(mean))) if is_composition else np.ones_like(mean)
    centred = (known - mean) * scale
    _, directions = np.linalg.eigh(centred.T @ centred)
    leading = directions[:, ::-1][:, : min(d, len(mean))]
    # An eigenvector's sign is arbitrary: fix it by its largest entry.
    signs = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])])
    components = scale[:, None] * leading * np.where(signs == 0, 1, signs)
    return Projection(mean.astype(np.float32), components.astype(np.float32))


def _encode(array: np.ndarray) -> dict:
    data = np.ascontiguousarray(array, "<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode("ascii")}


def _decode(value: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(value["float32"]), "<f4").reshape(value["shape"])
