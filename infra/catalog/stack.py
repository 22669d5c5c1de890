"""Make shards and results tables that are asked in SQL: Glue's catalog, Athena's workgroup, saved queries.

The columns are stated here, from what the code writes, and compared with it in tests. A crawler would guess them from
files, take the reads' indexes for tables of their own, and cost by the run.
"""

from infra.catalog.tables import COLUMNS, PREFIX, QUERIES
from infra.storage.access import may_read, may_write
from infra.template import Stack, Value, allow, policy, ref, sub

# A query that would read more is ended: 50 GB, a quarter of a dollar at $5 for each TB.
# Source of the price: athena.guide, "Athena Basics: Pricing Model" (October 2020).
MOST_BYTES = 50_000_000_000
HIVE = "org.apache.hadoop.hive.ql.io.parquet"


def make_catalog(storage: Stack) -> Stack:
    """Return the stack of tables over the buckets for shards and results."""
    stack = Stack("catalog", "readclade: tables over shards and results, and the workgroup that asks them")
    stack.resource(
        "Database",
        "AWS::Glue::Database",
        {
            "CatalogId": ref("AWS::AccountId"),
            "DatabaseInput": {"Name": ref("Project"), "Description": "shards and results of readclade"},
        },
    )
    for table in COLUMNS:
        _add_table(stack, storage, table)
    workgroup = _add_workgroup(stack, storage)
    for name, (text, query) in QUERIES.items():
        stack.resource(
            "Query" + "".join(part.capitalize() for part in name.split("_")),
            "AWS::Athena::NamedQuery",
            {
                "Name": name,
                "Description": text,
                "Database": ref("Database"),
                "QueryString": query.strip() + "\n",
                "WorkGroup": workgroup,
            },
        )
    _add_reader(stack, storage)
    return stack


def _add_table(stack: Stack, storage: Stack, table: str) -> None:
    bucket = storage["ShardsBucket" if table == "shards" else "ResultsBucket"]
    place = "shards" if table == "shards" else f"{PREFIX}/{table}"
    table_input = {
        "Name": table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet"},
        "StorageDescriptor": {
            "Columns": [{"Name": name, "Type": kind} for name, kind in COLUMNS[table].items()],
            "Location": sub(f"s3://${{Bucket}}/{place}/", Bucket=bucket),
            "InputFormat": f"{HIVE}.MapredParquetInputFormat",
            "OutputFormat": f"{HIVE}.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": f"{HIVE}.serde.ParquetHiveSerDe"},
        },
    }
    if table == "shards":
        # Shards lie in a folder for each sample that does not say `sample=`. A query names the sample, and Athena finds
        # the folder from it, without any partition being registered.
        # Source: Amazon Athena User Guide, "Partition projection", type injected.
        table_input["PartitionKeys"] = [{"Name": "sample", "Type": "string"}]
        table_input["Parameters"] |= {
            "projection.enabled": "true",
            "projection.sample.type": "injected",
            "storage.location.template": sub("s3://${Bucket}/shards/${!sample}/", Bucket=bucket),
        }
    stack.resource(
        f"{table.capitalize()}Table",
        "AWS::Glue::Table",
        {"CatalogId": ref("AWS::AccountId"), "DatabaseName": ref("Database"), "TableInput": table_input},
    )


def _add_workgroup(stack: Stack, storage: Stack) -> dict[str, str]:
    """Add the workgroup, whose settings nobody who asks can loosen, and return the reference to it."""
    encryption = {"EncryptionOption": "SSE_KMS", "KmsKey": storage["KeyArn"]}
    answers = sub("s3://${Bucket}/athena/", Bucket=storage["ResultsBucket"])
    return stack.resource(
        "WorkGroup",
        "AWS::Athena::WorkGroup",
        {
            "Name": ref("Project"),
            "Description": "questions to shards and results",
            "WorkGroupConfiguration": {
                "EnforceWorkGroupConfiguration": True,
                "PublishCloudWatchMetricsEnabled": True,
                "BytesScannedCutoffPerQuery": MOST_BYTES,
                "ResultConfiguration": {"OutputLocation": answers, "EncryptionConfiguration": encryption},
            },
        },
    )


def _add_reader(stack: Stack, storage: Stack) -> None:
    """Add the policy of whoever asks: the workgroup, the tables, their files, and where answers go."""
    glue = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:"
    tables = [sub(glue + "catalog"), sub(glue + "database/${Database}"), sub(glue + "table/${Database}/*")]
    group = sub("arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:workgroup/${WorkGroup}")
    verbs = ["GetNamedQuery", "GetQueryExecution", "GetQueryResults", "GetWorkGroup", "ListNamedQueries"]
    asks = [f"athena:{verb}" for verb in ["BatchGetNamedQuery", *verbs, "StartQueryExecution", "StopQueryExecution"]]
    statements: list[dict[str, Value]] = [
        allow(asks, group),
        allow(["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"], tables),
        *may_read(storage, "ShardsBucket", "shards/"),
        *may_read(storage, "ResultsBucket", f"{PREFIX}/"),
        *may_write(storage, "ResultsBucket", "athena/"),
    ]
    reader = stack.resource("Reader", "AWS::IAM::ManagedPolicy", {"PolicyDocument": policy(*statements)})
    stack.export("CatalogReaderPolicy", reader, Description="for people and machines that ask the tables")
    stack.export("CatalogWorkGroup", ref("WorkGroup"))
