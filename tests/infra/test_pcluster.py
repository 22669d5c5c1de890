"""The Slurm cluster: what ParallelCluster's own code says of its configuration, and rules of its manual beside that."""

import gzip
import json
import re
import subprocess
from copy import deepcopy
from importlib.resources import files
from pathlib import Path

import pytest

from infra.network.zones import ZONES
from infra.pcluster.stack import VERSION
from tests.infra.resolve import Resolver

ROOT = Path(__file__).parents[2]


def run_check(given, *options: str) -> str:
    """Return what ParallelCluster's code complains of."""
    command = [ROOT / ".venv-pcluster/bin/python", ROOT / "tests/infra/check_cluster.py", *options]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def instance_types() -> dict[str, dict]:
    """Return AWS's description of every instance type, as moto has recorded it."""
    with gzip.open(files("moto") / "ec2/resources/instance_types.json.gz") as packed:
        return json.load(packed)


@pytest.fixture(scope="module")
def configuration(templates):
    """Return the cluster's configuration as ParallelCluster gets it, with ids in place of imports."""
    resources = Resolver(templates["pcluster"], WorkflowSha256="0" * 64).get_resources()
    text = json.dumps(resources["Cluster"]["Properties"]["ClusterConfiguration"])
    for old, new in {
        "import:readclade-ComputeSubnetId": "subnet-0123456789abcdef0",
        "import:readclade-ClientGroupId": "sg-0123456789abcdef0",
        "import:readclade-FileSystemId": "fs-0123456789abcdef0",
        "import:readclade-CodeBucket": "readclade-code-111122223333-us-east-2",
        "import:readclade-RayClientPolicy": "arn:aws:iam::111122223333:policy/client",
        "ref:HeadNodePolicy": "arn:aws:iam::111122223333:policy/head",
        "ref:ComputePolicy": "arn:aws:iam::111122223333:policy/compute",
        "ref:Workflow": "/readclade/workflow",
    }.items():
        text = text.replace(old, new)
    assert "import:" not in text
    assert "ref:" not in text
    return json.loads(text)


@pytest.fixture(scope="module")
def queues(configuration):
    return {queue["Name"]: queue for queue in configuration["Scheduling"]["SlurmQueues"]}


def as_text(value):
    """Return a configuration as CloudFormation hands it to a custom resource: every scalar is text."""
    if isinstance(value, dict):
        return {key: as_text(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_text(entry) for entry in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("form", [lambda value: value, as_text], ids=["as-written", "as-cloudformation-gives-it"])
def test_configuration_passes_parallelclusters_checks(configuration, form):
    assert run_check(form(deepcopy(configuration))) == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c["Scheduling"]["SlurmQueues"][0].update(Name="GPU_Q"), "Invalid name 'GPU_Q'"),
        (lambda c: c["SharedStorage"][0].update(MountDir="/opt/slurm"), "/opt/slurm is reserved"),
        (lambda c: c["HeadNode"].update(Imds={"Secured": "perhaps"}), "Not a valid boolean"),
        (lambda c: c["HeadNode"].update(Colour="red"), "Unknown field"),
        (lambda c: c["Scheduling"]["SlurmSettings"]["CustomSlurmSettings"].append({"SuspendTime": 1}), "SuspendTime"),
    ],
    ids=["queue-name", "mount-dir", "boolean", "unknown-key", "denied-setting"],
)
def test_checks_refuse_what_is_wrong(configuration, change, complaint):
    wrong = deepcopy(configuration)
    change(wrong)
    assert complaint in run_check(wrong)


def test_version_is_the_one_that_is_checked(templates):
    assert f"aws-parallelcluster=={VERSION}\n" in (ROOT / "requirements/pcluster.in").read_text()
    assert f"/{VERSION}/" in json.dumps(templates["pcluster"]["Resources"]["Provider"])


def test_cluster_is_not_named_like_its_stack(templates):
    # Source: ParallelCluster User Guide, "Cluster resource": the names must differ.
    resources = Resolver(templates["pcluster"], WorkflowSha256="0" * 64).get_resources()
    name = resources["Cluster"]["Properties"]["ClusterName"]
    assert name != "readclade-pcluster"
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9-]{0,59}", name)


@pytest.fixture(scope="module")
def profile() -> str:
    return (ROOT / "profiles/aws-pcluster/config.yaml").read_text()


def test_queues_are_those_of_the_profile(queues, profile):
    assert set(re.findall(r"^[^#]*slurm_partition: (\w+)", profile, re.MULTILINE)) <= set(queues)


def test_profile_starts_no_more_ranks_than_a_node_has_cores(queues, instance_types, profile):
    ranks = int(re.search(r"^ *tasks_per_node: (\d+)", profile, re.MULTILINE)[1])
    for resource in queues["cpu"]["ComputeResources"]:
        assert ranks <= instance_types[resource["InstanceType"]]["VCpuInfo"]["DefaultCores"]


def test_profile_writes_to_the_file_system(configuration, profile):
    folder = re.search(r"^directory: (\S+)", profile, re.MULTILINE)[1]
    assert folder.startswith(configuration["SharedStorage"][0]["MountDir"] + "/readclade/")


def test_queues_have_the_instances_of_the_architecture(queues, instance_types):
    assert set(queues) == {"gpu", "cpu", "memory"}
    families = {"gpu": "g4dn", "cpu": "hpc6a", "memory": "r5"}
    for name, queue in queues.items():
        for resource in queue["ComputeResources"]:
            kind = resource["InstanceType"]
            assert kind.split(".")[0] == families[name]
            assert kind in instance_types
            assert resource["Name"] == kind.replace(".", "-")
            assert resource["MinCount"] == 0


def test_mpi_queue_has_efa_and_a_placement_group(queues, instance_types):
    cpu = queues["cpu"]
    assert cpu["Networking"]["PlacementGroup"] == {"Enabled": True}
    for resource in cpu["ComputeResources"]:
        assert resource["Efa"] == {"Enabled": True}
        assert instance_types[resource["InstanceType"]]["NetworkInfo"]["EfaSupported"]
    # A placement group, and EFA's traffic, end at the border of a zone.
    assert len(cpu["Networking"]["SubnetIds"]) == 1


def test_efa_is_asked_for_only_where_it_exists(queues, instance_types):
    for queue in queues.values():
        for resource in queue["ComputeResources"]:
            if "Efa" in resource:
                assert instance_types[resource["InstanceType"]]["NetworkInfo"]["EfaSupported"]


def test_no_spot_where_there_is_none(queues, instance_types):
    for queue in queues.values():
        for resource in queue["ComputeResources"]:
            classes = instance_types[resource["InstanceType"]]["SupportedUsageClasses"]
            assert ("spot" in classes) or queue["CapacityType"] == "ONDEMAND"


def test_slurm_settings(configuration):
    settings = configuration["Scheduling"]["SlurmSettings"]
    assert settings["ScaledownIdletime"] == 5
    assert settings["EnableMemoryBasedScheduling"] is True
    # Slurm's names are resolved without Route 53, which the network does not reach.
    assert settings["Dns"] == {"DisableManagedDns": True, "UseEc2Hostnames": True}
    # squeue must remember a job three times as long as the executor waits before its first look (docs/clusters.md).
    assert {"MinJobAge": 300} in settings["CustomSlurmSettings"]


def test_nodes_are_reached_by_sessions_only(configuration, queues):
    head = configuration["HeadNode"]
    assert "KeyName" not in head["Ssh"]
    assert head["Ssh"]["AllowedIps"] == "127.0.0.1/32"
    assert "ElasticIp" not in head["Networking"]
    assert configuration["Imds"]["ImdsSupport"] == "v2.0"
    assert head["Imds"]["Secured"] is True
    for node in [head, *queues.values()]:
        policies = [entry["Policy"] for entry in node["Iam"]["AdditionalIamPolicies"]]
        assert "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore" in policies
        assert "AssignPublicIp" not in node["Networking"]


def test_every_volume_is_encrypted(configuration, queues):
    nodes = [configuration["HeadNode"], *(queue["ComputeSettings"] for queue in queues.values())]
    assert all(node["LocalStorage"]["RootVolume"]["Encrypted"] is True for node in nodes)


def test_file_system_is_mounted_where_the_profile_looks(configuration):
    assert [storage["MountDir"] for storage in configuration["SharedStorage"]] == ["/fsx"]
    for node in [configuration["HeadNode"], *configuration["Scheduling"]["SlurmQueues"]]:
        assert node["Networking"]["AdditionalSecurityGroups"] == ["sg-0123456789abcdef0"]


def test_first_start_does_not_depend_on_what_updates_change(templates):
    # ParallelCluster refuses an update that changes the head node's OnNodeConfigured.
    old, new = (
        Resolver(templates["pcluster"], WorkflowSha256=digit * 64).get_resources()["Cluster"]["Properties"][
            "ClusterConfiguration"
        ]["HeadNode"]["CustomActions"]
        for digit in "01"
    )
    assert old["OnNodeConfigured"] == new["OnNodeConfigured"]
    assert old["OnNodeUpdated"] != new["OnNodeUpdated"]


@pytest.mark.parametrize("region", sorted(ZONES))
def test_every_instance_type_exists_in_the_compute_zone(queues, region):
    with gzip.open(
        files("moto") / f"ec2/resources/instance_type_offerings/availability-zone-id/{region}.json.gz"
    ) as packed:
        offers = {(offer["InstanceType"], offer["Location"]) for offer in json.load(packed)}
    kinds = [resource["InstanceType"] for queue in queues.values() for resource in queue["ComputeResources"]]
    assert {(kind, ZONES[region]["Compute"]) for kind in [*kinds, "m5.xlarge"]} <= offers
    # Ray's workers run in both zones.
    assert ("g4dn.xlarge", ZONES[region]["Second"]) in offers
    assert ZONES[region]["Second"] != ZONES[region]["Compute"]
