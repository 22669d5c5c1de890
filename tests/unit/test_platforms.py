"""Every part that asks for a sample's platform knows the same ones."""

import re

from readclade.downloads import ena
from readclade.inputs.schemas import load_schema
from readclade.reads import hosts


def test_platforms_are_the_same_everywhere(repository):
    platforms = load_schema("samples")["properties"]["platform"]["enum"]
    assert load_schema("manifest")["properties"]["platform"]["enum"] == platforms
    for path in (repository / "scripts").glob("*.py"):
        for choices in re.findall(r'"--platform",.*choices=\[(.*?)\]', path.read_text()):
            assert re.findall(r'"(\w+)"', choices) == platforms, path.name
    # How minimap2 is told of each when genomes are removed, and what ENA calls it.
    assert set(hosts.PRESETS) == set(ena._PLATFORMS.values()) == set(platforms)
