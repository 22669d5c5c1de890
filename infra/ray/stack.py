"""Give the Ray cluster of phase 1 what `ray up` does not make: roles, a group without open ports, a key, and the step
of the pipeline that applies infra/ray/cluster.yaml. The nodes themselves are started by Ray.
"""

import yaml

from infra.ray.access import (
    may_manage_own,
    may_open_sessions,
    may_pass,
    may_pull,
    may_read_token,
    may_start,
    may_take_sessions,
    parameter_arn,
)
from infra.storage.access import may_read, may_write
from infra.storage.logs import add_log_group
from infra.template import Stack, Value, allow, bucket_arn, get, policy, read_file, ref, sub, trust

# Ubuntu with NVIDIA's driver, docker, NVIDIA's container runtime and AWS's command line; the id is looked up when the
# stack is deployed or updated. Source: AWS Deep Learning AMIs Developer Guide, "Base OSS Nvidia Driver GPU AMI".
AMI = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
# Between the cluster's own nodes: ssh from the head, and Ray's stated and chosen ports.
PORTS = [(22, 22), (1024, 65535)]
BUILD_IMAGE = "aws/codebuild/standard:7.0"


def make_ray(storage: Stack, network: Stack, image: Stack) -> Stack:
    """Return the stack of what the Ray cluster needs."""
    stack = Stack("ray", "readclade: roles, group and key of the Ray cluster, and the step that applies it")
    stack.parameter("RayAmi", "The nodes' image.", Type="AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", Default=AMI)
    _add_group(stack, network)
    stack.resource("Key", "AWS::EC2::KeyPair", {"KeyName": sub("${Project}-ray"), "KeyType": "ed25519"})
    _add_worker(stack, storage, image)
    _add_head(stack, storage, network, image)
    _add_client(stack, storage)
    _add_apply(stack, storage, network)
    _export(stack)
    return stack


def _add_group(stack: Stack, network: Stack) -> None:
    """Add the group of the nodes, which admits its own members only."""
    out = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0", "Description": "AWS, archives"}]
    stack.resource(
        "Group",
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "nodes of the Ray cluster, open to each other only",
            "VpcId": network["VpcId"],
            "SecurityGroupEgress": out,
        },
    )
    group = get("Group", "GroupId")
    for first, last in PORTS:
        ports = {"GroupId": group, "IpProtocol": "tcp", "FromPort": first, "ToPort": last, "Description": "Ray's nodes"}
        for direction, key in (("Ingress", "SourceSecurityGroupId"), ("Egress", "DestinationSecurityGroupId")):
            stack.resource(f"{direction}{first}", f"AWS::EC2::SecurityGroup{direction}", {**ports, key: group})


def _add_role(stack: Stack, name: str, service: str, statements: list[dict[str, Value]], path: str = "/") -> None:
    own = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}
    stack.resource(
        f"{name}Role",
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": trust(service, **({} if service.startswith("ec2") else own)),
            "Path": path,
            "Policies": [{"PolicyName": "own", "PolicyDocument": policy(*statements)}],
        },
    )


def _add_profile(stack: Stack, name: str) -> None:
    stack.resource(f"{name}Profile", "AWS::IAM::InstanceProfile", {"Roles": [ref(f"{name}Role")]})


def _may_use_data(storage: Stack) -> list[dict[str, Value]]:
    """Return the statements of what an actor of the embedding reads and writes."""
    return [*may_read(storage, "ReadsBucket"), *may_write(storage, "ShardsBucket", "shards/")]


def _add_worker(stack: Stack, storage: Stack, image: Stack) -> None:
    """Add the role of workers: reads in, shards out, the image, the token. It cannot start, end or see any node."""
    _add_role(
        stack,
        "Worker",
        "ec2.amazonaws.com",
        [*_may_use_data(storage), *may_pull(image), *may_read_token(storage)],
    )
    _add_profile(stack, "Worker")


def _add_head(stack: Stack, storage: Stack, network: Stack, image: Stack) -> None:
    """Add the role of the head: what workers may, and to start and end workers."""
    _add_role(
        stack,
        "Head",
        "ec2.amazonaws.com",
        [
            *_may_use_data(storage),
            *may_pull(image),
            *may_read_token(storage),
            *may_start(network, get("WorkerProfile", "Arn"), get_instance_types(head=False)),
            *may_manage_own(),
            may_pass("WorkerRole"),
            may_take_sessions(),
        ],
    )
    _add_profile(stack, "Head")


def _add_client(stack: Stack, storage: Stack) -> None:
    """Add the policy of whoever submits jobs: a tunnel to the head's dashboard, and the token that it asks for."""
    find = allow(["ec2:DescribeInstances"], "*")
    statements = [*may_open_sessions("AWS-StartPortForwardingSession"), *may_read_token(storage), find]
    client = stack.resource("Client", "AWS::IAM::ManagedPolicy", {"PolicyDocument": policy(*statements)})
    stack.export("RayClientPolicy", client, Description="for people and machines that submit jobs")


def _add_apply(stack: Stack, storage: Stack, network: Stack) -> None:
    """Add the build that applies the cluster file, and its role: to start heads, where the head's starts workers."""
    log_group = add_log_group(stack, storage, "ApplyLog", "/aws/codebuild/${Project}-ray-apply")
    by_services = {
        "StringEquals": {
            "kms:ViaService": [
                sub("s3.${AWS::Region}.${AWS::URLSuffix}"),
                sub("ssm.${AWS::Region}.${AWS::URLSuffix}"),
            ]
        }
    }
    stacks = sub("arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${Project}-*/*")
    token = parameter_arn("/${Project}/ray/token")
    key = sub("arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/ec2/keypair/${Id}", Id=_key_id())
    _add_role(
        stack,
        "Apply",
        "codebuild.amazonaws.com",
        [
            *may_start(network, get("HeadProfile", "Arn"), get_instance_types(head=True)),
            *may_manage_own(),
            may_pass("HeadRole"),
            *may_open_sessions("AWS-StartSSHSession"),
            # Made once and read by the cluster's roles alone; this role can make it, but neither read nor replace it.
            allow(["ssm:PutParameter"], token, Condition={"StringEquals": {"ssm:Overwrite": "false"}}),
            allow(["ssm:GetParameter"], key),
            allow(["cloudformation:DescribeStacks"], stacks),
            # The commit that the pipeline hands over; infra/cicd/stack.py says why it lies there.
            allow(["s3:GetObject", "s3:GetObjectVersion"], bucket_arn(storage["CodeBucket"], "/${Project}-ci/*")),
            allow(["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], storage["KeyArn"], Condition=by_services),
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], get("ApplyLog", "Arn")),
        ],
    )
    stack.resource(
        "Apply",
        "AWS::CodeBuild::Project",
        {
            "Name": sub("${Project}-ray-apply"),
            "Description": "applies infra/ray/cluster.yaml with `ray up`",
            "ServiceRole": get("ApplyRole", "Arn"),
            "Source": {"Type": "CODEPIPELINE", "BuildSpec": "infra/ray/buildspec.yaml"},
            "Artifacts": {"Type": "CODEPIPELINE"},
            "EncryptionKey": storage["KeyArn"],
            "Environment": {
                "Type": "LINUX_CONTAINER",
                "ComputeType": "BUILD_GENERAL1_MEDIUM",
                "Image": BUILD_IMAGE,
                "EnvironmentVariables": [{"Name": "PROJECT", "Value": ref("Project")}],
            },
            "LogsConfig": {"CloudWatchLogs": {"Status": "ENABLED", "GroupName": log_group}},
            "TimeoutInMinutes": 120,
            # Two `ray up` at the same time would start two heads.
            "ConcurrentBuildLimit": 1,
        },
    )
    stack.export("RayApplyProject", ref("Apply"))
    stack.export("RayApplyProjectArn", get("Apply", "Arn"))


def _key_id() -> dict[str, Value]:
    return get("Key", "KeyPairId")


def _export(stack: Stack) -> None:
    """Add what infra/ray/render_cluster.py fills the cluster file with, beside the subnets and the key."""
    values = {
        "RayRegion": ref("AWS::Region"),
        "RayCluster": sub("${Project}-ray"),
        "RayKeyName": ref("Key"),
        "RayKeyId": _key_id(),
        "RayAmi": ref("RayAmi"),
        "RayGroup": get("Group", "GroupId"),
        "RayHeadProfile": get("HeadProfile", "Arn"),
        "RayWorkerProfile": get("WorkerProfile", "Arn"),
        "RayTokenParameter": sub("/${Project}/ray/token"),
    }
    for name, value in values.items():
        stack.export(name, value)


def get_instance_types(head: bool) -> list[str]:
    """Return the instance types of the cluster file: the head's, or those of all workers."""
    cluster = yaml.safe_load(read_file("infra/ray/cluster.yaml"))
    kinds = cluster["available_node_types"]
    wanted = [kind for name, kind in kinds.items() if (name == cluster["head_node_type"]) == head]
    return sorted({kind["node_config"]["InstanceType"] for kind in wanted})
