"""The file system: sizes that AWS takes, closed ports, and the tie to the shards."""

import pytest

from infra.lustre.stack import CAPACITIES
from tests.infra.resolve import Resolver
from tests.infra.test_pcluster import run_check


@pytest.fixture(scope="module")
def template(templates):
    return templates["lustre"]


def test_every_size_is_one_that_aws_takes():
    assert run_check([(kind, size) for kind in ("PERSISTENT_2", "SCRATCH_2") for size in CAPACITIES], "--lustre") == ""


def test_no_size_that_aws_takes_is_missing():
    assert [size for size in range(1200, 48_001, 1200) if size == 1200 or size % 2400 == 0] == CAPACITIES


@pytest.mark.parametrize("size", [0, 1300, 3600])
def test_other_sizes_are_refused(template, size):
    with pytest.raises(ValueError, match=r"StorageCapacity: .* must be 1200 or a multiple of 2400"):
        Resolver(template, StorageCapacity=size)
    if size:
        assert "1,200 GB or increments of 2,400 GB" in run_check([("PERSISTENT_2", size)], "--lustre")


def test_persistent_file_system(template):
    properties = Resolver(template).get_resources()["FileSystem"]["Properties"]
    assert properties["KmsKeyId"] == "import:readclade-KeyArn"
    assert properties["SubnetIds"] == ["import:readclade-ComputeSubnetId"]
    assert properties["LustreConfiguration"]["DeploymentType"] == "PERSISTENT_2"
    assert properties["LustreConfiguration"]["PerUnitStorageThroughput"] == 125
    assert properties["LustreConfiguration"]["DataCompressionType"] == "LZ4"


def test_scratch_file_system_has_none_of_the_options_it_does_not_know(template):
    # Source: Amazon FSx API reference: throughput, key and backups are for persistent file systems.
    properties = Resolver(template, DeploymentType="SCRATCH_2").get_resources()["FileSystem"]["Properties"]
    assert "KmsKeyId" not in properties
    assert not {"PerUnitStorageThroughput", "AutomaticBackupRetentionDays"} & set(properties["LustreConfiguration"])


def test_shards_come_and_go_between_bucket_and_file_system(template):
    tie = Resolver(template).get_resources()["Shards"]["Properties"]
    assert tie["FileSystemPath"] == "/shards"
    assert tie["DataRepositoryPath"] == "s3://import:readclade-ShardsBucket/shards"
    assert set(tie["S3"]["AutoImportPolicy"]["Events"]) == {"NEW", "CHANGED", "DELETED"}
    # Making room on Lustre deletes nothing on S3.
    assert set(tie["S3"]["AutoExportPolicy"]["Events"]) == {"NEW", "CHANGED"}


def test_ports_are_open_between_clients_and_servers_only(template):
    resources = Resolver(template).get_resources()
    rules = [entry["Properties"] for entry in resources.values() if entry["Type"].startswith("AWS::EC2::SecurityGroup")]
    ports = {(rule["FromPort"], rule["ToPort"]) for rule in rules if "FromPort" in rule}
    assert ports == {(988, 988), (1018, 1023)}
    groups = {"get:ClientGroup.GroupId", "get:ServerGroup.GroupId"}
    for rule in rules:
        if "FromPort" in rule:
            assert {rule["GroupId"], rule.get("SourceSecurityGroupId") or rule["DestinationSecurityGroupId"]} <= groups
