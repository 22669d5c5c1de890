"""Fill the Ray cluster file with the outputs of the stacks, check it, and write what `ray up` takes.

Example, from the repository root:
    PYTHONPATH=src .venv-infra/bin/python -m infra.ray.render_cluster --project readclade --image IMAGE

IMAGE is in the account's own registry and by digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/readclade@sha256:...
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from infra.template import ROOT
from readclade.cli import make_parser, run
from readclade.errors import ConfigError, InputError

STACKS = ("storage", "network", "ray")
CLUSTER = ROOT / "infra/ray/cluster.yaml"
_PLACEHOLDER = re.compile(r"\$\{([A-Z]\w*)\}")
_IMAGE = re.compile(
    r"(\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?)/[a-z0-9][a-z0-9._/-]*@sha256:([0-9a-f]{64})"
)
_ARN_OF_PROFILE = r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/.+"
# What each output of the stack looks like, so that a swapped or empty one is found here and not on the tenth node.
_FORMS = {
    "RayRegion": r"[a-z]{2}(-[a-z]+)+-\d",
    "RayCluster": r"[a-z][a-z0-9-]+",
    "RayKeyName": r"[\w-]+",
    "RayAmi": r"ami-[0-9a-f]{8,17}",
    "ComputeSubnetId": r"subnet-[0-9a-f]{8,17}",
    "SecondSubnetId": r"subnet-[0-9a-f]{8,17}",
    "RayGroup": r"sg-[0-9a-f]{8,17}",
    "RayHeadProfile": _ARN_OF_PROFILE,
    "RayWorkerProfile": _ARN_OF_PROFILE,
    "RayTokenParameter": r"/[\w/-]+",
}


def render_cluster(text: str, outputs: Mapping[str, str], image: str) -> str:
    """Return the cluster file with every `${Name}` filled in.

    Args:
        text: of infra/ray/cluster.yaml.
        outputs: of the stacks in STACKS, by name.
        image: its URI, by digest, in the registry of the stack's region.

    Raises:
        ConfigError: an image that is not pinned, an output that is missing or of another form, or a file that Ray's own
            schema refuses.
    """
    match = _IMAGE.fullmatch(image)
    if not match or len(set(match[3])) == 1:
        raise ConfigError(
            f"'{image}' is no image by digest in a registry of ECR",
            remedy="give ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:DIGEST, as push_image.sh prints it",
        )
    values = {name: _check_output(name, outputs) for name in _FORMS}
    if match[2] != values["RayRegion"]:
        raise ConfigError(
            f"the image is in {match[2]}, the cluster in {values['RayRegion']}",
            remedy="push the image to a registry in the cluster's region",
        )
    if values["ComputeSubnetId"] == values["SecondSubnetId"]:
        raise ConfigError("both subnets are the same", remedy="give the cluster a subnet in each of two zones")
    values |= {"Image": image, "Registry": match[1]}
    rendered = _PLACEHOLDER.sub(lambda found: _look_up(found[1], values), text)
    check_cluster(yaml.safe_load(rendered))
    return rendered


def check_cluster(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the cluster file as Ray completes it, after Ray's own schema has accepted it.

    Raises:
        ConfigError: with the place and what Ray says of it.
    """
    try:
        prepared = prepare_config(cluster)
        validate_config(prepared)
    except ValidationError as error:
        place = "/".join(map(str, error.absolute_path)) or "the whole file"
        raise ConfigError(f"Ray refuses the cluster file at {place}: {error.message}") from None
    except (ValueError, KeyError, AssertionError) as error:
        raise ConfigError(f"Ray refuses the cluster file: {error}") from None
    return prepared


def read_outputs(project: str, cloudformation: Any) -> dict[str, str]:
    """Return the outputs of an installation's stacks by name, from a client of CloudFormation."""
    outputs = {}
    for name in STACKS:
        described = cloudformation.describe_stacks(StackName=f"{project}-{name}")["Stacks"][0]
        outputs |= {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    return outputs


def _check_output(name: str, outputs: Mapping[str, str]) -> str:
    value = outputs.get(name, "")
    if not re.fullmatch(_FORMS[name], value):
        raise ConfigError(
            f"the output {name} is '{value}', which does not look like {_FORMS[name]}",
            remedy=f"deploy the stacks {', '.join(STACKS)} first; their outputs are what this file is filled with",
        )
    return value


def _look_up(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise ConfigError(f"nothing fills ${{{name}}} of the cluster file", remedy="name an output of the stacks")
    return values[name]


def _load_outputs(path: Path) -> dict[str, str]:
    try:
        outputs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="give a JSON object of outputs") from None
    if not isinstance(outputs, dict):
        raise InputError("is no JSON object", path=path, remedy='write {"RayRegion": "us-east-2", ...}')
    return outputs


def main() -> None:
    """Read the arguments, render and write."""
    parser = make_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--project", help="what the deployed stacks' names begin with; asked with your credentials")
    source.add_argument("--outputs", type=Path, help="JSON object of the stacks' outputs, in its place")
    parser.add_argument("--image", required=True, help="image by digest, as infra/image/push_image.sh prints it")
    parser.add_argument("--out", type=Path, default=ROOT / "infra/build/cluster.yaml", help="default: %(default)s")
    arguments = parser.parse_args()
    if arguments.project:
        import boto3

        outputs = read_outputs(arguments.project, boto3.client("cloudformation"))
    else:
        outputs = _load_outputs(arguments.outputs)
    rendered = render_cluster(CLUSTER.read_text(encoding="utf-8"), outputs, arguments.image)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(rendered, encoding="utf-8")
    print(arguments.out)


if __name__ == "__main__":
    run(main)
