"""The catalog's tables are what the code writes, and the saved queries answer over real files of it."""

import re
import subprocess
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.catalog.stack import make_catalog
from infra.catalog.tables import COLUMNS, PREFIX, QUERIES, SOURCES
from infra.catalog.write_tables import get_arrow_schema, write_tables
from infra.storage.stack import make_storage
from infra.template import ROOT
from readclade.errors import InputError
from readclade.results.assignments import SCHEMA
from readclade.results.taxa import COLUMNS as TAXA_COLUMNS
from tests.infra.resolve import Resolver

TAXA = (
    "cluster\tsize\tbases\ttaxid\tname\trank\tlineage\tconfidence\tsecond_best\n"
    "c1\t3\t450\t666\tVibrio cholerae\tspecies\td__Bacteria;s__Vibrio cholerae\t0.9002\tLambdavirus lambda (0.10)\n"
    "c2\t1\t150\t\tunclassified\t\t\t0.0000\t\n"
)
KINDS = {"int64": "bigint", "int32": "int", "string": "string", "float32": "float"}


@pytest.fixture
def results(tmp_path):
    """Return the results of two samples, the second without truth."""
    folder = tmp_path / "results"
    for sample in ("pairs", "soil"):
        (folder / sample / "cluster").mkdir(parents=True)
        rows = [[0, 1, 2, 3, 4], list("abcde"), [0, 0, 2, 3, 4], [0, 0, 0, 1, -1], [0.1] * 5, [0.5, 0.9, 0.1, 0.2, 0.0]]
        table = pa.table([pa.array(r, f.type) for r, f in zip(rows, SCHEMA, strict=True)], schema=SCHEMA)
        pq.write_table(table, folder / sample / SOURCES["assignments"])
        (folder / sample / "taxa.tsv").write_text(TAXA)
    (folder / "pairs/evaluation.tsv").write_text("metric\tvalue\nari\t0.9088\npurity\t0.9366\ncompleteness\t1\n")
    (folder / "report.html").write_text("")
    return folder


def write(results, out):
    return write_tables(results, out)


@pytest.fixture
def database(results, tmp_path):
    """Return a database with the catalog's tables over written files; shards get their sample from the folder."""
    write(results, tmp_path / "tables")
    shards = pa.table(
        {
            "fragment": pa.array([0, 1, 2, 3, 4], pa.int64()),
            "name": list("abcde"),
            "sequence": ["ACGT"] * 5,
            "mate": [""] * 5,
            "error_rate": pa.array([0.0] * 5, pa.float32()),
            "embedding": pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float32(), 2)),
        }
    )
    (tmp_path / "shards/pairs").mkdir(parents=True)
    pq.write_table(shards, tmp_path / "shards/pairs/shard-00000-0123456789ab.parquet")
    database = duckdb.connect()
    for table in SOURCES:
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM '{tmp_path}/tables/{table}/*.parquet'")
    database.execute(f"CREATE VIEW shards AS SELECT *, 'pairs' AS sample FROM '{tmp_path}/shards/pairs/*.parquet'")
    return database


def ask(database, name):
    return database.execute(QUERIES[name][1]).fetchall()


def test_profile_adds_up_to_all_fragments_of_a_sample(database):
    rows = [row for row in ask(database, "profile") if row[0] == "pairs"]
    assert rows == [("pairs", "Vibrio cholerae", "species", 3, 75.0), ("pairs", "unclassified", "", 1, 25.0)]


def test_quality_has_the_samples_whose_truth_is_known(database):
    assert ask(database, "quality") == [("pairs", 0.9088, 0.9366, 1.0, None)]


def test_fragments_of_taxa_finds_the_cluster_of_each_name(database):
    rows = ask(database, "fragments_of_taxa")
    assert [row[:3] for row in rows[:3]] == [("pairs", "Vibrio cholerae", name) for name in "bac"]
    assert {row[0] for row in rows} == {"pairs", "soil"}
    assert len(rows) == 6


def test_unassigned_joins_shards_with_results(database):
    assert ask(database, "unassigned") == [("e", "ACGT")]


def test_tables_keep_types_and_empty_columns(results, tmp_path):
    assert write(results, tmp_path / "tables") == {"assignments": 10, "taxa": 4, "evaluation": 3}
    taxa = pq.read_table(tmp_path / "tables/taxa/pairs.parquet")
    assert taxa.schema.equals(get_arrow_schema("taxa"))
    assert taxa["taxid"].to_pylist() == [666, None]
    assert taxa["second_best"].to_pylist() == ["Lambdavirus lambda (0.10)", ""]
    assert set(taxa["sample"].to_pylist()) == {"pairs"}
    assert not (tmp_path / "tables/evaluation/soil.parquet").exists()


def test_tables_are_the_same_when_written_again(results, tmp_path):
    write(results, tmp_path / "tables")
    first = {path: path.read_bytes() for path in (tmp_path / "tables").rglob("*.parquet")}
    write(results, tmp_path / "tables")
    assert {path: path.read_bytes() for path in (tmp_path / "tables").rglob("*") if path.is_file()} == first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TAXA.replace("\t3\t", "\tmany\t"), "many"),
        (TAXA.replace("lineage", "descent", 1), "lineage"),
        (TAXA + "c3\t1\n", "9 columns, got 2"),
        ("", "Empty"),
    ],
)
def test_tables_refuse_what_is_not_a_result(results, tmp_path, text, said):
    (results / "pairs/taxa.tsv").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        write(results, tmp_path / "tables")
    assert str(results / "pairs/taxa.tsv") in str(caught.value)
    assert not (tmp_path / "tables/taxa/pairs.parquet").exists()


def test_tables_refuse_assignments_without_a_column(results, tmp_path):
    path = results / "soil" / SOURCES["assignments"]
    pq.write_table(pq.read_table(path).drop_columns(["margin"]), path)
    with pytest.raises(InputError, match="no column margin"):
        write(results, tmp_path / "tables")


def test_command_names_a_folder_without_results(tmp_path):
    command = [sys.executable, "-m", "infra.catalog.write_tables", "--out", str(tmp_path / "out"), "--results"]
    for folder, said in ((tmp_path, "holds no results"), (tmp_path / "none", "is no folder")):
        done = subprocess.run(
            [*command, str(folder)], cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def find_fields(path):
    """Return the columns of a schema in the source: what imports the readers of FASTQ cannot be imported here."""
    fields = re.findall(r'pa\.field\("(\w+)", pa\.(\w+)\(', (ROOT / path).read_text())
    return {name: KINDS.get(kind, kind) for name, kind in fields}


def test_columns_are_what_the_code_writes():
    written = [("sample", pa.string()), *((field.name, field.type) for field in SCHEMA)]
    assert [(field.name, field.type) for field in get_arrow_schema("assignments")] == written
    assert find_fields("src/readclade/shards/parquet.py") == {**COLUMNS["shards"], "embedding": "list_"}
    assert ["sample", *TAXA_COLUMNS] == list(COLUMNS["taxa"])


@pytest.fixture(scope="module")
def resources():
    return Resolver(make_catalog(make_storage()).to_template()).get_resources()


def test_every_table_lies_where_its_files_are_brought(resources):
    for table in COLUMNS:
        described = resources[f"{table.capitalize()}Table"]["Properties"]["TableInput"]
        bucket, place = ("Shards", "shards") if table == "shards" else ("Results", f"{PREFIX}/{table}")
        assert described["StorageDescriptor"]["Location"] == f"s3://import:readclade-{bucket}Bucket/{place}/"


def test_shards_need_no_registration(resources):
    described = resources["ShardsTable"]["Properties"]["TableInput"]
    assert described["Parameters"]["projection.sample.type"] == "injected"
    # CloudFormation writes this as ${sample}.
    assert described["Parameters"]["storage.location.template"].endswith("/shards/${!sample}/")
    assert described["PartitionKeys"] == [{"Name": "sample", "Type": "string"}]


def test_workgroup_encrypts_answers_and_bounds_the_bill(resources):
    settings = resources["WorkGroup"]["Properties"]["WorkGroupConfiguration"]
    assert settings["EnforceWorkGroupConfiguration"] is True
    assert settings["ResultConfiguration"]["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert 0 < settings["BytesScannedCutoffPerQuery"] <= 10**12


def test_reader_changes_nothing_but_answers(resources):
    statements = resources["Reader"]["Properties"]["PolicyDocument"]["Statement"]
    for statement in statements:
        for action in statement["Action"]:
            if action.startswith("s3:Put") or action.startswith("s3:Delete"):
                assert statement["Resource"].endswith("/athena/*"), statement
            assert not re.match(r"glue:(Create|Update|Delete|Put|Batch)|athena:(Create|Update|Delete)", action)


def test_queries_ask_only_tables_of_the_catalog(resources):
    for _, query in QUERIES.values():
        assert set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", query)) <= set(COLUMNS)
    saved = [entry["Properties"]["Name"] for entry in resources.values() if entry["Type"] == "AWS::Athena::NamedQuery"]
    assert sorted(saved) == sorted(QUERIES)
