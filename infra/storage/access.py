"""Statements of the policies that let a role into one bucket, as far as it needs and no further."""

from infra.template import Stack, Value, allow, bucket_arn, sub


def may_read(storage: Stack, bucket: str, prefix: str = "") -> list[dict[str, Value]]:
    """Return the statements that let a role list and read objects.

    Args:
        storage: the stack of the buckets.
        bucket: the output with its name, such as `ReadsBucket`.
        prefix: how the names of the objects begin, such as `workflow/`; empty: all of them.
    """
    condition = {"Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}}} if prefix else {}
    return [
        allow(["s3:ListBucket"], bucket_arn(storage[bucket]), **condition),
        allow(["s3:GetBucketLocation"], bucket_arn(storage[bucket])),
        allow(["s3:GetObject"], bucket_arn(storage[bucket], f"/{prefix}*")),
        _may_use_key(storage, ["kms:Decrypt"]),
    ]


def may_write(storage: Stack, bucket: str, prefix: str = "") -> list[dict[str, Value]]:
    """Return the statements that let a role list, read, write and delete objects, but no older version of one.

    Args: as for may_read.
    """
    actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    return [
        *may_read(storage, bucket, prefix)[:-1],
        allow(actions, bucket_arn(storage[bucket], f"/{prefix}*")),
        _may_use_key(storage, ["kms:Decrypt", "kms:GenerateDataKey"]),
    ]


def _may_use_key(storage: Stack, actions: list[str]) -> dict[str, Value]:
    """Return the statement that lets a role use the key, by way of S3 only."""
    by_s3 = {"StringEquals": {"kms:ViaService": sub("s3.${AWS::Region}.${AWS::URLSuffix}")}}
    return allow(actions, storage["KeyArn"], Condition=by_s3)
