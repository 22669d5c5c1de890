"""Make the Slurm cluster of phase 2: ParallelCluster's own resource, what its nodes may do, and what they install."""

import re
from typing import Any

import yaml

from infra.storage.access import may_read, may_write
from infra.template import Stack, Value, allow, get, policy, read_file, ref, sub

VERSION = "3.16.1"  # requirements/pcluster.in names the same
OWN_POLICIES = ("HeadNode", "Compute", "RayClient")


def make_pcluster(storage: Stack, network: Stack, lustre: Stack, ray: Stack) -> Stack:
    """Return the stack of the Slurm cluster, from which jobs can also be sent to the Ray cluster."""
    stack = Stack("pcluster", "readclade: the Slurm cluster, with queues for GPUs, MPI and large memory")
    stack.parameter("HeadNodeType", "Instance type of the head node.", Default="m5.xlarge")
    stack.parameter(
        "GpuCapacity",
        "ONDEMAND, or SPOT: cheaper, and taken back at times; the workflow then repeats the job.",
        Default="ONDEMAND",
        AllowedValues=["ONDEMAND", "SPOT"],
    )
    stack.parameter(
        "WorkflowSha256",
        "Checksum of the workflow's archive, workflow/<checksum>.tar.gz in the bucket for code.",
        AllowedPattern="[0-9a-f]{64}",
    )
    workflow = stack.resource(
        "Workflow",
        "AWS::SSM::Parameter",
        {
            "Name": sub("/${Project}/workflow"),
            "Type": "String",
            "Value": ref("WorkflowSha256"),
            "Description": "checksum of the workflow that the head node installs",
        },
    )
    values = {
        "HeadNodeType": ref("HeadNodeType"),
        "GpuCapacity": ref("GpuCapacity"),
        "WorkflowSha256": ref("WorkflowSha256"),
        "WorkflowParameter": workflow,
        "ComputeSubnetId": network["ComputeSubnetId"],
        "FileSystemId": lustre["FileSystemId"],
        "LustreClientGroupId": lustre["ClientGroupId"],
        "CodeBucket": storage["CodeBucket"],
        "SessionPolicy": sub("arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"),
        "RayClientPolicy": ray["RayClientPolicy"],
        **_add_node_policies(stack, storage),
    }
    _add_cluster(stack, make_configuration(values), [values[f"{name}Policy"] for name in OWN_POLICIES])
    return stack


def make_configuration(values: dict[str, Value]) -> dict[str, Any]:
    """Return the cluster's configuration with values in place of `${...}`.

    Raises:
        KeyError: for a name that has no value.
    """

    def fill(entry: Any) -> Any:
        if isinstance(entry, dict):
            return {key: fill(value) for key, value in entry.items()}
        if isinstance(entry, list):
            return [fill(value) for value in entry]
        names = re.findall(r"\$\{(\w+)\}", entry) if isinstance(entry, str) else []
        if not names:
            return entry
        used = {name: values[name] for name in names}
        return used[names[0]] if entry == f"${{{names[0]}}}" else sub(entry, **used)

    return fill(yaml.safe_load(read_file("infra/pcluster/cluster.yaml")))


def _add_node_policies(stack: Stack, storage: Stack) -> dict[str, dict[str, str]]:
    """Add what nodes may do beyond what ParallelCluster gives them, and return the references to the policies.

    Jobs read reads, read and write shards and results. The head node also reads code; it runs the workflow, which asks
    for reads and shards too. No node may write reads or code.
    """
    data = [
        *may_read(storage, "ReadsBucket"),
        *may_write(storage, "ShardsBucket", "shards/"),
        *may_write(storage, "ResultsBucket", "results/"),
    ]
    code = may_read(storage, "CodeBucket", "pcluster/")
    install = [
        *may_read(storage, "CodeBucket", "workflow/"),
        *may_read(storage, "CodeBucket", "software/"),
        allow(
            ["ssm:GetParameter"],
            sub("arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/${Project}/workflow"),
        ),
    ]
    return {
        "HeadNodePolicy": stack.resource(
            "HeadNodePolicy", "AWS::IAM::ManagedPolicy", {"PolicyDocument": policy(*data, *code, *install)}
        ),
        "ComputePolicy": stack.resource(
            "ComputePolicy", "AWS::IAM::ManagedPolicy", {"PolicyDocument": policy(*data, *code)}
        ),
    }


def _add_cluster(stack: Stack, configuration: dict[str, Any], policies: list[Value]) -> None:
    """Add ParallelCluster's provider, which AWS publishes for each version, and the cluster that it makes."""
    # ParallelCluster attaches only policies that it knows, so the provider is told of ours.
    roles = sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/parallelcluster/*")
    own = {"ArnEquals": {"iam:PolicyARN": policies}}
    attach = stack.resource(
        "MayAttachNodePolicies",
        "AWS::IAM::ManagedPolicy",
        {"PolicyDocument": policy(allow(["iam:AttachRolePolicy", "iam:DetachRolePolicy"], roles, Condition=own))},
    )
    stack.resource(
        "Provider",
        "AWS::CloudFormation::Stack",
        {
            "TemplateURL": sub(
                "https://${AWS::Region}-aws-parallelcluster.s3.${AWS::Region}.${AWS::URLSuffix}"
                f"/parallelcluster/{VERSION}/templates/custom_resource/cluster.yaml"
            ),
            "Parameters": {"AdditionalIamPolicies": attach},
        },
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
    )
    cluster = stack.resource(
        "Cluster",
        "Custom::PclusterCluster",
        {
            "ServiceToken": get("Provider", "Outputs.ServiceToken"),
            "ClusterName": sub("${Project}-slurm"),
            "ClusterConfiguration": configuration,
        },
        # Holds no data: those are on S3 and, until the file system goes, on Lustre.
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
    )
    stack.export("ClusterName", cluster)
    stack.export("HeadNodeId", get("Cluster", "headNode.instanceId"))
