"""Roll every commit out: test it, build its image, update the stacks once a person has agreed, apply the Ray cluster.

No step may do more than its own part. What changes the stacks themselves needs wide rights, as it makes roles; that
role is not made here but named by whoever deploys this stack, and without it the pipeline leaves the stacks alone.
"""

import json

from infra.storage.access import may_read, may_write
from infra.storage.logs import add_log_group
from infra.template import Stack, Value, allow, bucket_arn, get, policy, ref, sub, trust

BUILD_IMAGE = "aws/codebuild/standard:7.0"
# CodePipeline keeps what its steps hand over under the first 20 characters of its own name; Project has 16 at most.
NAME = "${Project}-ci"


def make_cicd(storage: Stack, image: Stack, ray: Stack) -> Stack:
    """Return the stack of the pipeline."""
    stack = Stack("cicd", "readclade: the pipeline that tests, builds and rolls out each commit")
    stack.parameter(
        "ConnectionArn",
        "The connection to where the repository lies, made once in the console of Developer Tools.",
        AllowedPattern="arn:aws[a-z-]*:(codeconnections|codestar-connections):[a-z0-9-]+:[0-9]{12}:connection/[a-f0-9-]+",
    )
    stack.parameter("Repository", "OWNER/NAME of the repository.", AllowedPattern=r"[\w.-]+/[\w.-]+")
    stack.parameter("Branch", "What is rolled out.", Default="main", AllowedPattern=r"[\w./-]+")
    stack.parameter(
        "DeployRoleArn",
        "The role that CloudFormation updates the stacks with; empty: the pipeline leaves them alone.",
        Default="",
        AllowedPattern=r"|arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+",
    )
    stack.condition("DeploysStacks", {"Fn::Not": [{"Fn::Equals": [ref("DeployRoleArn"), ""]}]})
    source = _may_take_source(storage)
    _add_build(stack, storage, "Test", "LARGE", "every check of a commit", {}, source)
    _add_build(
        stack,
        storage,
        "Image",
        "MEDIUM",
        "builds and pushes the image of Ray's nodes",
        {"IMAGE_URI": image["ImageUri"]},
        [*source, *_may_push(image)],
        docker=True,
    )
    _add_build(
        stack,
        storage,
        "Stacks",
        "SMALL",
        "updates the stacks that exist",
        {"PROJECT": ref("Project"), "CODE_BUCKET": storage["CodeBucket"], "DEPLOY_ROLE": ref("DeployRoleArn")},
        [*source, *_may_deploy(storage)],
        Condition="DeploysStacks",
    )
    _add_pipeline(stack, storage, ray)
    return stack


def _may_take_source(storage: Stack) -> list[dict[str, Value]]:
    """Return the statements that let a step take the commit that the pipeline hands over."""
    return [
        allow(["s3:GetObject", "s3:GetObjectVersion"], bucket_arn(storage["CodeBucket"], f"/{NAME}/*")),
        *may_read(storage, "CodeBucket")[-1:],
    ]


def _may_push(image: Stack) -> list[dict[str, Value]]:
    """Return the statements that let a step look an image up and add one; none is ever replaced or removed."""
    actions = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImages",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    ]
    return [allow(actions, image["ImageRepositoryArn"]), allow(["ecr:GetAuthorizationToken"], "*")]


def _may_deploy(storage: Stack) -> list[dict[str, Value]]:
    """Return the statements that let a step bring stacks up to date, with the role that was named and no other."""
    stacks = sub("arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${Project}-*/*")
    own = sub("arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${Project}-cicd/*")
    change = ["CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet"]
    look = ["DescribeStacks", "DescribeStackEvents", "GetTemplateSummary"]
    to_cloudformation = {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    ami = sub("arn:${AWS::Partition}:ssm:${AWS::Region}::parameter/aws/service/deeplearning/*")
    return [
        *may_write(storage, "CodeBucket", "workflow/"),
        *may_write(storage, "CodeBucket", "pcluster/"),
        allow([f"cloudformation:{action}" for action in change + look], stacks),
        {**allow([f"cloudformation:{action}" for action in change], own), "Effect": "Deny"},
        allow(["iam:PassRole"], ref("DeployRoleArn"), Condition=to_cloudformation),
        allow(["ssm:GetParameters"], ami),
    ]


def _add_role(stack: Stack, name: str, service: str, statements: list[dict[str, Value]], **more: Value) -> None:
    own = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}
    stack.resource(
        f"{name}Role",
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": trust(service, **own),
            "Policies": [{"PolicyName": "own", "PolicyDocument": policy(*statements)}],
        },
        **more,
    )


def _add_build(
    stack: Stack,
    storage: Stack,
    name: str,
    size: str,
    does: str,
    variables: dict[str, Value],
    statements: list[dict[str, Value]],
    docker: bool = False,
    **more: Value,
) -> None:
    """Add a step, with a role and a log of its own, that runs infra/cicd/<name>.yaml.

    Args:
        stack: that it is added to.
        storage: the stack of the key.
        name: of the step.
        size: of its machine: SMALL, MEDIUM or LARGE.
        does: what it is for, in words.
        variables: of its environment.
        statements: of its role, beside the right to write the log.
        docker: whether it builds images.
        more: attributes of the resources, such as Condition.
    """
    step = name.lower()
    log_group = add_log_group(stack, storage, f"{name}Log", f"/aws/codebuild/${{Project}}-ci-{step}", **more)
    write_log = allow(["logs:CreateLogStream", "logs:PutLogEvents"], get(f"{name}Log", "Arn"))
    _add_role(stack, name, "codebuild.amazonaws.com", [*statements, write_log], **more)
    stack.resource(
        name,
        "AWS::CodeBuild::Project",
        {
            "Name": sub(f"${{Project}}-ci-{step}"),
            "Description": does,
            "ServiceRole": get(f"{name}Role", "Arn"),
            "Source": {"Type": "CODEPIPELINE", "BuildSpec": f"infra/cicd/{step}.yaml"},
            "Artifacts": {"Type": "CODEPIPELINE"},
            "EncryptionKey": storage["KeyArn"],
            "Environment": {
                "Type": "LINUX_CONTAINER",
                "ComputeType": f"BUILD_GENERAL1_{size}",
                "Image": BUILD_IMAGE,
                "EnvironmentVariables": [{"Name": key, "Value": value} for key, value in variables.items()],
                **({"PrivilegedMode": True} if docker else {}),
            },
            "LogsConfig": {"CloudWatchLogs": {"Status": "ENABLED", "GroupName": log_group}},
            "TimeoutInMinutes": 120,
        },
        **more,
    )


def _add_pipeline(stack: Stack, storage: Stack, ray: Stack) -> None:
    """Add the pipeline and its role, which starts the steps and does nothing itself."""
    steps = [get("Test", "Arn"), get("Image", "Arn"), ray["RayApplyProjectArn"]]
    deploys = {"Fn::If": ["DeploysStacks", get("Stacks", "Arn"), ref("AWS::NoValue")]}
    use = ["codeconnections:UseConnection", "codestar-connections:UseConnection"]
    _add_role(
        stack,
        "Pipeline",
        "codepipeline.amazonaws.com",
        [
            allow(
                ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], bucket_arn(storage["CodeBucket"], f"/{NAME}/*")
            ),
            allow(["s3:GetBucketLocation", "s3:GetBucketVersioning"], bucket_arn(storage["CodeBucket"])),
            *may_write(storage, "CodeBucket")[-1:],
            allow(use, ref("ConnectionArn")),
            allow(["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"], [*steps, deploys]),
        ],
    )
    approve = {"Category": "Approval", "Owner": "AWS", "Provider": "Manual", "Version": "1"}
    agree = {
        "Name": "Agree",
        "ActionTypeId": approve,
        "RunOrder": 1,
        "Configuration": {"CustomData": "Update the stacks? The changes of infra/ stand in the commit."},
    }
    stacks = {"Name": "Stacks", "Actions": [agree, _build("Stacks", ref("Stacks"), run_order=2)]}
    image = {"name": "IMAGE", "type": "PLAINTEXT", "value": "#{Image.IMAGE}"}
    stack.resource(
        "Pipeline",
        "AWS::CodePipeline::Pipeline",
        {
            "Name": sub(NAME),
            "PipelineType": "V2",
            # One commit after the other: two that roll out at once could leave the older one deployed.
            "ExecutionMode": "QUEUED",
            "RoleArn": get("PipelineRole", "Arn"),
            "ArtifactStore": {
                "Type": "S3",
                "Location": storage["CodeBucket"],
                "EncryptionKey": {"Type": "KMS", "Id": storage["KeyArn"]},
            },
            "Stages": [
                {"Name": "Source", "Actions": [_take_source()]},
                {"Name": "Test", "Actions": [_build("Test", ref("Test"))]},
                {"Name": "Image", "Actions": [_build("Image", ref("Image"), Namespace="Image")]},
                {"Fn::If": ["DeploysStacks", stacks, ref("AWS::NoValue")]},
                {"Name": "Ray", "Actions": [_build("Apply", ray["RayApplyProject"], variables=[image])]},
            ],
        },
    )
    stack.export("PipelineName", ref("Pipeline"))


def _take_source() -> dict[str, Value]:
    return {
        "Name": "Source",
        "ActionTypeId": {"Category": "Source", "Owner": "AWS", "Provider": "CodeStarSourceConnection", "Version": "1"},
        "OutputArtifacts": [{"Name": "Source"}],
        "Configuration": {
            "ConnectionArn": ref("ConnectionArn"),
            "FullRepositoryId": ref("Repository"),
            "BranchName": ref("Branch"),
            "DetectChanges": True,
        },
    }


def _build(
    name: str, project: Value, run_order: int = 1, variables: list[dict[str, str]] | None = None, **more: Value
) -> dict[str, Value]:
    """Return an action that runs a build over the commit.

    Args:
        name: of the action.
        project: expression of the CodeBuild project's name.
        run_order: its place within its stage.
        variables: of the build's environment, of what earlier steps have exported.
        more: further keys of the action.
    """
    environment = {"EnvironmentVariables": json.dumps(variables)} if variables else {}
    return {
        "Name": name,
        "ActionTypeId": {"Category": "Build", "Owner": "AWS", "Provider": "CodeBuild", "Version": "1"},
        "InputArtifacts": [{"Name": "Source"}],
        "RunOrder": run_order,
        "Configuration": {"ProjectName": project, **environment},
        **more,
    }
