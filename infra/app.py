"""Write the CloudFormation template of every stack into infra/build/, in the order in which they are deployed.

Example:
    .venv-infra/bin/python -m infra.app
"""

from infra.network.stack import make_network
from infra.storage.stack import make_storage
from infra.template import ROOT, Stack


def make_stacks() -> list[Stack]:
    """Return every stack, each after those that it takes something from."""
    storage = make_storage()
    network = make_network(storage)
    return [storage, network]


def main() -> None:
    """Write the templates and print their paths."""
    build = ROOT / "infra/build"
    build.mkdir(parents=True, exist_ok=True)
    for stack in make_stacks():
        print(stack.write(build).relative_to(ROOT))


if __name__ == "__main__":
    main()
