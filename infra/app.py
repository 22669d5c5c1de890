"""Write the CloudFormation template of every stack into infra/build/, in the order in which they are deployed.

Example:
    .venv-infra/bin/python -m infra.app
"""

from infra.lustre.stack import make_lustre
from infra.network.stack import make_network
from infra.pcluster.software import write_code
from infra.pcluster.stack import make_pcluster
from infra.storage.stack import make_storage
from infra.template import ROOT, Stack


def make_stacks() -> list[Stack]:
    """Return every stack, each after those that it takes something from."""
    storage = make_storage()
    network = make_network(storage)
    lustre = make_lustre(storage, network)
    pcluster = make_pcluster(storage, network, lustre)
    return [storage, network, lustre, pcluster]


def main() -> None:
    """Write the templates, and what belongs into the bucket for code, and print the paths."""
    build = ROOT / "infra/build"
    build.mkdir(parents=True, exist_ok=True)
    for stack in make_stacks():
        print(stack.write(build).relative_to(ROOT))
    for path in write_code(build / "code"):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
