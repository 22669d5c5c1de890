"""Rules for every stack: nobody may do everything, nothing is open, everything is encrypted, data stay."""

import json

import pytest

from tests.infra.resolve import Resolver

# What holds data that nobody else has.
KEEPS_DATA = {
    "AWS::S3::Bucket",
    "AWS::KMS::Key",
    "AWS::DynamoDB::Table",
    "AWS::RDS::DBInstance",
    "AWS::EFS::FileSystem",
    "AWS::ECR::Repository",
}
# For each type, the property that encrypts it and, in words, with what.
ENCRYPTED_BY = {
    "AWS::S3::Bucket": "BucketEncryption",
    "AWS::FSx::FileSystem": "KmsKeyId",
    "AWS::Logs::LogGroup": "KmsKeyId",
    "AWS::SNS::Topic": "KmsMasterKeyId",
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::ECR::Repository": "EncryptionConfiguration",
    "AWS::CodeBuild::Project": "EncryptionKey",
    "AWS::Lambda::Function": "KmsKeyArn",
    "AWS::Athena::WorkGroup": "WorkGroupConfiguration",
}
# Types that hold nothing, or whose only encryption is AWS's own.
HOLDS_NOTHING = {
    "AWS::SSM::Parameter",
}


@pytest.fixture(scope="module")
def resources(templates):
    """Return (stack.LogicalId, resource) of every stack, with the way to the internet laid."""
    given = {
        "Internet": "nat",
        "WorkflowSha256": "0" * 64,
        "ConnectionArn": "arn:aws:codeconnections:us-east-2:111122223333:connection/0a1b2c3d",
        "Repository": "owner/readclade",
        "DeployRoleArn": "arn:aws:iam::111122223333:role/deploy",
    }
    found = []
    for stack, template in templates.items():
        options = {name: value for name, value in given.items() if name in template.get("Parameters", {})}
        resolved = Resolver(template, **options).get_resources()
        found += [(f"{stack}.{name}", resource) for name, resource in resolved.items()]
    return found


def find_statements(value):
    """Yield every statement of a policy, wherever it stands."""
    if isinstance(value, dict):
        if "Effect" in value and "Action" in value:
            yield value
        for entry in value.values():
            yield from find_statements(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from find_statements(entry)


def as_list(value):
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def statements(resources):
    return [(name, resource["Type"], entry) for name, resource in resources for entry in find_statements(resource)]


def test_there_are_statements(statements):
    assert len(statements) > 40


def test_no_policy_allows_every_action_on_every_resource(statements):
    wide = []
    for name, kind, statement in statements:
        actions, resource = as_list(statement["Action"]), as_list(statement.get("Resource", []))
        if statement["Effect"] == "Deny" or "*" not in resource:
            continue
        # In a key's policy `*` is the key; at an endpoint it is what the callers' own policies allow, of one service.
        if kind == "AWS::KMS::Key" or (kind == "AWS::EC2::VPCEndpoint" and "*" not in actions):
            continue
        wide += [(name, action) for action in actions if action == "*" or action.endswith(":*")]
    assert not wide


def test_no_policy_uses_not_action_or_not_resource(resources):
    assert not [name for name, resource in resources if "NotAction" in json.dumps(resource)]
    assert not [name for name, resource in resources if "NotResource" in json.dumps(resource)]


def test_actions_on_every_resource_are_conditional_or_know_no_resource(statements):
    # Source: Service Authorization Reference; these have no resource type, or are asked before one is known.
    no_resource = {
        "ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeInstanceStatus", "ec2:DescribeImages",
        "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeVpcs", "ec2:DescribeKeyPairs",
        "ec2:DescribeVolumes", "ec2:DescribeLaunchTemplates", "ec2:DescribeAvailabilityZones", "ec2:DescribeTags",
        "ec2:DescribeRegions", "ec2:DescribeRouteTables", "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeSpotPriceHistory", "ec2:DescribePlacementGroups",
        "ecr:GetAuthorizationToken", "cloudformation:ValidateTemplate", "xray:PutTraceSegments",
        "cloudwatch:ListMetrics", "cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics",
        "ssm:DescribeInstanceInformation", "logs:DescribeLogGroups", "cloudformation:ListExports",
        "cloudformation:ListStacks",
    }  # fmt: skip
    for name, kind, statement in statements:
        if statement["Effect"] == "Deny" or "*" not in as_list(statement.get("Resource", [])):
            continue
        if kind == "AWS::KMS::Key" or "Condition" in statement or set(as_list(statement["Action"])) <= no_resource:
            continue
        assert (kind, statement.get("Sid")) == ("AWS::EC2::VPCEndpoint", "Read"), (name, statement)


def test_only_services_of_this_account_are_let_in(statements):
    for name, kind, statement in statements:
        principal = statement.get("Principal")
        if principal not in ("*", {"AWS": "*"}) or statement["Effect"] == "Deny":
            continue
        own_account = statement.get("Condition", {}).get("StringEquals", {}).get("kms:CallerAccount") == "111122223333"
        assert kind == "AWS::EC2::VPCEndpoint" or own_account, f"{name} lets anybody in"


def test_nothing_admits_the_internet(resources):
    for name, resource in resources:
        properties = resource["Properties"]
        rules = properties.get("SecurityGroupIngress", [])
        if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            rules = [properties]
        for rule in rules:
            assert rule.get("CidrIp") not in ("0.0.0.0/0",), name
            assert "CidrIpv6" not in rule, name
            assert rule["IpProtocol"] != "-1" or "SourceSecurityGroupId" in rule, name
            assert not (rule.get("CidrIp") and (rule["FromPort"], rule["ToPort"]) != (443, 443)), name


def test_no_port_of_ssh_or_of_rays_dashboard_is_open(resources):
    for name, resource in resources:
        for rule in [resource["Properties"], *as_list(resource["Properties"].get("SecurityGroupIngress", []))]:
            if "FromPort" in rule and "CidrIp" in rule:
                assert not any(int(rule["FromPort"]) <= port <= int(rule["ToPort"]) for port in (22, 8265, 6379)), name


def test_no_instance_gets_a_public_address(resources):
    text = json.dumps([resource for _, resource in resources])
    assert '"MapPublicIpOnLaunch": true' not in text
    assert '"AssociatePublicIpAddress": true' not in text


def test_what_holds_data_is_encrypted(resources):
    for name, resource in resources:
        if wanted := ENCRYPTED_BY.get(resource["Type"]):
            assert resource["Properties"].get(wanted), f"{name} lacks {wanted}"


def test_what_holds_data_outlives_its_stack(resources):
    for name, resource in resources:
        if resource["Type"] in KEEPS_DATA:
            assert resource.get("DeletionPolicy") == "Retain", name
            assert resource.get("UpdateReplacePolicy") == "Retain", name


def test_roles_of_services_are_for_services(resources):
    for name, resource in resources:
        if resource["Type"] == "AWS::IAM::Role":
            for statement in resource["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
                assert set(statement["Principal"]) <= {"Service", "Federated"}, name


def test_no_user_and_no_long_lived_key_is_made(resources):
    # Ray's head reaches its workers by ssh within their group; no port 22 is open to anything else.
    kinds = {resource["Type"] for name, resource in resources if name != "ray.Key"}
    assert not kinds & {"AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group", "AWS::EC2::KeyPair"}


def test_no_role_can_destroy_what_is_kept(statements):
    final = {
        "s3:DeleteObjectVersion", "s3:DeleteBucket", "s3:PutBucketPolicy", "s3:PutLifecycleConfiguration",
        "s3:PutBucketVersioning", "kms:DisableKey", "kms:ScheduleKeyDeletion", "kms:PutKeyPolicy",
    }  # fmt: skip
    for name, kind, statement in statements:
        if statement["Effect"] == "Allow" and kind != "AWS::KMS::Key":
            # An endpoint only lets through what the caller's own policies allow.
            assert kind == "AWS::EC2::VPCEndpoint" or not final & set(as_list(statement["Action"])), name


def test_no_role_has_a_managed_policy_of_administrators(resources):
    text = json.dumps([resource for _, resource in resources])
    for wide in (
        "AdministratorAccess",
        "PowerUserAccess",
        "IAMFullAccess",
        "AmazonS3FullAccess",
        "AmazonEC2FullAccess",
    ):
        assert wide not in text
