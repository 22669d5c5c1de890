"""Provenance: versions and checksums are true, and the RO-Crate is whole."""

import base64
import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from readclade.report import provenance

CONFIG = {"samples": "samples.tsv", "clustering": {"k": 12, "seed": 0}, "bins": False}
DATE = "2025-01-31T12:00:00+00:00"


def find_references(value: object) -> set[str]:
    """Return every @id that a JSON-LD value refers to."""
    if isinstance(value, list):
        return set().union(*map(find_references, value))
    if isinstance(value, dict):
        own = {value["@id"]} if set(value) == {"@id"} else set()
        return own.union(*map(find_references, value.values()))
    return set()


@pytest.fixture
def crate(tmp_path: Path) -> dict:
    results = tmp_path / "results"
    (results / "my sample/cluster").mkdir(parents=True)
    files = {
        results / "report.html": "the report",
        results / "my sample/taxa.tsv": "names",
        results / "my sample/cluster/clusters.h5": "clusters",
    }
    for number, path in enumerate(files):
        path.write_text("x" * number)
    reads, copy, genome = tmp_path / "a.fastq.gz", tmp_path / "copy.fastq.gz", tmp_path / "g.fa"
    for path in (reads, copy, genome):
        path.write_text(path.suffix)
    inputs = [provenance.describe_input("reads", str(path)) for path in (reads, copy, genome)]
    path = results / "ro-crate-metadata.json"
    provenance.write_crate(path, provenance.make_crate(results, files, inputs, CONFIG, DATE))
    return json.loads(path.read_text())


@pytest.fixture
def entities(crate) -> dict[str, dict]:
    identifiers = [entity["@id"] for entity in crate["@graph"]]
    assert len(set(identifiers)) == len(identifiers)
    return {entity["@id"]: entity for entity in crate["@graph"]}


def test_make_crate_every_reference_is_an_entity(crate, entities):
    specification = "https://w3id.org/ro/crate/1.1"
    references = set().union(*(find_references(list(entity.values())) for entity in entities.values()))
    assert references - {specification} <= set(entities)
    assert all("@type" in entity for entity in entities.values())


def test_make_crate_descriptor_and_root_are_as_the_specification_wants(crate, entities):
    descriptor = entities["ro-crate-metadata.json"]
    assert crate["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}
    root = entities["./"]
    assert root["@type"] == "Dataset"
    assert root["datePublished"] == DATE
    assert {"name", "description", "license", "hasPart"} <= set(root)
    assert entities[root["license"]["@id"]]["name"]


def test_make_crate_files_exist_with_their_checksum_and_size(tmp_path, entities):
    files = [entity for entity in entities.values() if entity["@type"] == "File"]
    parts = find_references(entities["./"]["hasPart"])
    assert {entity["@id"] for entity in files} == parts
    inside = [entity for entity in files if ":" not in entity["@id"]]
    assert len(inside) == 3
    for entity in inside:
        content = (tmp_path / "results" / unquote(entity["@id"])).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["contentSize"] == str(len(content))
        assert entity["encodingFormat"]


def test_make_crate_inputs_are_named_by_their_content_once(entities):
    given = [entity for key, entity in entities.items() if key.startswith("ni:")]
    assert [entity["name"] for entity in given] == ["copy.fastq.gz", "g.fa"]
    for entity in given:
        digest = entity["@id"].removeprefix("ni:///sha-256;")
        assert base64.urlsafe_b64decode(digest + "=").hex() == entity["sha256"]
    assert given[0]["encodingFormat"][0] == "application/gzip"
    assert entities[given[0]["encodingFormat"][1]["@id"]]["name"] == "FASTQ"


def test_make_crate_action_links_software_inputs_parameters_and_results(entities):
    action = next(entity for entity in entities.values() if entity["@type"] == "CreateAction")
    assert {"@id": action["@id"]} in entities["./"]["mentions"]
    software = entities[action["instrument"]["@id"]]
    assert software["@type"] == "SoftwareApplication"
    assert software["softwareVersion"] == provenance.get_version()
    objects = [entities[key] for key in find_references(action["object"])]
    values = {entity["name"]: entity["value"] for entity in objects if entity["@type"] == "PropertyValue"}
    assert values == {"samples": "samples.tsv", "clustering.k": 12, "clustering.seed": 0, "bins": False}
    assert sum(entity["@type"] == "File" for entity in objects) == 2
    assert len(action["result"]) == 3


def test_get_software_names_what_the_results_depend_on():
    software = {entry.name: entry for entry in provenance.get_software()}
    assert {"python", "numpy", "pyarrow", "scikit-learn", "snakemake", "faiss-cpu"} <= set(software)
    assert all(re.match(r"\d", entry.version) for entry in software.values())


def test_get_software_absent_package_has_the_pinned_version(monkeypatch):
    def refuse(name):
        raise provenance.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(provenance.metadata, "version", refuse)
    numpy = next(entry for entry in provenance.get_software() if entry.name == "numpy")
    assert numpy.is_pinned
    assert f"numpy=={numpy.version}" in (Path(__file__).parents[3] / "requirements/run.txt").read_text()


def test_get_software_names_the_packages_of_networks_where_they_embed(monkeypatch):
    def refuse(name):
        raise provenance.metadata.PackageNotFoundError(name)

    assert "torch" not in {entry.name for entry in provenance.get_software()}
    monkeypatch.setattr(provenance.metadata, "version", refuse)  # another environment embeds
    software = {entry.name: entry for entry in provenance.get_software(embedder="dnabert2")}
    assert {"torch", "tokenizers", "safetensors"} <= set(software)
    assert software["torch"].is_pinned
    assert re.fullmatch(r"\d+\.\d+\.\d+", software["torch"].version)


def test_get_version_and_commit():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", provenance.get_version())
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|", provenance.get_commit() or "")


def test_get_commit_outside_a_checkout_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    assert provenance.get_commit.__wrapped__() is None


def test_get_date_takes_the_given_epoch(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert provenance.get_date() == "1970-01-01T00:00:00+00:00"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert provenance.get_date() > "2025"


def test_describe_input_missing_file_with_known_checksum(tmp_path):
    entry = provenance.describe_input("reads", str(tmp_path / "gone.fq"), "ab" * 32)
    assert entry.size is None
    assert entry.name == "gone.fq"


def test_flatten_joins_keys():
    assert list(provenance.flatten(CONFIG))[1] == ("clustering.k", 12)
