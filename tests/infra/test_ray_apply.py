"""How a commit reaches the Ray cluster: the token, the key, jobs that are not interrupted, and the rights of roles."""

import json
import os
import re

import boto3
import moto
import pytest
import ray.autoscaler.tags

from infra.image.stack import make_image
from infra.network.stack import make_network
from infra.ray.access import CLUSTER_TAG, NODE_TAGS
from infra.ray.apply_cluster import ask_cluster, ensure_token, save_key, wait_until_idle
from infra.ray.stack import get_instance_types, make_ray
from infra.storage.stack import make_storage
from readclade.errors import ReadcladeError


@pytest.fixture
def ssm(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        yield boto3.client("ssm", region_name="us-east-2")


def test_ensure_token_makes_one_token_and_keeps_it(ssm):
    assert ensure_token(ssm, "/readclade/ray/token", "alias/readclade")
    made = ssm.get_parameter(Name="/readclade/ray/token", WithDecryption=True)["Parameter"]
    assert made["Type"] == "SecureString"
    assert re.fullmatch(r"[0-9a-f]{64}", made["Value"])
    assert not ensure_token(ssm, "/readclade/ray/token", "alias/readclade")
    assert ssm.get_parameter(Name="/readclade/ray/token", WithDecryption=True)["Parameter"]["Value"] == made["Value"]


def test_save_key_writes_for_its_owner_only(ssm, tmp_path):
    ssm.put_parameter(Name="/ec2/keypair/key-0", Type="SecureString", Value="PRIVATE")
    (tmp_path / "ssh").mkdir()
    (tmp_path / "ssh/readclade-ray.pem").write_text("old, and open to all")
    path = save_key(ssm, "key-0", "readclade-ray", tmp_path / "ssh")
    assert path.read_text() == "PRIVATE"
    assert path.stat().st_mode & 0o777 == 0o600


def test_wait_until_idle_waits_for_jobs_and_gives_up():
    states, slept = iter(["busy", "busy", "idle"]), []
    wait_until_idle(lambda: next(states), 5, slept.append)
    assert slept == [60, 60]
    with pytest.raises(ReadcladeError, match="left as it was") as caught:
        wait_until_idle(lambda: "busy", 2, slept.append)
    assert "ray job stop" in str(caught.value)
    assert len(slept) == 4
    wait_until_idle(lambda: "absent", 0, slept.append)
    assert len(slept) == 4


@pytest.mark.parametrize(
    ("head", "said", "status", "state"),
    [
        (1, "Head node of cluster (readclade-ray) not found!", 1, "absent"),
        (0, "idle", 0, "idle"),
        (0, "2 jobs have not ended", 1, "busy"),
    ],
)
def test_ask_cluster_tells_states_apart(tmp_path, head, said, status, state):
    """Stands in for `ray`, whose `exec` ends with 1 whatever the status of the command was."""
    ray = tmp_path / "ray"
    ray.write_text(f'#!/bin/sh\n[ "$1" = get-head-ip ] && [ {head} = 0 ] && exit 0\necho "{said}"\nexit {status}\n')
    ray.chmod(0o755)
    assert ask_cluster(str(ray), tmp_path / "cluster.yaml") == state


@pytest.mark.parametrize(
    ("head", "said", "meant"),
    [(0, "ssh: timed out", "the head node does not say"), (1, "ExpiredToken", "EC2 does not say")],
)
def test_ask_cluster_fails_where_nobody_answers(tmp_path, head, said, meant):
    """Neither must pass for a cluster without jobs: `ray up` would end them."""
    ray = tmp_path / "ray"
    ray.write_text(f'#!/bin/sh\n[ "$1" = get-head-ip ] && [ {head} = 0 ] && exit 0\necho "{said}" >&2\nexit 1\n')
    ray.chmod(0o755)
    with pytest.raises(ReadcladeError, match=f"{meant}.*{said}"):
        ask_cluster(str(ray), tmp_path / "cluster.yaml")


@pytest.fixture(scope="module")
def template():
    storage = make_storage()
    return make_ray(storage, make_network(storage), make_image(storage)).to_template()


def get_statements(template, role):
    (own,) = template["Resources"][role]["Properties"]["Policies"]
    return own["PolicyDocument"]["Statement"]


def find(statements, action):
    return [statement for statement in statements if action in statement["Action"]]


@pytest.mark.parametrize(
    ("role", "profile", "head"), [("HeadRole", "WorkerProfile", False), ("ApplyRole", "HeadProfile", True)]
)
def test_roles_start_only_nodes_of_the_cluster(template, role, profile, head):
    (node,) = [
        statement
        for statement in find(get_statements(template, role), "ec2:RunInstances")
        if "ec2:InstanceProfile" in str(statement)
    ]
    equal = node["Condition"]["StringEquals"]
    assert equal[f"aws:RequestTag/{CLUSTER_TAG}"] == {"Fn::Sub": "${Project}-ray"}
    assert equal["ec2:MetadataHttpTokens"] == "required"
    assert equal["ec2:InstanceType"] == get_instance_types(head)
    assert node["Condition"]["ArnEquals"] == {"ec2:InstanceProfile": {"Fn::GetAtt": [profile, "Arn"]}}


@pytest.mark.parametrize("role", ["HeadRole", "ApplyRole"])
def test_roles_end_and_tag_only_nodes_of_the_cluster(template, role):
    statements = get_statements(template, role)
    for action in ("ec2:TerminateInstances", "ec2:CreateTags"):
        for statement in find(statements, action):
            condition = json.dumps(statement["Condition"])
            assert f"aws:ResourceTag/{CLUSTER_TAG}" in condition or '"ec2:CreateAction": "RunInstances"' in condition
    assert not find(statements, "ec2:DeleteTags")
    (retag,) = [
        statement for statement in find(statements, "ec2:CreateTags") if "aws:TagKeys" in str(statement["Condition"])
    ]
    assert CLUSTER_TAG not in retag["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]


def test_node_tags_are_those_that_ray_writes():
    written = {value for name, value in vars(ray.autoscaler.tags).items() if name.startswith("TAG_RAY_")} - {
        CLUSTER_TAG
    }
    assert set(NODE_TAGS) == written | {"Name"}


def test_workers_cannot_touch_machines(template):
    statements = get_statements(template, "WorkerRole")
    actions = {action for statement in statements for action in statement["Action"]}
    assert not {action for action in actions if action.split(":")[0] in ("ec2", "iam", "cloudwatch", "ssmmessages")}
    (parameter,) = find(statements, "ssm:GetParameter")
    assert parameter["Resource"]["Fn::Sub"].endswith("parameter/${Project}/ray/token")


def test_roles_pass_only_roles_of_the_stack(template):
    for role, passed in (("HeadRole", "WorkerRole"), ("ApplyRole", "HeadRole")):
        (statement,) = find(get_statements(template, role), "iam:PassRole")
        assert statement["Resource"] == [{"Fn::GetAtt": [passed, "Arn"]}]
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_group_admits_only_itself(template):
    group = template["Resources"]["Group"]["Properties"]
    assert "SecurityGroupIngress" not in group
    rules = [r for r in template["Resources"].values() if r["Type"] == "AWS::EC2::SecurityGroupIngress"]
    assert rules
    for rule in rules:
        properties = rule["Properties"]
        assert properties["SourceSecurityGroupId"] == properties["GroupId"] == {"Fn::GetAtt": ["Group", "GroupId"]}


def test_stacks_give_what_the_cluster_file_takes(template):
    from infra.ray.render_cluster import _FORMS

    storage = make_storage()
    given = {*template["Outputs"], *make_network(storage).sections["Outputs"], *storage.sections["Outputs"]}
    assert set(_FORMS) <= given
    assert {"RayTokenParameter", "RayKeyId", "RayKeyName", "KeyArn"} <= given


def test_scripts_of_the_step_are_executable():
    assert os.access("infra/ray/install_plugin.sh", os.X_OK)
