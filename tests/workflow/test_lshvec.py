"""The workflow with lshvec: one model for the run, from reads to names."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from readclade.labelling.references import read_index
from readclade.shards.manifest import read_manifest
from readclade.storage.files import hash_file

pytestmark = pytest.mark.workflow
CONFIG = {"embedder": {"name": "lshvec", "d": 16, "lshvec": {"k": 6, "bits": 8, "bases": 100_000, "epochs": 1}}}


@pytest.mark.slow
def test_lshvec_runs_to_the_labels_and_has_nothing_left_to_do(fresh):
    done = fresh.run(config=CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    model = fresh.directory / "models/lshvec.safetensors"
    expected = {"model": model.name, "sha256": hash_file(model)}
    index = read_index(fresh.directory / "references/index.parquet")
    assert index.embedder["parameters"] == expected
    for sample, fragments in (("pairs", 3000), ("long", 250)):
        manifest = read_manifest(fresh.directory / "staged" / sample / "manifest.json")
        assert (manifest.embedder["name"], manifest.d, manifest.fragments) == ("lshvec", 16, fragments)
        assert manifest.embedder["parameters"] == expected
        assert manifest.embedder["revision"] == index.embedder["revision"]
        assignments = pq.read_table(fresh.directory / f"results/{sample}/cluster/assignments.parquet")
        assert set(assignments.column("cluster").to_pylist()) == {0, 1, 2}
        taxa = (fresh.directory / f"results/{sample}/taxa.tsv").read_text().splitlines()
        assert len(taxa) == 4
    assert "lshvec" in (fresh.directory / "results/report.html").read_text()
    assert fresh.plan(config=CONFIG) == {}
    assert "Nothing to be done" in "".join(fresh.run(config=CONFIG).stderr)

    other = json.loads(json.dumps(CONFIG))
    other["embedder"]["lshvec"]["seed"] = 1
    plan = fresh.plan(config=other)
    assert plan["train_lshvec"] == plan["index_references"] == 1
    assert plan["embed"] == plan["cluster"] == plan["label"] == 2
    assert "fetch" not in plan
    # The settings of an embedder that is not used change nothing.
    other = json.loads(json.dumps(CONFIG))
    other["embedder"] |= {"k": 5, "window_bp": 999}
    assert set(fresh.plan(config=other)) <= {"report"}


def test_damaged_model_stops_embed_with_the_remedy(fresh):
    done = fresh.run("models/lshvec.safetensors", config=CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    model: Path = fresh.directory / "models/lshvec.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    done = fresh.run("shards/long/manifest.json", config=CONFIG)
    assert done.returncode != 0
    for text in ("lshvec.safetensors: is truncated or no", "remedy: train a model"):
        assert text in done.stdout + done.stderr
    assert not (fresh.directory / "shards/long/manifest.json").exists()
