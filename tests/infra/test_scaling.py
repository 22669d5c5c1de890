"""The function counts and ends nodes of moto's EC2; the stack lets only the right alarm have nodes ended."""

import json

import boto3
import moto
import pytest

from infra.image.stack import make_image
from infra.network.stack import make_network
from infra.ray.stack import make_ray
from infra.scaling.stack import COUNT_MINUTES, HEADLESS_MINUTES, make_scaling
from infra.storage.stack import make_storage
from infra.template import read_file
from tests.infra.resolve import Resolver

ALARM = {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": '{"AlarmName": "headless"}'}}]}
SCHEDULE = {"source": "aws.events", "detail-type": "Scheduled Event"}


@pytest.fixture
def ec2(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    monkeypatch.setenv("CLUSTER", "readclade-ray")
    monkeypatch.setenv("NAMESPACE", "readclade/Ray")
    with moto.mock_aws():
        yield boto3.client("ec2")


@pytest.fixture
def handler(template):
    """Return the function from the code that the template holds."""
    code = {}
    exec(template["Resources"]["Watch"]["Properties"]["Code"]["ZipFile"], code)
    return lambda event: code["handler"](event, None)


@pytest.fixture(scope="module")
def template():
    storage = make_storage()
    ray = make_ray(storage, make_network(storage), make_image(storage))
    return make_scaling(storage, ray).to_template()


@pytest.fixture
def resources(template):
    return Resolver(template).get_resources()


def start(ec2, kind, cluster="readclade-ray", count=1):
    tags = [{"Key": "ray-cluster-name", "Value": cluster}, {"Key": "ray-node-type", "Value": kind}]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = ec2.run_instances(
        ImageId=image, MinCount=count, MaxCount=count, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    return [instance["InstanceId"] for instance in made["Instances"]]


def list_running(ec2):
    found = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
    return {instance["InstanceId"] for entry in found["Reservations"] for instance in entry["Instances"]}


def test_schedule_counts_and_ends_nothing(ec2, handler):
    nodes = start(ec2, "head") + start(ec2, "worker", count=3) + start(ec2, "worker", "other-ray")
    assert handler(SCHEDULE) == {"Heads": 1, "Workers": 3, "HeadlessWorkers": 0}
    ec2.terminate_instances(InstanceIds=nodes[:1])
    assert handler(SCHEDULE) == {"Heads": 0, "Workers": 3, "HeadlessWorkers": 3}
    assert list_running(ec2) == set(nodes[1:])


def test_schedule_publishes_what_the_alarms_read(ec2, handler, resources):
    start(ec2, "worker", count=2)
    handler(SCHEDULE)
    metrics = boto3.client("cloudwatch").list_metrics()["Metrics"]
    written = {(metric["Namespace"], metric["MetricName"]) for metric in metrics}
    alarms = [entry["Properties"] for entry in resources.values() if entry["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) == 3
    assert {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms} <= written


def test_alarm_ends_workers_without_a_head_of_this_cluster_only(ec2, handler):
    workers = start(ec2, "worker", count=3)
    others = start(ec2, "worker", "other-ray")
    assert handler(ALARM) == {"ended": workers}
    assert list_running(ec2) == set(others)
    assert handler(ALARM) == {"ended": []}


def test_alarm_ends_nothing_where_a_head_has_come_back(ec2, handler):
    nodes = start(ec2, "worker", count=2) + start(ec2, "head")
    assert handler(ALARM) == {"ended": []}
    assert list_running(ec2) == set(nodes)


def test_a_stopped_head_counts_as_none(ec2, handler):
    (head,) = start(ec2, "head")
    (worker,) = start(ec2, "worker")
    ec2.stop_instances(InstanceIds=[head])
    assert handler(ALARM) == {"ended": [worker]}


def test_only_the_alarm_on_headless_workers_has_nodes_ended(resources):
    alarms = {
        name: entry["Properties"] for name, entry in resources.items() if entry["Type"] == "AWS::CloudWatch::Alarm"
    }
    calling = [name for name, alarm in alarms.items() if "ref:Headless" in alarm["AlarmActions"]]
    assert calling == ["HeadlessWorkersAlarm"]
    assert "OKActions" not in alarms["HeadlessWorkersAlarm"], (
        "the function would be called, and count as if by an alarm"
    )
    lambdas = [entry["Properties"] for entry in resources.values() if entry["Type"] == "AWS::SNS::Subscription"]
    assert [(entry["TopicArn"], entry["Protocol"]) for entry in lambdas] == [("ref:Headless", "lambda")]


def test_alarm_waits_longer_than_a_new_head_takes(resources):
    alarm = resources["HeadlessWorkersAlarm"]["Properties"]
    assert alarm["Period"] * alarm["EvaluationPeriods"] == HEADLESS_MINUTES * 60
    assert alarm["Statistic"] == "Minimum", "a single count with a head has to begin the wait anew"
    assert alarm["Period"] == COUNT_MINUTES * 60
    assert resources["Schedule"]["Properties"]["ScheduleExpression"] == f"rate({COUNT_MINUTES} minutes)"


def test_function_may_end_workers_of_the_cluster_only(resources):
    (own,) = resources["WatchRole"]["Properties"]["Policies"]
    (end,) = [entry for entry in own["PolicyDocument"]["Statement"] if "ec2:TerminateInstances" in entry["Action"]]
    assert end["Condition"]["StringEquals"] == {
        "aws:ResourceTag/ray-cluster-name": "import:readclade-RayCluster",
        "aws:ResourceTag/ray-node-type": "worker",
    }
    actions = {action for entry in own["PolicyDocument"]["Statement"] for action in entry["Action"]}
    assert {action for action in actions if action.startswith("ec2:")} == {
        "ec2:DescribeInstances",
        "ec2:TerminateInstances",
    }


def test_code_fits_into_the_template(template):
    """Source: AWS::Lambda::Function Code, ZipFile, its oldest and lowest bound."""
    assert len(read_file("infra/scaling/watch_nodes.py")) <= 4096
    assert "import boto3" in json.dumps(template)


def test_mail_is_sent_where_an_address_is_given(template):
    mail = Resolver(template, Email="somebody@example.org").get_resources()["Mail"]["Properties"]
    assert (mail["TopicArn"], mail["Endpoint"]) == ("ref:Alarms", "somebody@example.org")
    assert "Mail" not in Resolver(template).get_resources()
