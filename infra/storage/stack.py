"""Keep the data: one key, and a bucket each for reads, shards, results, code and logs.

Nothing in this stack is removed with it: buckets and key stay when the stack is deleted or a bucket is replaced.
"""

from infra.template import Stack, Value, allow, bucket_arn, get, policy, ref, sub

# Days after which objects move to a colder class. Reads are read once, shards again only for another clustering,
# results when somebody asks. All of these classes answer at once, so that nothing has to be restored by hand.
# Source: Amazon S3 User Guide, "Using Amazon S3 storage classes".
COLDER = {
    "reads": {"STANDARD_IA": 30, "GLACIER_IR": 90},
    "shards": {"STANDARD_IA": 30, "GLACIER_IR": 90},
    "results": {"STANDARD_IA": 90, "GLACIER_IR": 365},
    "code": {},
    "logs": {"STANDARD_IA": 30},
}
BUCKET_NAME = "${{Project}}-{use}-${{AWS::AccountId}}-${{AWS::Region}}"
LUSTRE_ROLES = (
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/s3.data-source.lustre.fsx.amazonaws.com/"
    "AWSServiceRoleForFSxS3Access_*"
)
KEEP_OLD_VERSIONS_DAYS = 30
KEEP_LOGS_DAYS = 365


def make_storage() -> Stack:
    """Return the stack of the key and the buckets."""
    stack = Stack("storage", "readclade: the key and the buckets for reads, shards, results, code and logs")
    key = _add_key(stack)
    logs = _add_bucket(stack, "logs", key=None)
    for use in ("reads", "shards", "results", "code"):
        _add_bucket(stack, use, key, logs)
    return stack


def _add_key(stack: Stack) -> dict[str, Value]:
    """Add the key that everything is encrypted with, and return its ARN."""
    own_account = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}
    own_log_groups = sub("arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:*")
    use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    # In a key's policy, `*` as the resource means this key.
    statements = [
        # Lets policies of this account grant the use of the key; without it, nobody could ever change this policy.
        allow(
            ["kms:*"],
            "*",
            Sid="PoliciesOfThisAccount",
            Principal={"AWS": sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")},
        ),
        allow(
            use,
            "*",
            Sid="LogGroups",
            Principal={"Service": sub("logs.${AWS::Region}.${AWS::URLSuffix}")},
            Condition={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": own_log_groups}},
        ),
        allow(
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            "*",
            Sid="Alarms",
            Principal={"Service": "cloudwatch.amazonaws.com"},
            Condition=own_account,
        ),
        # FSx for Lustre reads and writes shards by a role of each file system, which has no policy for keys.
        # Source: FSx for Lustre User Guide, "Working with server-side encrypted Amazon S3 buckets".
        allow(
            use,
            "*",
            Sid="LustreOnShards",
            Principal={"AWS": "*"},
            Condition={
                "StringEquals": {
                    "kms:CallerAccount": ref("AWS::AccountId"),
                    "kms:ViaService": sub("s3.${AWS::Region}.${AWS::URLSuffix}"),
                },
                "ArnLike": {"aws:PrincipalArn": sub(LUSTRE_ROLES)},
                "StringLike": {
                    "kms:EncryptionContext:aws:s3:arn": bucket_arn(sub(BUCKET_NAME.format(use="shards")), "*"),
                },
            },
        ),
    ]
    stack.resource(
        "Key",
        "AWS::KMS::Key",
        {
            "Description": sub("${Project}: buckets, file system, log groups, topics"),
            "EnableKeyRotation": True,
            "PendingWindowInDays": 30,
            "KeyPolicy": policy(*statements),
        },
        DeletionPolicy="Retain",
        UpdateReplacePolicy="Retain",
    )
    stack.resource(
        "KeyAlias", "AWS::KMS::Alias", {"AliasName": sub("alias/${Project}"), "TargetKeyId": get("Key", "Arn")}
    )
    stack.export("KeyArn", get("Key", "Arn"), Description="the key that everything is encrypted with")
    return get("Key", "Arn")


def _add_bucket(stack: Stack, use: str, key: Value | None, logs: Value | None = None) -> dict[str, str]:
    """Add a private bucket and the policy that refuses plain HTTP, and return the reference to the bucket.

    Args:
        stack: that they are added to.
        use: what is kept in it, a key of COLDER.
        key: ARN of the key; None: the key that S3 manages, the only one that access logs can be written with.
        logs: the bucket that takes its access logs; None: nobody's.
    """
    name = use.capitalize() + "Bucket"
    if key:
        encryption = {
            "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
            "BucketKeyEnabled": True,
        }
    else:
        encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    properties = {
        "BucketName": sub(BUCKET_NAME.format(use=use)),
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
        "VersioningConfiguration": {"Status": "Enabled"},
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
        "LifecycleConfiguration": {"Rules": _make_lifecycle(use)},
    }
    if logs:
        properties["LoggingConfiguration"] = {"DestinationBucketName": logs, "LogFilePrefix": f"access/{use}/"}
    bucket = stack.resource(name, "AWS::S3::Bucket", properties, DeletionPolicy="Retain", UpdateReplacePolicy="Retain")
    statements = [*_refuse(bucket), *([] if logs else _take_logs(bucket))]
    stack.resource(
        f"{name}Policy",
        "AWS::S3::BucketPolicy",
        {"Bucket": bucket, "PolicyDocument": policy(*statements)},
        # Without its policy a bucket that stays would take plain HTTP.
        DeletionPolicy="Retain",
        UpdateReplacePolicy="Retain",
    )
    stack.export(name, bucket, Description=f"the bucket for {use}")
    return bucket


def _make_lifecycle(use: str) -> list[dict[str, Value]]:
    """Return the rules by which a bucket's objects grow colder and its leftovers vanish."""
    leftovers = {
        "Id": "remove-leftovers",
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        "NoncurrentVersionExpiration": {"NoncurrentDays": KEEP_OLD_VERSIONS_DAYS},
    }
    if use == "logs":
        leftovers["ExpirationInDays"] = KEEP_LOGS_DAYS
    moves = [{"StorageClass": name, "TransitionInDays": days} for name, days in COLDER[use].items()]
    colder = {"Id": "grow-colder", "Status": "Enabled", "Transitions": moves}
    return [leftovers, colder] if moves else [leftovers]


def _refuse(bucket: Value) -> list[dict[str, Value]]:
    """Return the statements that refuse weak transport, and a node's token that is used elsewhere than in its network.

    Source: AWS Security Blog, "How to use policies to restrict where EC2 instance credentials can be used from".
    """
    everything = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn(bucket), bucket_arn(bucket, "/*")],
    }
    elsewhere = {
        "Null": {"aws:Ec2InstanceSourceVpc": False},
        "StringNotEquals": {"aws:Ec2InstanceSourceVpc": "${aws:SourceVpc}"},
        "BoolIfExists": {"aws:ViaAWSService": False},
    }
    return [
        {**everything, "Sid": "OnlyTls", "Condition": {"Bool": {"aws:SecureTransport": False}}},
        {**everything, "Sid": "OnlyNewTls", "Condition": {"NumericLessThan": {"s3:TlsVersion": 1.2}}},
        {**everything, "Sid": "NodesOnlyFromTheirNetwork", "Condition": elsewhere},
    ]


def _take_logs(bucket: Value) -> list[dict[str, Value]]:
    """Return the statements by which S3 writes access logs and the network its flow logs, both of this account only."""
    own_account = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}
    flow = {"Principal": {"Service": "delivery.logs.amazonaws.com"}, "Condition": own_account}
    return [
        allow(
            ["s3:PutObject"],
            bucket_arn(bucket, "/access/*"),
            Sid="AccessLogs",
            Principal={"Service": "logging.s3.amazonaws.com"},
            Condition=own_account,
        ),
        allow(["s3:PutObject"], bucket_arn(bucket, "/flow/AWSLogs/${AWS::AccountId}/*"), Sid="FlowLogs", **flow),
        allow(["s3:GetBucketAcl", "s3:ListBucket"], bucket_arn(bucket), Sid="FlowLogsCheck", **flow),
    ]
