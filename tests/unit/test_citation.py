"""What others read of this repository agrees with it: how to cite it, and what the catalog of workflows shows."""

import shlex
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_citation_has_the_version_and_licence_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]


def test_catalog_shows_the_command_of_the_readme():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    flags = usage["mandatory-flags"]["flags"]
    assert f".venv/bin/snakemake {flags}\n" in (ROOT / "README.md").read_text()
    profile = shlex.split(flags)[1]
    assert (ROOT / profile / "config.yaml").exists()
    assert usage["software-stack-deployment"]["report"]
