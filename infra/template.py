"""CloudFormation templates as plain mappings, with the few words that keep several stacks consistent.

A stack is a template in the making. What one stack exports, others import by handing the stack over:
`network["VpcId"]` is the import expression of an output of the network, and an error where there is no such output.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# What `aws cloudformation deploy` takes without a bucket to upload it to first.
# Source: AWS CloudFormation quotas, template body size in a request.
MAX_TEMPLATE_BYTES = 51_200

Value = Any  # a literal, or a mapping with one intrinsic function


def ref(name: str) -> dict[str, str]:
    """Return a reference to a parameter or a resource of the same stack."""
    return {"Ref": name}


def get(name: str, attribute: str) -> dict[str, list[str]]:
    """Return an attribute, such as `Arn`, of a resource of the same stack."""
    return {"Fn::GetAtt": [name, attribute]}


def sub(text: str, **values: Value) -> dict[str, Value]:
    """Return a text in which CloudFormation replaces each `${name}`, by the values here or by what the stack has."""
    return {"Fn::Sub": [text, values] if values else text}


def bucket_arn(bucket: Value, objects: str = "") -> dict[str, Value]:
    """Return the ARN of a bucket, or of objects in it.

    Args:
        bucket: expression of its name.
        objects: such as `/*` or `/shards/*`; empty: the bucket itself.
    """
    return sub("arn:${AWS::Partition}:s3:::${Bucket}" + objects, Bucket=bucket)


def read_file(path: str) -> str:
    """Return the text of a file, given by its path in the repository."""
    return (ROOT / path).read_text()


def allow(actions: list[str], resources: Value, **more: Value) -> dict[str, Value]:
    """Return a statement of a policy.

    Args:
        actions: such as `s3:GetObject`.
        resources: one ARN or a list of them; `*` only where an action knows no resources.
        more: further keys of the statement, such as Sid, Principal or Condition.
    """
    return {**more, "Effect": "Allow", "Action": actions, "Resource": resources}


def policy(*statements: dict[str, Value]) -> dict[str, Value]:
    """Return a policy document of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(service: str, **condition: Value) -> dict[str, Value]:
    """Return the document that lets a service, such as `ec2.amazonaws.com`, take on a role.

    Args:
        service: the principal.
        condition: the operators of the statement's Condition, such as `StringEquals={"aws:SourceAccount": ...}`.
    """
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return policy({**statement, "Condition": condition} if condition else statement)


class Stack:
    """Make one template, resource by resource."""

    def __init__(self, name: str, description: str) -> None:
        """Start an empty template.

        Args:
            name: of the stack and its file, without the project's name, such as `network`.
            description: one sentence for the console.
        """
        self.name = name
        self.description = description
        self.sections: dict[str, dict[str, Any]] = {
            section: {} for section in ("Parameters", "Mappings", "Rules", "Conditions", "Resources", "Outputs")
        }
        self.parameter(
            "Project",
            "The name that every stack, bucket and role of one installation begins with.",
            Default="readclade",
            AllowedPattern="[a-z][a-z0-9-]{1,15}",
        )

    def parameter(self, name: str, description: str, **more: Value) -> dict[str, str]:
        """Add a parameter, text unless `Type` says otherwise, and return the reference to it."""
        return self._add("Parameters", name, {"Type": "String", "Description": description, **more}, ref(name))

    def mapping(self, name: str, table: dict[str, dict[str, Value]]) -> None:
        """Add a mapping of two levels, which `Fn::FindInMap` looks up."""
        self._add("Mappings", name, table, None)

    def rule(self, name: str, condition: Value | None, *assertions: tuple[Value, str]) -> None:
        """Add a rule that CloudFormation checks the parameters with before it makes anything.

        Args:
            name: of the rule.
            condition: when it applies; None: always.
            assertions: pairs of what must hold and the text of the refusal.
        """
        rule = {"Assertions": [{"Assert": test, "AssertDescription": text} for test, text in assertions]}
        self._add("Rules", name, {"RuleCondition": condition, **rule} if condition else rule, None)

    def condition(self, name: str, test: Value) -> str:
        """Add a condition, and return its name."""
        return self._add("Conditions", name, test, name)

    def resource(self, name: str, kind: str, properties: dict[str, Value], **more: Value) -> dict[str, str]:
        """Add a resource and return the reference to it.

        Args:
            name: the logical id.
            kind: the type, such as `AWS::S3::Bucket`.
            properties: as the type's reference page has them.
            more: further attributes, such as DependsOn, Condition or DeletionPolicy.
        """
        return self._add("Resources", name, {"Type": kind, **more, "Properties": properties}, ref(name))

    def export(self, name: str, value: Value, **more: Value) -> None:
        """Add an output that other stacks reach as `stack[name]`."""
        export = {"Export": {"Name": sub("${Project}-" + name)}}
        self._add("Outputs", name, {"Value": value, **export, **more}, None)

    def __getitem__(self, name: str) -> dict[str, Value]:
        """Return the expression by which another stack imports an output of this one.

        Raises:
            KeyError: if this stack has no such output.
        """
        if name not in self.sections["Outputs"]:
            raise KeyError(f"stack {self.name} exports no {name}, only {sorted(self.sections['Outputs'])}")
        return {"Fn::ImportValue": sub("${Project}-" + name)}

    def to_template(self) -> dict[str, Any]:
        """Return the template, without the sections that have stayed empty."""
        head = {"AWSTemplateFormatVersion": "2010-09-09", "Description": self.description}
        return head | {section: entries for section, entries in self.sections.items() if entries}

    def write(self, folder: Path) -> Path:
        """Write the template as `<name>.template.json`, and return its path."""
        path = folder / f"{self.name}.template.json"
        path.write_text(json.dumps(self.to_template(), indent=1) + "\n")
        return path

    def _add(self, section: str, name: str, entry: Value, result: Value) -> Value:
        if name in self.sections[section]:
            raise ValueError(f"stack {self.name} has two {section} named {name}")
        self.sections[section][name] = entry
        return result
