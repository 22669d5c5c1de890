"""Draw the stacks, what they hold and what they take from each other, as the diagram of docs/cloud.md.

The diagram is made from the stacks themselves; `python -m infra.app` puts it into the page, and a test compares them.
"""

import json
import re
from collections import Counter
from typing import Any

import yaml

from infra.template import Stack, read_file

START, END = "<!-- diagram: python -m infra.app -->", "<!-- end of the diagram -->"
# What is drawn, in the words of the diagram; rules, roles, policies and the like are left out.
DRAWN = {
    "AWS::Athena::NamedQuery": "saved query",
    "AWS::Athena::WorkGroup": "Athena workgroup",
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CodeBuild::Project": "CodeBuild project",
    "AWS::CodePipeline::Pipeline": "CodePipeline",
    "AWS::DynamoDB::Table": "DynamoDB table",
    "AWS::EC2::NatGateway": "NAT gateway, on request",
    "AWS::EC2::Subnet": "subnet",
    "AWS::EC2::VPC": "VPC",
    "AWS::EC2::VPCEndpoint": "endpoint",
    "AWS::ECR::Repository": "registry of images",
    "AWS::FSx::DataRepositoryAssociation": "tie to the shards",
    "AWS::FSx::FileSystem": "FSx for Lustre",
    "AWS::Glue::Crawler": "Glue crawler",
    "AWS::Glue::Database": "Glue database",
    "AWS::Glue::Table": "Glue table",
    "AWS::KMS::Key": "KMS key",
    "AWS::Lambda::Function": "function",
    "AWS::S3::Bucket": "bucket",
    "AWS::SNS::Topic": "SNS topic",
}


def draw(stacks: list[Stack]) -> str:
    """Return the diagram in Mermaid's language: a box for each stack, an arrow to each stack that takes from it."""
    owners = {name: stack.name for stack in stacks for name in stack.sections["Outputs"]}
    lines = ["flowchart LR"]
    for stack in stacks:
        text = "<br/>".join([f"<b>{stack.name}</b>", *_describe(stack)])
        lines.append(f'    {stack.name}["{text}"]')
    for stack in stacks:
        text = json.dumps(stack.to_template())
        taken = set(re.findall(r'"Fn::ImportValue": \{"Fn::Sub": "\$\{Project\}-(\w+)"\}', text))
        lines += [f"    {owner} --> {stack.name}" for owner in sorted({owners[name] for name in taken})]
    return "\n".join(lines)


def update_page(page: str, stacks: list[Stack]) -> str:
    """Return the text of a page with its diagram drawn anew.

    Raises:
        ValueError: if the page has no place for one, between START and END.
    """
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"the page needs the lines {START} and {END} once each")
    before, rest = page.split(START)
    return f"{before}{START}\n```mermaid\n{draw(stacks)}\n```\n{END}{rest.split(END)[1]}"


def _describe(stack: Stack) -> list[str]:
    """Return what a stack holds, a line for each kind."""
    kinds = Counter(resource["Type"] for resource in stack.sections["Resources"].values())
    lines = [f"{count} × {DRAWN[kind]}" if count > 1 else DRAWN[kind] for kind, count in kinds.items() if kind in DRAWN]
    if stack.name == "pcluster":
        lines += _describe_queues(stack.sections["Resources"]["Cluster"]["Properties"]["ClusterConfiguration"])
    if stack.name == "ray":
        lines += _describe_nodes(yaml.safe_load(read_file("infra/ray/cluster.yaml"))["available_node_types"])
    return lines


def _describe_queues(configuration: dict[str, Any]) -> list[str]:
    return [
        f"queue {queue['Name']}: 0 to {resource['MaxCount']} {resource['InstanceType']}"
        for queue in configuration["Scheduling"]["SlurmQueues"]
        for resource in queue["ComputeResources"]
    ]


def _describe_nodes(kinds: dict[str, Any]) -> list[str]:
    return [
        f"{name.replace('_', ' ')}: {kind['node_config']['InstanceType']}"
        + (f", {kind.get('min_workers', 0)} to {kind['max_workers']}" if kind.get("max_workers") else "")
        for name, kind in kinds.items()
    ]
