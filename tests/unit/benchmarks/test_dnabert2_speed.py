"""The command that measures dnabert2: its whole path, on one layer and few reads."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_dnabert2_speed_prints_every_figure(repository):
    command = [sys.executable, repository / "benchmarks/dnabert2_speed.py", "--layers", "1", "--reads", "24"]
    environment = os.environ | {"PYTHONPATH": str(repository / "src"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, "--turns", "1", "--precisions", "float32"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    figures = dict(line.split("\t")[:2] for line in done.stdout.splitlines())
    assert list(figures)[:2] == ["device", "tokenizing"]
    for name in ("embedder / products", "embedder / squares", "tokenizing / embedder", "one actor / bare loop"):
        assert float(figures[f"float32 {name}"].replace(",", "")) > 0
    for name in ("embedder", "one actor", "bare loop"):
        assert figures[f"float32 {name}"].endswith(" reads/s")
