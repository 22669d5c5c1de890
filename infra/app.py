"""Write the CloudFormation template of every stack into infra/templates/, and the diagram into docs/cloud.md.

Example:
    .venv/bin/python -m infra.app

Also writes into infra/build/ what the bucket for code takes. Needs no AWS account and no package but PyYAML.
"""

from infra.catalog.stack import make_catalog
from infra.cicd.stack import make_cicd
from infra.diagram import update_page
from infra.image.stack import make_image
from infra.lustre.stack import make_lustre
from infra.network.stack import make_network
from infra.pcluster.software import write_code
from infra.pcluster.stack import make_pcluster
from infra.ray.stack import make_ray
from infra.scaling.stack import make_scaling
from infra.storage.stack import make_storage
from infra.template import ROOT, Stack

TEMPLATES = ROOT / "infra/templates"
PAGE = ROOT / "docs/cloud.md"


def make_stacks() -> list[Stack]:
    """Return every stack in the order of deployment, each after those that it takes something from."""
    storage = make_storage()
    network = make_network(storage)
    image = make_image(storage)
    ray = make_ray(storage, network, image)
    lustre = make_lustre(storage, network)
    pcluster = make_pcluster(storage, network, lustre, ray)
    catalog = make_catalog(storage)
    scaling = make_scaling(storage, ray)
    cicd = make_cicd(storage, image, ray)
    return [storage, network, image, ray, lustre, pcluster, catalog, scaling, cicd]


def main() -> None:
    """Write templates, diagram and code, and print the paths."""
    TEMPLATES.mkdir(exist_ok=True)
    stacks = make_stacks()
    paths = [stack.write(TEMPLATES) for stack in stacks]
    for path in set(TEMPLATES.glob("*.json")) - set(paths):
        path.unlink()
    PAGE.write_text(update_page(PAGE.read_text(), stacks))
    for path in [*paths, PAGE, *write_code(ROOT / "infra/build")]:
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
