"""Lay the network: private subnets in two zones, ways to AWS's services that avoid the internet, and no open port.

Nodes reach S3 by a gateway and other services by interface endpoints. With `Internet=nat` they also reach the internet,
for reads that are fetched from an archive; nothing can reach them from there either way.
"""

from infra.network.zones import ZONES
from infra.template import Stack, Value, allow, bucket_arn, get, policy, ref, sub

# Interface endpoints cost by the hour and zone, so each is here for a reason, and all in the compute zone only.
ENDPOINTS = {
    "ssm": "sessions on nodes instead of ssh",
    "ssmmessages": "sessions on nodes instead of ssh",
    "ec2messages": "sessions on nodes instead of ssh",
    "ec2": "Slurm and Ray start and stop nodes",
    "cloudformation": "ParallelCluster's nodes report that they are ready",
    "logs": "logs of nodes",
    "monitoring": "metrics of nodes and queues",
    "ecr.api": "the image of Ray's nodes: who may pull it",
    "ecr.dkr": "the image of Ray's nodes: its manifest; S3 serves the layers",
}


def make_network(storage: Stack) -> Stack:
    """Return the stack of the network, whose flow logs go to the storage's bucket for logs."""
    stack = Stack("network", "readclade: private subnets in two zones, endpoints of AWS's services, flow logs")
    stack.parameter(
        "Cidr",
        "Private addresses of the network, a /16; change it where it meets another network of yours.",
        Default="10.64.0.0/16",
        AllowedPattern=r"(10|172|192)\.\d{1,3}\.0\.0/16",
    )
    stack.parameter(
        "Internet",
        "Whether nodes may reach the internet, as fetching reads from an archive takes: none or nat.",
        Default="none",
        AllowedValues=["none", "nat"],
    )
    stack.mapping("Zones", ZONES)
    stack.rule(
        "RegionHasHpc6a",
        None,
        (
            {"Fn::Contains": [sorted(ZONES), ref("AWS::Region")]},
            "Hpc6a instances do not exist in this region; infra/network/zones.py lists those that have them.",
        ),
    )
    vpc = _add_vpc(stack)
    private = _add_private_subnets(stack, vpc)
    routes = _add_private_routes(stack, vpc, private)
    _add_nat(stack, vpc, routes)
    _add_endpoints(stack, vpc, private["Compute"], routes)
    _add_flow_logs(stack, vpc, storage)
    return stack


def _named(name: str) -> list[dict[str, Value]]:
    """Return the tag by which the console shows a resource."""
    return [{"Key": "Name", "Value": sub("${Project}-" + name)}]


def _add_vpc(stack: Stack) -> dict[str, str]:
    vpc = stack.resource(
        "Vpc",
        "AWS::EC2::VPC",
        {"CidrBlock": ref("Cidr"), "EnableDnsSupport": True, "EnableDnsHostnames": True, "Tags": _named("vpc")},
    )
    stack.export("VpcId", vpc)
    return vpc


def _add_subnet(stack: Stack, name: str, vpc: Value, zone: str, block: int, **more: Value) -> dict[str, str]:
    """Add a subnet that is one of four equal parts of the network.

    Args:
        stack: that it is added to.
        name: of the resource.
        vpc: the network.
        zone: Compute or Second.
        block: which quarter of the addresses, from 0.
        more: attributes of the resource.
    """
    properties = {
        "VpcId": vpc,
        "AvailabilityZoneId": {"Fn::FindInMap": ["Zones", ref("AWS::Region"), zone]},
        "CidrBlock": {"Fn::Select": [block, {"Fn::Cidr": [ref("Cidr"), 4, 14]}]},
        "MapPublicIpOnLaunch": False,
        "Tags": _named(name),
    }
    return stack.resource(name, "AWS::EC2::Subnet", properties, **more)


def _add_private_subnets(stack: Stack, vpc: Value) -> dict[str, dict[str, str]]:
    """Add the subnets that nodes run in: 16,379 addresses each."""
    subnets = {
        "Compute": _add_subnet(stack, "ComputeSubnet", vpc, "Compute", 0),
        "Second": _add_subnet(stack, "SecondSubnet", vpc, "Second", 1),
    }
    stack.export("ComputeSubnetId", subnets["Compute"], Description="where Hpc6a exists; Slurm and Lustre run here")
    stack.export("SecondSubnetId", subnets["Second"], Description="another zone, for Ray's workers")
    return subnets


def _add_private_routes(stack: Stack, vpc: Value, private: dict[str, Value]) -> dict[str, str]:
    """Add one table of routes for the private subnets, with no way out of it yet, and return the reference to it."""
    table = stack.resource("PrivateRoutes", "AWS::EC2::RouteTable", {"VpcId": vpc, "Tags": _named("private")})
    for zone, subnet in private.items():
        stack.resource(
            f"{zone}SubnetRoutes",
            "AWS::EC2::SubnetRouteTableAssociation",
            {"SubnetId": subnet, "RouteTableId": table},
        )
    return table


def _add_nat(stack: Stack, vpc: Value, private_routes: Value) -> None:
    """Add, where asked for, a way from the nodes to the internet, and none back."""
    wanted = {"Condition": stack.condition("WithNat", {"Fn::Equals": [ref("Internet"), "nat"]})}
    gateway = stack.resource("InternetGateway", "AWS::EC2::InternetGateway", {"Tags": _named("internet")}, **wanted)
    attached = stack.resource(
        "InternetGatewayAttachment",
        "AWS::EC2::VPCGatewayAttachment",
        {"VpcId": vpc, "InternetGatewayId": gateway},
        **wanted,
    )
    # Nothing but the NAT gateway stands in this subnet.
    subnet = _add_subnet(stack, "NatSubnet", vpc, "Compute", 2, **wanted)
    table = stack.resource("NatRoutes", "AWS::EC2::RouteTable", {"VpcId": vpc, "Tags": _named("nat")}, **wanted)
    stack.resource(
        "NatSubnetRoutes",
        "AWS::EC2::SubnetRouteTableAssociation",
        {"SubnetId": subnet, "RouteTableId": table},
        **wanted,
    )
    out = {"DestinationCidrBlock": "0.0.0.0/0"}
    stack.resource(
        "NatToInternet",
        "AWS::EC2::Route",
        {**out, "RouteTableId": table, "GatewayId": gateway},
        DependsOn=attached["Ref"],
        **wanted,
    )
    stack.resource("NatAddress", "AWS::EC2::EIP", {"Domain": "vpc", "Tags": _named("nat")}, **wanted)
    nat = stack.resource(
        "Nat",
        "AWS::EC2::NatGateway",
        {"SubnetId": subnet, "AllocationId": get("NatAddress", "AllocationId"), "Tags": _named("nat")},
        DependsOn="NatToInternet",
        **wanted,
    )
    stack.resource(
        "PrivateToNat", "AWS::EC2::Route", {**out, "RouteTableId": private_routes, "NatGatewayId": nat}, **wanted
    )


def _add_endpoints(stack: Stack, vpc: Value, subnet: Value, routes: Value) -> None:
    """Add the ways to AWS's services: gateways, which cost nothing, and interfaces, which cost by the hour."""
    stack.resource(
        "EndpointGroup",
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "HTTPS from this network to the endpoints of AWS services",
            "VpcId": vpc,
            "SecurityGroupIngress": [
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": ref("Cidr"), "Description": "HTTPS"}
            ],
            # Endpoints answer and never ask; a group without any rule would be given one that allows everything.
            "SecurityGroupEgress": [
                {"IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "to nobody"},
            ],
        },
    )
    gateway = {"VpcId": vpc, "VpcEndpointType": "Gateway", "RouteTableIds": [routes]}
    stack.resource(
        "S3Endpoint",
        "AWS::EC2::VPCEndpoint",
        {
            **gateway,
            "ServiceName": sub("com.amazonaws.${AWS::Region}.s3"),
            "PolicyDocument": policy(*_only_own_buckets_take_data()),
        },
    )
    stack.resource(
        "DynamoDbEndpoint",  # ParallelCluster keeps the state of its nodes there
        "AWS::EC2::VPCEndpoint",
        {
            **gateway,
            "ServiceName": sub("com.amazonaws.${AWS::Region}.dynamodb"),
            "PolicyDocument": policy(_only_own_account("dynamodb")),
        },
    )
    for service in ENDPOINTS:
        stack.resource(
            "".join(part.capitalize() for part in service.split(".")) + "Endpoint",
            "AWS::EC2::VPCEndpoint",
            {
                "VpcId": vpc,
                "VpcEndpointType": "Interface",
                "ServiceName": sub("com.amazonaws.${AWS::Region}." + service),
                "PrivateDnsEnabled": True,
                "SubnetIds": [subnet],
                "SecurityGroupIds": [get("EndpointGroup", "GroupId")],
                "PolicyDocument": policy(_only_own_account(service.split(".")[0])),
            },
        )


def _only_own_buckets_take_data() -> list[dict[str, Value]]:
    """Return the statements by which data can be read from any bucket, and written to those of this account only.

    A token that is stolen on a node can so carry nothing into another account's bucket. CloudFormation's own bucket is
    where a node reports that it is ready.
    """
    anybody = {"Principal": "*"}
    own = {"StringEquals": {"aws:ResourceAccount": ref("AWS::AccountId")}}
    write = ["s3:PutObject*", "s3:DeleteObject*", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    return [
        allow(["s3:GetObject*", "s3:ListBucket*", "s3:GetBucketLocation"], "*", Sid="Read", **anybody),
        allow(write, "*", Sid="WriteOwn", **anybody, Condition=own),
        allow(
            ["s3:PutObject"],
            bucket_arn("cloudformation-waitcondition", "-${AWS::Region}/*"),
            Sid="ReportReady",
            **anybody,
        ),
    ]


def _only_own_account(service: str) -> dict[str, Value]:
    """Return the statement by which an endpoint serves principals of this account only, what their policies allow."""
    prefix = {"monitoring": "cloudwatch"}.get(service, service)
    own = {"StringEquals": {"aws:PrincipalAccount": ref("AWS::AccountId")}}
    return allow([f"{prefix}:*"], "*", Principal="*", Condition=own)


def _add_flow_logs(stack: Stack, vpc: Value, storage: Stack) -> None:
    """Record who talked to whom, in the bucket for logs."""
    stack.resource(
        "FlowLogs",
        "AWS::EC2::FlowLog",
        {
            "ResourceType": "VPC",
            "ResourceId": vpc,
            "TrafficType": "ALL",
            "LogDestinationType": "s3",
            "LogDestination": bucket_arn(storage["LogsBucket"], "/flow/"),
            "MaxAggregationInterval": 600,
        },
    )
