"""Ray's own provider for AWS starts, tags, finds and ends nodes of the cluster file, within the rights of its roles.

EC2 is moto's: it keeps nodes, tags and groups, but asks nobody for rights. What Ray calls is therefore recorded, and
compared with the policies of the stack.
"""

import re
from fnmatch import fnmatchcase

import boto3
import moto
import pytest
import yaml

pytest.importorskip("ray", reason="the cluster file is checked by Ray itself: make infra")

from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.commands import get_head_node_ip
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_NODE_STATUS, TAG_RAY_USER_NODE_TYPE

from infra.image.stack import make_image
from infra.network.stack import make_network
from infra.ray import apply_cluster
from infra.ray.render_cluster import CLUSTER, check_cluster, render_cluster
from infra.ray.stack import make_ray
from infra.storage.stack import make_storage
from tests.infra.test_ray_cluster import IMAGE, OUTPUTS

REGION = "us-east-2"


@pytest.fixture
def calls(monkeypatch):
    """Set up an empty AWS, and record the actions that it is asked for, such as `ec2:RunInstances`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    made = []
    from botocore.client import BaseClient

    call = BaseClient._make_api_call

    def record(self, operation, arguments):
        made.append((f"{self.meta.service_model.service_name}:{operation}", arguments))
        return call(self, operation, arguments)

    with moto.mock_aws():
        monkeypatch.setattr(BaseClient, "_make_api_call", record)
        yield made


@pytest.fixture
def cluster(calls, tmp_path):
    """Make what the stacks would have made, and return the cluster file as `ray up` hands it to its provider."""
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.64.0.0/16")["Vpc"]["VpcId"]
    zones = [f"{REGION}a", f"{REGION}b"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.64.{i}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for i, zone in enumerate(zones)
    ]
    group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
    ec2.create_key_pair(KeyName="readclade-ray", KeyType="ed25519")
    profiles = {}
    for kind in ("Head", "Worker"):
        profiles[kind] = iam.create_instance_profile(InstanceProfileName=kind)["InstanceProfile"]["Arn"]
    outputs = {
        **OUTPUTS,
        "RayAmi": ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
        "ComputeSubnetId": subnets[0],
        "SecondSubnetId": subnets[1],
        "RayGroup": group,
        "RayHeadProfile": profiles["Head"],
        "RayWorkerProfile": profiles["Worker"],
    }
    config = check_cluster(yaml.safe_load(render_cluster(CLUSTER.read_text(), outputs, IMAGE)))
    (tmp_path / "key.pem").write_text("no key")
    config["auth"]["ssh_private_key"] = str(tmp_path / "key.pem")
    calls.clear()
    return bootstrap_aws(config)


def start(cluster, kind, count=1):
    """Start nodes of a type as Ray does, and return its provider."""
    provider = AWSNodeProvider({**cluster["provider"], "region": REGION}, cluster["cluster_name"])
    tags = {
        TAG_RAY_NODE_KIND: "head" if kind == "head" else "worker",
        TAG_RAY_NODE_STATUS: "uninitialized",
        TAG_RAY_USER_NODE_TYPE: kind,
    }
    provider.create_node(cluster["available_node_types"][kind]["node_config"], tags, count)
    return provider


def get_actions(role):
    storage = make_storage()
    template = make_ray(storage, make_network(storage), make_image(storage)).to_template()
    (own,) = template["Resources"][role]["Properties"]["Policies"]
    return {action for statement in own["PolicyDocument"]["Statement"] for action in statement["Action"]}


def test_bootstrap_makes_no_group_no_role_and_no_key(cluster, calls):
    made = {action for action, _ in calls}
    assert made
    assert all(re.fullmatch(r"ec2:Describe\w+", action) for action in made), made
    for kind in cluster["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"] == [boto3.client("ec2").describe_security_groups(
            GroupNames=["nodes"])["SecurityGroups"][0]["GroupId"]]  # fmt: skip


@pytest.mark.parametrize(("role", "kind"), [("ApplyRole", "head"), ("HeadRole", "gpu-t4-spot")])
def test_roles_allow_what_ray_calls(cluster, calls, role, kind):
    """The life of a node: it is looked for, started, tagged anew and ended."""
    provider = start(cluster, kind)
    (node,) = provider.non_terminated_nodes({})
    provider.set_node_tags(node, {TAG_RAY_NODE_STATUS: "up-to-date"})
    provider.terminate_node(node)
    assert not provider.non_terminated_nodes({})
    made = {action for action, _ in calls}
    assert {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"} <= made
    allowed = get_actions(role)
    assert not {action for action in made if not any(fnmatchcase(action, pattern) for pattern in allowed)}


@pytest.mark.parametrize("kind", ["head", "gpu-t4-spot", "gpu-a10g-on-demand", "cpu-spot"])
def test_nodes_are_asked_for_as_the_roles_demand(cluster, calls, kind):
    """The conditions of access.may_start, one by one, on the request that Ray sends."""
    start(cluster, kind)
    (request,) = [arguments for action, arguments in calls if action == "ec2:RunInstances"]
    tags = {tag["Key"]: tag["Value"] for spec in request["TagSpecifications"] for tag in spec["Tags"]}
    assert tags["ray-cluster-name"] == "readclade-ray"
    assert {spec["ResourceType"] for spec in request["TagSpecifications"]} == {"instance"}
    assert request["MetadataOptions"]["HttpTokens"] == "required"
    assert request["IamInstanceProfile"]["Arn"].endswith("/Head" if kind == "head" else "/Worker")
    assert all(disk["Ebs"]["Encrypted"] for disk in request["BlockDeviceMappings"])
    assert ("InstanceMarketOptions" in request) == kind.endswith("-spot")
    (interface,) = request.get("NetworkInterfaces", [{}])
    assert not interface.get("AssociatePublicIpAddress")


def test_head_that_does_not_exist_is_told_from_one_that_nobody_asked(cluster, tmp_path):
    """apply_cluster goes by these words of Ray's."""
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({**cluster, "available_node_types": cluster["available_node_types"]}))
    with pytest.raises(RuntimeError, match=apply_cluster._ABSENT):
        get_head_node_ip(str(path))
