"""Give the Slurm cluster its fast file system: FSx for Lustre, in the zone of the compute nodes, tied to the shards.

The file system outlives neither its purpose nor its data: shards are imported from the bucket, and what is written
beside them is exported to it. Results are copied to their bucket by the workflow's last rule.
"""

from infra.template import Stack, Value, get, ref, sub

# GiB: the smallest size, then multiples of 2,400.
# Source: Amazon FSx API reference, CreateFileSystem, StorageCapacity for SCRATCH_2 and PERSISTENT_2 with SSD.
CAPACITIES = [1200, *range(2400, 48_001, 2400)]
# MB/s for each TiB. Source: Amazon FSx API reference, CreateFileSystemLustreConfiguration, PerUnitStorageThroughput.
THROUGHPUTS = [125, 250, 500, 1000]
# Source: Amazon FSx for Lustre User Guide, "File system access control with Amazon VPC".
PORTS = [(988, 988), (1018, 1023)]


def make_lustre(storage: Stack, network: Stack) -> Stack:
    """Return the stack of the file system and its tie to the bucket for shards."""
    stack = Stack("lustre", "readclade: FSx for Lustre, tied to the shards on S3")
    _add_parameters(stack)
    group = _add_groups(stack, network)
    persistent = stack.condition("Persistent", {"Fn::Equals": [ref("DeploymentType"), "PERSISTENT_2"]})
    file_system = stack.resource(
        "FileSystem",
        "AWS::FSx::FileSystem",
        {
            "FileSystemType": "LUSTRE",
            "FileSystemTypeVersion": "2.15",
            "StorageType": "SSD",
            "StorageCapacity": ref("StorageCapacity"),
            "SubnetIds": [network["ComputeSubnetId"]],
            "SecurityGroupIds": [group],
            "KmsKeyId": _only(persistent, storage["KeyArn"]),
            "LustreConfiguration": {
                "DeploymentType": ref("DeploymentType"),
                "PerUnitStorageThroughput": _only(persistent, ref("ThroughputPerTib")),
                "DataCompressionType": "LZ4",
                # What is not on S3 too can be made again: no backup.
                "AutomaticBackupRetentionDays": _only(persistent, 0),
                "WeeklyMaintenanceStartTime": "7:03:00",
            },
            "Tags": [{"Key": "Name", "Value": sub("${Project}-lustre")}],
        },
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
    )
    stack.resource(
        "Shards",
        "AWS::FSx::DataRepositoryAssociation",
        {
            "FileSystemId": file_system,
            "FileSystemPath": "/shards",
            "DataRepositoryPath": sub("s3://${Bucket}/shards", Bucket=storage["ShardsBucket"]),
            "BatchImportMetaDataOnCreate": True,
            # MiB of a file on one disk: a shard is far smaller, and many shards spread over all disks.
            "ImportedFileChunkSize": 1024,
            "S3": {
                "AutoImportPolicy": {"Events": ["NEW", "CHANGED", "DELETED"]},
                # What is deleted on Lustre to make room stays on S3.
                "AutoExportPolicy": {"Events": ["NEW", "CHANGED"]},
            },
        },
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
    )
    stack.export("FileSystemId", file_system)
    stack.export("FileSystemDnsName", get("FileSystem", "DNSName"))
    return stack


def _add_parameters(stack: Stack) -> None:
    stack.parameter(
        "DeploymentType",
        "PERSISTENT_2: replicated, encrypted with our key. SCRATCH_2: a failed server takes its files along.",
        Default="PERSISTENT_2",
        AllowedValues=["PERSISTENT_2", "SCRATCH_2"],
    )
    stack.parameter(
        "StorageCapacity",
        "GiB: 1200, or a multiple of 2400. Compression makes room for more.",
        Type="Number",
        Default=1200,
        AllowedValues=CAPACITIES,
        ConstraintDescription="must be 1200 or a multiple of 2400, at most 48000",
    )
    stack.parameter(
        "ThroughputPerTib",
        "MB/s for each TiB; SCRATCH_2 always has 200.",
        Type="Number",
        Default=125,
        AllowedValues=THROUGHPUTS,
    )


def _only(condition: str, value: Value) -> dict[str, Value]:
    """Return the value where the condition holds, and nothing elsewhere."""
    return {"Fn::If": [condition, value, ref("AWS::NoValue")]}


def _add_groups(stack: Stack, network: Stack) -> dict[str, Value]:
    """Add the group of the clients and that of the file system, which admits only those, and return the latter's id."""
    for name, text in (("ClientGroup", "nodes that mount the file system"), ("ServerGroup", "the file system")):
        stack.resource(
            name,
            "AWS::EC2::SecurityGroup",
            {
                "GroupDescription": f"Lustre: {text}",
                "VpcId": network["VpcId"],
                # Rules are added below; without one here, the group would be given one that allows everything out.
                "SecurityGroupEgress": [{"IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "to nobody"}],
            },
        )
    client, server = get("ClientGroup", "GroupId"), get("ServerGroup", "GroupId")
    for first, last in PORTS:
        for here, there, label in (
            (server, client, "ServerFromClient"),
            (client, server, "ClientFromServer"),
            (server, server, "ServerFromServer"),
        ):
            ports = {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, "Description": "Lustre"}
            stack.resource(
                f"{label}{first}",
                "AWS::EC2::SecurityGroupIngress",
                {"GroupId": here, "SourceSecurityGroupId": there, **ports},
            )
            stack.resource(
                f"{label.replace('From', 'To')}{first}",
                "AWS::EC2::SecurityGroupEgress",
                {"GroupId": here, "DestinationSecurityGroupId": there, **ports},
            )
    stack.export("ClientGroupId", client, Description="the group of nodes that may mount the file system")
    return server
