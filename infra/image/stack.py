"""Keep the image of the Ray cluster's nodes: a private registry whose tags cannot be moved, and which scans."""

import json

from infra.template import Stack, get, ref, sub

KEEP_IMAGES = 20


def make_image(storage: Stack) -> Stack:
    """Return the stack of the registry."""
    stack = Stack("image", "readclade: the registry of the image that the Ray cluster's nodes run")
    stack.resource(
        "Images",
        "AWS::ECR::Repository",
        {
            "RepositoryName": ref("Project"),
            # A tag names one image for ever, the commit it was built from; clusters go by digest all the same.
            "ImageTagMutability": "IMMUTABLE",
            "ImageScanningConfiguration": {"ScanOnPush": True},
            "EncryptionConfiguration": {"EncryptionType": "KMS", "KmsKey": storage["KeyArn"]},
            "LifecyclePolicy": {"LifecyclePolicyText": _make_lifecycle()},
        },
        DeletionPolicy="Retain",
        UpdateReplacePolicy="Retain",
    )
    stack.export("ImageRepository", ref("Images"))
    stack.export("ImageRepositoryArn", get("Images", "Arn"))
    stack.export("ImageUri", get("Images", "RepositoryUri"), Description="followed by @sha256: and the digest")
    stack.export(
        "ImageRegistry", sub("${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"), Description="to log in to"
    )
    return stack


def _make_lifecycle() -> str:
    """Return the rules of ECR, as text: leftovers go after a week, old images after twenty new ones."""
    leftovers = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7}
    newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEEP_IMAGES}
    rules = [
        {"rulePriority": priority, "description": text, "selection": selection, "action": {"type": "expire"}}
        for priority, (text, selection) in enumerate([("leftovers", leftovers), ("old images", newest)], 1)
    ]
    return json.dumps({"rules": rules})
