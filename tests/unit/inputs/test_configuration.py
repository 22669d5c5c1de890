"""The configuration: its defaults, its documentation, and what it refuses."""

import re
from pathlib import Path

import pytest
import yaml

from readclade.errors import ConfigError
from readclade.inputs.configuration import check_braces, check_config
from readclade.inputs.schemas import load_schema

CONFIG = Path(__file__).parents[3] / "config"


def list_keys(schema: dict, prefix: str = "") -> list[str]:
    keys = []
    for name, part in schema.get("properties", {}).items():
        keys += [prefix + name, *list_keys(part, f"{prefix}{name}.")]
    return keys


def test_check_config_fills_every_default_at_every_depth():
    config = check_config({"embedder": {"k": 5}})
    networks = {"weights": "hub", "precision": "auto", "window_bp": 2400, "strands": "both"}
    lshvec = {"lshvec": {"k": 6, "bits": 12, "bases": 4_000_000, "epochs": 2, "seed": 0}}
    assert config["embedder"] == {"name": "kmer", "k": 5, "d": 32} | networks | lshvec
    assert config["clustering"] == {
        "algorithm": "kmeans",
        "k": "auto",
        "seed": 0,
        "directions": 16,
        "seedings": 8,
        "overlaps": False,
    }
    assert config["samples"] == "samples.tsv"
    assert config["bins"] is False


def test_check_config_leaves_its_argument_and_the_schema_as_they_were():
    given = {"clustering": {"k": 3}}
    check_config(given)["clustering"]["seed"] = 99
    check_config({})["embedder"]["k"] = 99
    assert given == {"clustering": {"k": 3}}
    assert check_config({})["embedder"]["k"] == 4
    assert check_config({})["clustering"]["seed"] == 0


def test_default_config_file_states_every_default():
    assert yaml.safe_load((CONFIG / "config.yaml").read_text()) == check_config({})


def test_readme_explains_every_key_with_its_default():
    schema = load_schema("config")
    documented = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", (CONFIG / "README.md").read_text(), re.MULTILINE))
    keys = list_keys(schema)
    assert set(keys) <= set(documented)
    for key in keys:
        value = check_config({})
        for part in key.split("."):
            value = value[part]
        if not isinstance(value, dict):
            assert documented[key] == f"`{yaml.safe_dump(value).splitlines()[0]}`", key


@pytest.mark.parametrize("table", ["samples", "references"])
def test_readme_and_template_have_every_column(table):
    columns = list(load_schema(table)["properties"])
    section = (CONFIG / "README.md").read_text().split(f"## {table}.tsv")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == columns
    assert (CONFIG / f"{table}.tsv").read_text().splitlines()[-1].split("\t") == columns


@pytest.mark.parametrize(
    ("config", "message", "remedy"),
    [
        ({"smaples": "x"}, "unknown key 'smaples'", "did you mean 'samples'?"),
        ({"clustering": {"sed": 1}}, "unknown key 'clustering.sed'", "did you mean 'clustering.seed'?"),
        ({"threads": 4}, "unknown key 'threads'", "config/README.md explains every key"),
        ({4: 4}, "unknown key '4'", "config/README.md"),
        ({"clustering": {"k": 0}}, "clustering.k is 0", "'auto' or a whole number of at least 1"),
        ({"clustering": {"k": "atuo"}}, "clustering.k is 'atuo'", "'auto' or a whole number of at least 1"),
        ({"clustering": {"k": 3.0}}, "clustering.k is 3.0", "a whole number"),
        ({"clustering": {"k": True}}, "clustering.k is True", "a whole number"),
        ({"clustering": {"algorithm": "dbscan"}}, "clustering.algorithm is 'dbscan'", "one of kmeans, lsh"),
        (
            {"clustering": {"algorithm": "lsh", "k": 12}},
            "clustering.k is 12",
            "give clustering.k 'auto' (with clustering.algorithm lsh there are as many clusters as groups;",
        ),
        ({"clustering": {"seed": -1}}, "clustering.seed is -1", "at least 0 and at most 4294967295"),
        ({"clustering": None}, "clustering is None", "keys and values of its own (how fragments are grouped)"),
        ({"embedder": {"k": 6}}, "embedder.k is 6", "one of 4, 5"),
        ({"embedder": {"k": 4.0}}, "embedder.k is 4.0", "one of 4, 5"),
        (
            {"embedder": {"name": "bert"}},
            "embedder.name is 'bert'",
            "give embedder.name one of kmer, lshvec, dnabert2, dnabert-s",
        ),
        ({"embedder": {"d": 257, "k": 5}}, "embedder.d is 257", "at least 2 and at most 256"),
        ({"embedder": {"d": 200}}, "embedder.d is 200", "at most 136 (there are 136 different k-mers"),
        ({"embedder": {"d": 65, "name": "lshvec"}}, "embedder.d is 65", "at most 64 (lshvec learns vectors of 64"),
        ({"embedder": {"lshvec": {"k": 32}}}, "embedder.lshvec.k is 32", "at least 4 and at most 31"),
        ({"embedder": {"lshvec": {"bit": 9}}}, "unknown key 'embedder.lshvec.bit'", "'embedder.lshvec.bits'"),
        ({"shards": {"bases": 10}}, "shards.bases is 10", "at least 1000"),
        ({"labelling": {"support": 0}}, "labelling.support is 0", "more than 0 and at most 1"),
        ({"report": {"map_fragments": "all"}}, "report.map_fragments is 'all'", "a whole number"),
        ({"bins": "yes"}, "bins is 'yes'", "true or false"),
        ({"samples": ""}, "samples is ''", "a text that is not empty"),
    ],
)
def test_check_config_refuses(config, message, remedy):
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert str(caught.value) == f"{caught.value.message}\n  remedy: {caught.value.remedy}"


def test_check_config_allows_what_the_edges_allow():
    check_config({"embedder": {"d": 136}, "clustering": {"k": 1}, "labelling": {"support": 1}})
    check_config({"embedder": {"d": 256, "k": 5}})
    check_config({"embedder": {"d": 256, "name": "dnabert2"}})
    check_config({"embedder": {"d": 64, "name": "lshvec"}})
    check_config({"clustering": {"algorithm": "lsh"}})


def test_check_config_takes_another_schema(tmp_path):
    path = tmp_path / "schema.yaml"
    path.write_text("type: object\nproperties: {x: {type: integer, default: 7}}\nadditionalProperties: false\n")
    assert check_config({}, path) == {"x": 7}


def test_check_config_reads_numbers_from_text():
    config = check_config({"clustering": {"k": "12"}, "labelling": {"support": "0.7"}, "bins": "true"})
    assert config["clustering"]["k"] == 12
    assert config["labelling"]["support"] == 0.7
    assert config["bins"] is True
    assert check_config({"clustering": {"k": "auto"}})["clustering"]["k"] == "auto"
    with pytest.raises(ConfigError, match=r"clustering\.k is 'twelve'"):
        check_config({"clustering": {"k": "twelve"}})


def test_check_braces_refuses_what_snakemake_takes_for_wildcards():
    check_braces(["/a/b", Path("c d"), ""])
    with pytest.raises(ConfigError, match=r"the path /a/\{b\}/c has a brace") as caught:
        check_braces(["/x", Path("/a/{b}/c")])
    assert "ln -s" in caught.value.remedy
