"""Linking judged by the truth: two random genomes come out pure, whole, and with the right error rate."""

import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.communities.simulation import write_gzip

# The loops' compilation takes half a minute where nothing else has called them.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def genomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genomes")
    rng = np.random.default_rng(3)
    for name in ("Aa_one", "Bb_two"):
        letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), 60_000).tobytes()
        write_gzip(folder / f"{name}.fa.gz", b">x\n" + letters + b"\n")
    return folder


@pytest.mark.parametrize(("kind", "most", "rate"), [("pairs", 20, 0.4), ("long", 10, 5.0), ("hifi", 10, 0.2)])
def test_two_random_genomes_come_out_pure_and_whole(kind, most, rate, genomes, repository, tmp_path):
    out = tmp_path / "reads.npz"
    depths = ["--depths", "12", "9"]

    def run(script: str, *words) -> subprocess.CompletedProcess:
        command = [sys.executable, repository / f"benchmarks/overlaps/{script}.py", *words]
        environment = os.environ | {"PYTHONPATH": str(repository / "src")}
        options = {"env": environment, "cwd": repository, "capture_output": True, "text": True, "check": True}
        return subprocess.run(list(map(str, command)), **options)

    run("sim", "--genomes", genomes, "--kind", kind, "--seed", 1, *depths, "--out", out)
    done = run("measure_links", out)
    pieces = next(line for line in done.stdout.splitlines() if line.startswith("pieces: "))
    assert "purity 1.00000" in pieces
    assert float(pieces.split(f"in>{most} >3x ")[1].split(",")[0]) > 0.9
    assert float(done.stderr.split("errors a base: ")[1].split("%")[0]) == pytest.approx(rate, rel=0.25)
