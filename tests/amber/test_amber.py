"""AMBER, CAMI's own evaluation, on the same files: the same figures, but for what it does not notice.

`make amber` installs AMBER into .venv-amber and runs this.

Source: Meyer et al. (2018), AMBER: Assessment of Metagenome BinnERs, doi:10.1093/gigascience/giy069
"""

import csv
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from readclade.errors import InputError
from readclade.evaluation.job import evaluate_binnings
from readclade.results.cami import read_binning

ROOT = Path(__file__).parents[2]
AMBER = ROOT / ".venv-amber/bin/amber.py"
pytestmark = [
    pytest.mark.amber,
    pytest.mark.skipif(not AMBER.exists(), reason="AMBER is not installed in .venv-amber: run `make amber`"),
]
# Ours, and AMBER's name for the same figure.
SAME = {
    "share_assigned": "percentage_of_assigned_seqs",
    "ari_assigned": "adjusted_rand_index_seq",
    "purity": "precision_weighted_seq",
    "completeness": "recall_weighted_seq",
}


def write_binning(path: Path, bins: dict[str, str], lengths: dict[str, int] | None = None) -> Path:
    """Write a binning file, with the column _LENGTH that AMBER wants of a truth where there are lengths."""
    rows = [f"{name}\t{label}" + (f"\t{lengths[name]}" if lengths else "") for name, label in bins.items()]
    header = "@Version:0.9.1\n@SampleID:s\n@@SEQUENCEID\tBINID" + ("\t_LENGTH" if lengths else "")
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def make_binnings(truth: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return binnings that err in known ways: noise, genomes in one, genomes in two; and one with other names."""
    rng = np.random.default_rng(3)
    genomes = sorted(set(truth.values()))
    noisy = {
        name: genome if rng.random() < 0.8 else genomes[rng.integers(len(genomes))]
        for name, genome in truth.items()
        if rng.random() < 0.85
    }
    merged = {name: genomes[genomes.index(genome) // 3] for name, genome in truth.items()}
    halves = {name: f"{genome}.{int(rng.random() < 0.3)}" for name, genome in noisy.items()}
    return {"noisy": noisy, "merged": merged, "split": halves, "mates": {f"{n}/1": g for n, g in noisy.items()}}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Write a truth cut from the demo's and the binnings."""
    folder = tmp_path_factory.mktemp("amber")
    demo = read_binning(ROOT / "demo/truth/long.tsv", "long")
    truth = dict(list(demo.bins.items())[:1200])
    paths = {name: write_binning(folder / name, bins) for name, bins in make_binnings(truth).items()}
    return {"truth": write_binning(folder / "truth", truth, demo.lengths), **paths}


@pytest.fixture(scope="module")
def amber(files, tmp_path_factory) -> dict[str, dict[str, str]]:
    """Run AMBER once on all binnings, and return its figures by binning."""
    out = tmp_path_factory.mktemp("out")
    binnings = [name for name in files if name != "truth"]
    command = [AMBER, "-g", files["truth"], "-o", out / "amber", "--skip_gs", "--silent", "-l", ",".join(binnings)]
    done = subprocess.run(
        [str(part) for part in [*command, *(files[name] for name in binnings)]],
        env={"PATH": os.environ["PATH"], "HOME": str(out), "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(out)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with open(out / "amber/results.tsv", newline="") as table:
        return {row["Tool"]: row for row in csv.DictReader(table, delimiter="\t")}


@pytest.mark.parametrize("binning", ["noisy", "merged", "split"])
def test_figures_are_those_of_amber(binning, files, amber, tmp_path):
    scores = evaluate_binnings(files["truth"], [files[binning]], tmp_path / "table.tsv")
    figures = scores[str(files[binning])]
    assert figures["clusters"] > 1
    assert 0.1 < figures["ari_assigned"] < 1
    for ours, theirs in SAME.items():
        assert figures[ours] == pytest.approx(float(amber[binning][theirs]), abs=1e-9), ours


def test_amber_gives_names_that_differ_an_ari_of_one_and_we_refuse_them(files, amber, tmp_path):
    assert float(amber["mates"]["adjusted_rand_index_seq"]) == 1
    assert float(amber["mates"]["percentage_of_assigned_seqs"]) == 0
    with pytest.raises(InputError, match="are not among the 1,200 of the truth") as caught:
        evaluate_binnings(files["truth"], [files["mates"]], tmp_path / "table.tsv")
    assert "remove /1 and /2" in caught.value.remedy
