"""The files of the cluster stage: clusters.h5, assignments.parquet and binning.tsv."""

from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from readclade.clustering.whitening import Whitening
from readclade.files import replace_when_done

_SCHEMA = pa.schema(
    [
        pa.field("fragment", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("group", pa.int64(), nullable=False),
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("distance", pa.float32(), nullable=False),
        pa.field("margin", pa.float32(), nullable=False),
    ]
)


class ResultWriter:
    """Writes assignments.parquet and binning.tsv side by side; both appear under their names at `finish` only."""

    def __init__(self, out: Path, sample: str):
        self._stack = ExitStack()
        parquet = self._stack.enter_context(replace_when_done(out / "assignments.parquet"))
        binning = self._stack.enter_context(replace_when_done(out / "binning.tsv"))
        self._text = self._stack.enter_context(binning.open("w", encoding="utf-8"))
        self._parquet = self._stack.enter_context(pq.ParquetWriter(parquet, _SCHEMA, compression="zstd"))
        self._text.write(f"@Version:0.9.1\n@SampleID:{sample}\n@@SEQUENCEID\tBINID\n")

    def add(self, table: pa.Table) -> None:
        """Append the fragments of one shard, in order."""
        self._parquet.write_table(table.cast(_SCHEMA))
        names, clusters = table.column("name").to_pylist(), table.column("cluster").to_pylist()
        self._text.writelines(
            f"{name}\tc{cluster + 1}\n" for name, cluster in zip(names, clusters, strict=True) if cluster >= 0
        )

    def finish(self) -> None:
        """Close both files and give them their names."""
        self._stack.close()

    def close(self) -> None:
        """Remove what is not finished; after `finish` this does nothing."""
        self._stack.pop_all().__exit__(RuntimeError, RuntimeError("not finished"), None)


def write_clusters(out: Path, arrays: dict[str, np.ndarray], whitening: Whitening, attributes: dict) -> None:
    """Write clusters.h5, which opens as netCDF-4 too: every dataset has named dimensions.

    Args:
        arrays: centroids (k, r) in whitened units, sizes (k,) fragments, bases (k,), objective (iterations,).
        whitening: written beside them, and used for the centroids in the space of the embeddings.
        attributes: parameters, as numbers and strings.
    """
    # Back to the embeddings' space: whitened directions are orthogonal, so that the inverse is a division.
    back = whitening.directions * whitening.variances
    centroids = whitening.mean + arrays["centroids"] @ back.T
    datasets = {
        "centroids": (centroids, ("cluster", "dimension")),
        "whitened_centroids": (arrays["centroids"], ("cluster", "direction")),
        "sizes": (arrays["sizes"], ("cluster",)),
        "bases": (arrays["bases"], ("cluster",)),
        "objective": (arrays["objective"], ("iteration",)),
        "mean": (whitening.mean, ("dimension",)),
        "whitening": (whitening.directions, ("dimension", "direction")),
    }
    with replace_when_done(out / "clusters.h5") as temporary, h5py.File(temporary, "w") as file:
        scales = {}
        for data, dimensions in datasets.values():
            for dimension, length in zip(dimensions, data.shape, strict=True):
                if dimension not in scales:
                    scales[dimension] = file.create_dataset(dimension, data=np.arange(length))
                    scales[dimension].make_scale(dimension)
        for name, (data, dimensions) in datasets.items():
            dataset = file.create_dataset(name, data=data)
            for axis, dimension in enumerate(dimensions):
                dataset.dims[axis].attach_scale(scales[dimension])
        for name, value in attributes.items():
            file.attrs[name] = value
