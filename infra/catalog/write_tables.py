"""Turn the results of a run into the tables of the catalog: Parquet, typed, a file for each table and sample.

Example, where the workflow has run (its folder `results` is read):
    PYTHONPATH=.:src .venv/bin/python -m infra.catalog.write_tables --results results --out tables
    aws s3 sync tables s3://RESULTS_BUCKET/results/tables

Any engine reads them, DuckDB for one: SELECT * FROM 'tables/taxa/*.parquet'. A table goes without a sample that has no
file for it, as the evaluation does where no truth is known.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from infra.catalog.tables import COLUMNS, SOURCES
from readclade.cli import make_parser, run, start_log
from readclade.errors import InputError
from readclade.storage.files import replace_when_done

log = logging.getLogger("readclade")

_TYPES = {"string": pa.string(), "bigint": pa.int64(), "int": pa.int32(), "float": pa.float32(), "double": pa.float64()}
_BATCH_ROWS = 1 << 20


def get_arrow_schema(table: str) -> pa.Schema:
    """Return the schema of the files of a table, a key of SOURCES."""
    return pa.schema([(name, _TYPES[kind]) for name, kind in COLUMNS[table].items()])


def write_table(source: Path, table: str, sample: str, out: Path) -> int:
    """Write one table of one sample, and return its number of rows.

    Args:
        source: file of the sample's results, .parquet or .tsv.
        table: a key of SOURCES.
        sample: goes into the first column.
        out: file to write, replaced when the new one is whole.

    Raises:
        InputError: the file cannot be read, lacks a column, or holds a value of another type.
    """
    schema = get_arrow_schema(table)
    columns = [name for name in schema.names if name != "sample"]
    read = _read_parquet if source.suffix == ".parquet" else _read_tsv
    rows = 0
    try:
        with replace_when_done(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in read(source, schema, columns):
                first = pa.array([sample] * len(batch), pa.string())
                arrays = [first, *(batch.column(name).cast(schema.field(name).type) for name in columns)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                rows += len(batch)
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError) as error:
        raise InputError(
            f"is not what the table {table} is made of: {error}",
            path=source,
            remedy="run the workflow of this version over the sample again",
        ) from None
    return rows


def _read_parquet(source: Path, schema: pa.Schema, columns: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(source) as file:
        if missing := [name for name in columns if name not in file.schema_arrow.names]:
            raise KeyError(f"it has no column {missing[0]}")
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def _read_tsv(source: Path, schema: pa.Schema, columns: list[str]) -> Iterator[pa.Table]:
    """Read with the types that are meant: pyarrow's guess would make an empty column null, and a taxid a float."""
    yield pyarrow.csv.read_csv(
        source,
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: schema.field(name).type for name in columns},
            include_columns=columns,
            null_values=["", "NA"],
            strings_can_be_null=False,
        ),
    )


def write_tables(results: Path, out: Path) -> dict[str, int]:
    """Write every table of every sample of a run, and return the rows of each table.

    Raises:
        InputError: the folder holds no results.
    """
    samples = sorted(path.name for path in results.iterdir() if (path / SOURCES["assignments"]).is_file())
    if not samples:
        raise InputError("holds no results of any sample", path=results, remedy="name the folder `results` of a run")
    rows = dict.fromkeys(SOURCES, 0)
    for sample in samples:
        for table, name in SOURCES.items():
            if (results / sample / name).is_file():
                rows[table] += write_table(results / sample / name, table, sample, out / table / f"{sample}.parquet")
        log.info(f"{sample}: written")
    return rows


def main() -> None:
    """Read the arguments and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="folder `results` of a run")
    parser.add_argument("--out", required=True, type=Path, help="folder of the tables")
    arguments = parser.parse_args()
    start_log("tables")
    if not arguments.results.is_dir():
        raise InputError("is no folder", path=arguments.results, remedy="name the folder `results` of a run")
    rows = write_tables(arguments.results, arguments.out)
    print(", ".join(f"{table}: {count} rows" for table, count in rows.items()))


if __name__ == "__main__":
    run(main)
