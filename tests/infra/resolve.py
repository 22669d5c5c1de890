"""Resolve a template's expressions as CloudFormation would, for the parameters and the region that a test names."""

import re
from typing import Any

PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-2",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "stack",
}
ABSENT = object()


class Resolver:
    """Give expressions of one template their values."""

    def __init__(self, template: dict[str, Any], **parameters: Any) -> None:
        """Take the template with its default parameters, except those named.

        Raises:
            ValueError: for a parameter that the template does not have, or a value that it does not allow.
        """
        self.template = template
        declared = template.get("Parameters", {})
        if unknown := set(parameters) - set(declared) - set(PSEUDO):
            raise ValueError(f"no such parameter: {unknown}")
        self.values = PSEUDO | {name: entry.get("Default") for name, entry in declared.items()} | parameters
        for name, entry in declared.items():
            value = self.values[name]
            if value not in entry.get("AllowedValues", [value]):
                raise ValueError(f"{name}: {value} {entry.get('ConstraintDescription', 'is not allowed')}")
            if "AllowedPattern" in entry and not re.fullmatch(entry["AllowedPattern"], str(value)):
                raise ValueError(f"{name}: {value!r} does not match {entry['AllowedPattern']}")

    def get_resources(self) -> dict[str, dict[str, Any]]:
        """Return the resources whose condition holds, with their properties resolved."""
        return {
            name: {**entry, "Properties": self(entry["Properties"])}
            for name, entry in self.template["Resources"].items()
            if self.holds(entry.get("Condition"))
        }

    def holds(self, condition: str | None) -> bool:
        """Return whether a condition of the template holds; None always does."""
        return condition is None or self(self.template["Conditions"][condition])

    def __call__(self, value: Any) -> Any:
        """Return a value with every expression in it resolved."""
        if isinstance(value, list):
            return [entry for entry in map(self, value) if entry is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (key, given), *_ = value.items()
            if key == "Ref":
                return ABSENT if given == "AWS::NoValue" else self.values.get(given, f"ref:{given}")
            if key.startswith("Fn::"):
                return getattr(self, "_" + key.removeprefix("Fn::").lower())(given)
        return {
            key: entry for key, entry in ((key, self(entry)) for key, entry in value.items()) if entry is not ABSENT
        }

    def _getatt(self, given: list[str]) -> str:
        return "get:" + ".".join(given)

    def _importvalue(self, given: Any) -> str:
        return f"import:{self(given)}"

    def _sub(self, given: Any) -> str:
        text, values = given if isinstance(given, list) else (given, {})
        known = {name: self(value) for name, value in values.items()}
        return re.sub(r"\$\{([\w:.]+)\}", lambda name: str(known.get(name[1], self({"Ref": name[1]}))), text)

    def _if(self, given: list[Any]) -> Any:
        return self(given[1] if self.holds(given[0]) else given[2])

    def _equals(self, given: list[Any]) -> bool:
        first, second = self(given)
        return str(first) == str(second)

    def _not(self, given: list[Any]) -> bool:
        return not self(given[0])

    def _contains(self, given: list[Any]) -> bool:
        allowed, value = self(given[0]), self(given[1])
        return value in allowed

    def _findinmap(self, given: list[Any]) -> Any:
        table, first, second = self(given)
        return self.template["Mappings"][table][first][second]

    def _select(self, given: list[Any]) -> Any:
        return self(given[1])[given[0]]

    def _join(self, given: list[Any]) -> str:
        return given[0].join(map(str, self(given[1])))

    def _cidr(self, given: list[Any]) -> list[str]:
        from ipaddress import ip_network

        block, count, bits = self(given[0]), given[1], given[2]
        return [str(part) for part in ip_network(block).subnets(new_prefix=32 - bits)][:count]

    def _getazs(self, given: Any) -> list[str]:
        return [f"{self(given) or self.values['AWS::Region']}{letter}" for letter in "abc"]

    def _split(self, given: list[Any]) -> list[str]:
        return self(given[1]).split(given[0])

    def _base64(self, given: Any) -> str:
        return self(given)
