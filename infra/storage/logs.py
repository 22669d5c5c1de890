"""Groups of logs, all of one form: encrypted with our key, kept for a while, and gone with their stack."""

from infra.template import Stack, Value, sub

KEEP_LOGS_DAYS = 90


def add_log_group(stack: Stack, storage: Stack, name: str, group: str, **more: Value) -> dict[str, str]:
    """Add the group that a service writes its log into; return its reference.

    Args:
        stack: gets the group.
        storage: the stack of the key.
        name: of the resource.
        group: name of the group, with ${Project} in it.
        more: attributes of the resource, such as Condition.
    """
    return stack.resource(
        name,
        "AWS::Logs::LogGroup",
        {"LogGroupName": sub(group), "RetentionInDays": KEEP_LOGS_DAYS, "KmsKeyId": storage["KeyArn"]},
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
        **more,
    )
