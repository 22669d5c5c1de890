"""The buckets and the key: private, versioned, encrypted, TLS only, colder with time, and never deleted."""

import pytest

from infra.storage.access import may_read, may_write
from infra.storage.stack import COLDER, make_storage
from tests.infra.resolve import Resolver

# Source: Amazon S3 User Guide, "Comparing the storage classes": least days before and between moves, and whether an
# object is there at once.
LEAST_DAYS = {"STANDARD_IA": 30, "GLACIER_IR": 0}


@pytest.fixture(scope="module")
def resources(templates):
    return Resolver(templates["storage"]).get_resources()


@pytest.mark.parametrize("use", sorted(COLDER))
def test_bucket_is_private_versioned_and_encrypted(resources, use):
    bucket = resources[f"{use.capitalize()}Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    # S3 writes access logs only where its own key encrypts.
    # Source: Amazon S3 User Guide, "Enabling Amazon S3 server access logging".
    wanted = (
        {"SSEAlgorithm": "AES256"} if use == "logs" else {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "get:Key.Arn"}
    )
    assert rule["ServerSideEncryptionByDefault"] == wanted
    # Account and region make the name unique in the world; 63 characters are the most that S3 takes.
    assert bucket["BucketName"] == f"readclade-{use}-111122223333-us-east-2"
    assert len("a" * 16 + f"-{use}-111122223333-ap-southeast-1") <= 63


@pytest.mark.parametrize("use", sorted(COLDER))
def test_bucket_refuses_weak_transport_and_stolen_tokens(resources, use):
    policy = resources[f"{use.capitalize()}BucketPolicy"]["Properties"]["PolicyDocument"]
    refusals = [entry for entry in policy["Statement"] if entry["Effect"] == "Deny"]
    assert [entry["Condition"] for entry in refusals] == [
        {"Bool": {"aws:SecureTransport": False}},
        {"NumericLessThan": {"s3:TlsVersion": 1.2}},
        {
            "Null": {"aws:Ec2InstanceSourceVpc": False},
            "StringNotEquals": {"aws:Ec2InstanceSourceVpc": "${aws:SourceVpc}"},
            "BoolIfExists": {"aws:ViaAWSService": False},
        },
    ]
    for entry in refusals:
        name = f"arn:aws:s3:::ref:{use.capitalize()}Bucket"
        assert (entry["Principal"], entry["Action"], entry["Resource"]) == ("*", "s3:*", [name, f"{name}/*"])


@pytest.mark.parametrize("use", sorted(COLDER))
def test_objects_grow_colder_and_leftovers_vanish(resources, use):
    rules = resources[f"{use.capitalize()}Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rules[0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    # Only logs are ever deleted by age.
    assert ("ExpirationInDays" in rules[0]) == (use == "logs")
    moves = [move for rule in rules for move in rule.get("Transitions", [])]
    assert (use == "code") == (not moves)
    for move in moves:
        assert move["TransitionInDays"] >= LEAST_DAYS[move["StorageClass"]]


def test_key_turns_and_serves_this_account_only(resources):
    key = resources["Key"]["Properties"]
    assert key["EnableKeyRotation"] is True
    assert key["PendingWindowInDays"] == 30
    for statement in key["KeyPolicy"]["Statement"]:
        if "Service" in statement["Principal"] or statement.get("Sid") == "LustreOnShards":
            assert "111122223333" in str(statement["Condition"])
        else:
            assert statement["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}


def test_key_serves_lustre_for_shards_only(resources):
    statements = resources["Key"]["Properties"]["KeyPolicy"]["Statement"]
    (lustre,) = [entry for entry in statements if entry["Sid"] == "LustreOnShards"]
    assert set(lustre["Action"]) == {
        "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey",
    }  # fmt: skip
    bucket = resources["ShardsBucket"]["Properties"]["BucketName"]
    assert lustre["Condition"] == {
        "StringEquals": {"kms:CallerAccount": "111122223333", "kms:ViaService": "s3.us-east-2.amazonaws.com"},
        "ArnLike": {
            "aws:PrincipalArn": "arn:aws:iam::111122223333:role/aws-service-role/"
            "s3.data-source.lustre.fsx.amazonaws.com/AWSServiceRoleForFSxS3Access_*"
        },
        # With bucket keys the context is the bucket, without them the object.
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}*"},
    }


def test_access_logs_of_every_other_bucket_are_kept(resources):
    for use in set(COLDER) - {"logs"}:
        logging = resources[f"{use.capitalize()}Bucket"]["Properties"]["LoggingConfiguration"]
        assert logging == {"DestinationBucketName": "ref:LogsBucket", "LogFilePrefix": f"access/{use}/"}


def test_reading_allows_no_writing():
    actions = {action for statement in may_read(make_storage(), "ReadsBucket") for action in statement["Action"]}
    assert actions == {"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "kms:Decrypt"}


def test_writing_reaches_only_its_prefix_and_no_older_version():
    statements = may_write(make_storage(), "ShardsBucket", "shards/")
    actions = {action for statement in statements for action in statement["Action"]}
    assert "s3:DeleteObjectVersion" not in actions
    assert "s3:PutBucketPolicy" not in actions
    objects = [entry["Resource"] for entry in statements if "s3:PutObject" in entry["Action"]]
    assert [entry["Fn::Sub"][0] for entry in objects] == ["arn:${AWS::Partition}:s3:::${Bucket}/shards/*"]
