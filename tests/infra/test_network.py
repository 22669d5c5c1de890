"""The network: two zones, no way in, and a way out only where it was asked for."""

import json
from ipaddress import ip_network

import pytest

from infra.network.stack import ENDPOINTS
from infra.network.zones import ZONES
from tests.infra.resolve import Resolver


@pytest.fixture(scope="module")
def template(templates):
    return templates["network"]


def get_of_type(template, kind, **options):
    return {
        name: resource["Properties"]
        for name, resource in Resolver(template, **options).get_resources().items()
        if resource["Type"] == kind
    }


def test_nothing_leads_to_the_internet_unless_asked_for(template):
    assert not get_of_type(template, "AWS::EC2::Route")
    assert not get_of_type(template, "AWS::EC2::InternetGateway")
    assert not get_of_type(template, "AWS::EC2::NatGateway")


def test_nodes_reach_the_internet_by_nat_only(template):
    routes = get_of_type(template, "AWS::EC2::Route", Internet="nat")
    assert routes["PrivateToNat"]["NatGatewayId"] == "ref:Nat"
    assert "GatewayId" not in routes["PrivateToNat"]
    # The gateway's own subnet is the only one with a route to the internet.
    direct = [route["RouteTableId"] for route in routes.values() if "GatewayId" in route]
    assert direct == ["ref:NatRoutes"]
    joined = get_of_type(template, "AWS::EC2::SubnetRouteTableAssociation", Internet="nat")
    assert [entry["SubnetId"] for entry in joined.values() if entry["RouteTableId"] == "ref:NatRoutes"] == [
        "ref:NatSubnet"
    ]


@pytest.mark.parametrize("region", sorted(ZONES))
def test_subnets_stand_in_two_zones_and_do_not_overlap(template, region):
    subnets = get_of_type(template, "AWS::EC2::Subnet", **{"AWS::Region": region, "Internet": "nat"})
    blocks = [ip_network(subnet["CidrBlock"]) for subnet in subnets.values()]
    assert all(block.subnet_of(ip_network("10.64.0.0/16")) for block in blocks)
    assert not any(one.overlaps(two) for one in blocks for two in blocks if one is not two)
    zones = {name: subnet["AvailabilityZoneId"] for name, subnet in subnets.items()}
    assert zones["ComputeSubnet"] == ZONES[region]["Compute"]
    assert zones["SecondSubnet"] == ZONES[region]["Second"]


@pytest.mark.parametrize(("region", "allowed"), [("us-east-2", True), ("us-east-1", False)])
def test_regions_without_hpc6a_are_refused(template, region, allowed):
    (rule,) = template["Rules"].values()
    assert Resolver(template, **{"AWS::Region": region})(rule["Assertions"][0]["Assert"]) is allowed


def test_endpoints_are_those_that_nodes_need(template):
    endpoints = get_of_type(template, "AWS::EC2::VPCEndpoint")
    services = {entry["ServiceName"].removeprefix("com.amazonaws.us-east-2.") for entry in endpoints.values()}
    # What ParallelCluster needs where there is no internet, sessions, and images of ECR.
    # Source: ParallelCluster User Guide, "AWS ParallelCluster in a single subnet with no internet access".
    assert services >= {"logs", "cloudformation", "ec2", "s3", "dynamodb"}
    assert services >= {"ssm", "ssmmessages", "ec2messages", "ecr.api", "ecr.dkr", "monitoring"}
    assert services == set(ENDPOINTS) | {"s3", "dynamodb"}
    for entry in endpoints.values():
        if entry["VpcEndpointType"] == "Interface":
            assert entry["PrivateDnsEnabled"] is True


def test_data_can_be_written_to_own_buckets_only(template):
    statements = get_of_type(template, "AWS::EC2::VPCEndpoint")["S3Endpoint"]["PolicyDocument"]["Statement"]
    writes = [entry for entry in statements if any("Put" in action for action in entry["Action"])]
    for entry in writes:
        own = entry.get("Condition") == {"StringEquals": {"aws:ResourceAccount": "111122223333"}}
        # How a node tells CloudFormation that it is ready.
        assert own or entry["Resource"] == "arn:aws:s3:::cloudformation-waitcondition-us-east-2/*"
    assert not any("*" in entry["Action"] or "s3:*" in entry["Action"] for entry in statements)


def test_everything_is_recorded(template):
    (log,) = get_of_type(template, "AWS::EC2::FlowLog").values()
    assert log["TrafficType"] == "ALL"
    assert log["LogDestination"] == "arn:aws:s3:::import:readclade-LogsBucket/flow/"


def test_flow_logs_may_be_written_where_they_go(templates):
    policy = Resolver(templates["storage"]).get_resources()["LogsBucketPolicy"]["Properties"]["PolicyDocument"]
    allowed = {entry["Sid"]: entry["Resource"] for entry in policy["Statement"]}
    assert allowed["FlowLogs"] == "arn:aws:s3:::ref:LogsBucket/flow/AWSLogs/111122223333/*"


def test_parameters_refuse_what_does_not_fit(template):
    with pytest.raises(ValueError, match="Cidr"):
        Resolver(template, Cidr="0.0.0.0/0")
    with pytest.raises(ValueError, match="Internet"):
        Resolver(template, Internet="open")
    assert "10.64.0.0/16" in json.dumps(template["Parameters"])
