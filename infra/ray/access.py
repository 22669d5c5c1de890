"""What the Ray cluster's roles may do: start and end its own nodes, and nothing else that costs or leaks.

Ray knows its nodes by the tag `ray-cluster-name`. All rights here hang on it: a node can be started only with the tag
and with a role of this stack, and only what carries the tag can be changed or ended. No role can give the tag to
another machine.
"""

from infra.template import Stack, Value, allow, get, ref, sub

CLUSTER_TAG = "ray-cluster-name"
# The tags that Ray writes to nodes while they live, from ray.autoscaler.tags, without the cluster's own.
NODE_TAGS = [
    "Name",
    "ray-file-mounts-contents",
    "ray-launch-config",
    "ray-launch-request",
    "ray-node-name",
    "ray-node-status",
    "ray-node-type",
    "ray-replica-index",
    "ray-runtime-config",
    "ray-user-node-type",
]
# Of these actions none knows a resource: they only look.
LOOK = [
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
]


def ec2(kind: str, name: Value = "*") -> dict[str, Value]:
    """Return the ARN of a resource of EC2 in this region and account."""
    return sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:" + kind + "/${Name}", Name=name)


def parameter_arn(name: str) -> dict[str, Value]:
    """Return the ARN of a parameter of Systems Manager, whose name may hold `${Project}` and the like."""
    return sub("arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter" + name)


def may_start(network: Stack, profile: Value, types: list[str]) -> list[dict[str, Value]]:
    """Return the statements that let a role start nodes of the cluster, with one profile and of some types only.

    Args:
        network: the stack of the subnets.
        profile: ARN of the instance profile that a new node must get.
        types: instance types.
    """
    places = [
        ec2("key-pair", ref("Key")),
        ec2("network-interface"),
        ec2("security-group", get("Group", "GroupId")),
        ec2("spot-instances-request"),
        ec2("subnet", network["ComputeSubnetId"]),
        ec2("subnet", network["SecondSubnetId"]),
        sub("arn:${AWS::Partition}:ec2:${AWS::Region}::image/${RayAmi}"),
    ]
    node = {
        "StringEquals": {
            f"aws:RequestTag/{CLUSTER_TAG}": _cluster(),
            "ec2:InstanceType": types,
            "ec2:MetadataHttpTokens": "required",
        },
        "ArnEquals": {"ec2:InstanceProfile": profile},
    }
    return [
        allow(["ec2:RunInstances"], ec2("instance"), Condition=node),
        allow(["ec2:RunInstances"], ec2("volume"), Condition={"Bool": {"ec2:Encrypted": True}}),
        allow(["ec2:RunInstances"], places),
        allow(
            ["ec2:CreateTags"],
            [ec2("instance"), ec2("spot-instances-request"), ec2("volume")],
            Condition={"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        ),
    ]


def may_manage_own() -> list[dict[str, Value]]:
    """Return the statements that let a role see nodes, and tag and end those of the cluster."""
    own = {f"aws:ResourceTag/{CLUSTER_TAG}": _cluster()}
    return [
        allow(LOOK, "*"),
        allow(["ec2:TerminateInstances"], ec2("instance"), Condition={"StringEquals": own}),
        allow(
            ["ec2:CreateTags"],
            ec2("instance"),
            Condition={"StringEquals": own, "ForAllValues:StringEquals": {"aws:TagKeys": NODE_TAGS}},
        ),
    ]


def may_pass(*roles: str) -> dict[str, Value]:
    """Return the statement that lets a role hand roles of this stack to nodes."""
    to_nodes = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    return allow(["iam:PassRole"], [get(role, "Arn") for role in roles], Condition=to_nodes)


def may_open_sessions(document: str) -> list[dict[str, Value]]:
    """Return the statements that let a role open one kind of session with the cluster's nodes, and end its own.

    Args:
        document: of Systems Manager, such as `AWS-StartSSHSession`.
    """
    own = {"StringEquals": {f"ssm:resourceTag/{CLUSTER_TAG}": _cluster()}}
    sessions = sub("arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:session/${!aws:userid}-*")
    return [
        allow(["ssm:StartSession"], ec2("instance"), Condition=own),
        allow(["ssm:StartSession"], sub("arn:${AWS::Partition}:ssm:${AWS::Region}::document/" + document)),
        allow(["ssm:TerminateSession", "ssm:ResumeSession"], sessions),
    ]


def may_take_sessions() -> dict[str, Value]:
    """Return the statement that a node needs to be reached by sessions.

    AWS's own AmazonSSMManagedInstanceCore adds to these the reading of every parameter of the account. The channels
    know no resource; the condition holds only for a machine of EC2 that speaks for itself.
    """
    channels = [f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")]
    from_node = {"ArnLike": {"ec2:SourceInstanceARN": ec2("instance")}}
    return allow(["ssm:UpdateInstanceInformation", *channels], "*", Condition=from_node)


def may_read_token(storage: Stack) -> list[dict[str, Value]]:
    """Return the statements that let a role read the token of Ray."""
    by_ssm = {"StringEquals": {"kms:ViaService": sub("ssm.${AWS::Region}.${AWS::URLSuffix}")}}
    return [
        allow(["ssm:GetParameter"], parameter_arn("/${Project}/ray/token")),
        allow(["kms:Decrypt"], storage["KeyArn"], Condition=by_ssm),
    ]


def may_pull(image: Stack) -> list[dict[str, Value]]:
    """Return the statements that let a role pull the image."""
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return [allow(pull, image["ImageRepositoryArn"]), allow(["ecr:GetAuthorizationToken"], "*")]


def _cluster() -> dict[str, Value]:
    return sub("${Project}-ray")
