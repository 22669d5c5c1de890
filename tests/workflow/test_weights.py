"""A network whose weights lie in a folder of the user's own: they are inputs, by content and not by place."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from readclade.shards.manifest import read_manifest
from tests.workflow.conftest import DEMO, copy_head

pytestmark = pytest.mark.workflow

DATA = Path(__file__).parents[1] / "data/dnabert2"
TARGET = "shards/long/manifest.json"


def test_weights_that_change_embed_again(fresh):
    copy_head(DEMO / "reads/long.fastq.gz", fresh.inputs / "long.fastq.gz", 40)  # a network takes its time
    folder = fresh.inputs / "model"
    folder.mkdir()
    shutil.copy(DATA / "tiny.config.json", folder / "config.json")
    shutil.copy(DATA / "tokenizer.json", folder)
    shutil.copy(DATA / "tiny.weights.safetensors", folder / "model.safetensors")
    config = {"embedder": {"name": "dnabert2", "weights": str(folder), "window_bp": 300, "strands": "one"}}
    done = fresh.run(TARGET, config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    first = read_manifest(fresh.directory / TARGET)
    assert str(folder) not in (fresh.directory / TARGET).read_text()
    assert fresh.plan(TARGET, config=config) == {}

    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert fresh.plan(TARGET, config=config) == {"embed": 1}
    done = fresh.run(TARGET, config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shards are there already" not in done.stdout + done.stderr
    second = read_manifest(fresh.directory / TARGET)
    assert first.embedder["revision"] != second.embedder["revision"]
    assert not {shard.sha256 for shard in first.shards} & {shard.sha256 for shard in second.shards}
