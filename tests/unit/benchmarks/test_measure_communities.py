"""The page of quality figures says the median and the worst of what the table holds."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import measure_communities


def make_row(seed: int, ari: float, preset: str = "long-2kb") -> dict[str, str]:
    row = {"preset": preset, "split": "test", "seed": seed, "k": "true", "genomes": 10, "clusters": 10, "ari": ari}
    row |= {"ari_genus_joined": ari + 0.02, "pairs": 2, "pairs_apart": 1}
    row |= {"ari_genus": ari + 0.01, "purity": 0.9, "share_assigned": 1.0, "cpu_s": 12.4}
    return {name: str(value) for name, value in row.items()}


def test_make_page_gives_median_and_worst_of_each_preset():
    rows = [make_row(1, 0.9), make_row(2, 0.7), make_row(3, 0.8), make_row(1, 0.5, "hifi-10kb")]
    lines = measure_communities.make_page(rows, "the command").splitlines()
    assert "the command" in lines
    figures = "0.800 (0.700) | 0.810 (0.710) | 0.820 (0.720) | 3 of 6 | 0.900 | 1.000 | 12"
    assert lines[-2] == f"| long-2kb | test | true | 3 | 10 | 10 | {figures} |"
    assert lines[-1].startswith("| hifi-10kb | test | true | 1 | 10 | 10 | 0.500 (0.500) |")


def test_table_comes_back_as_it_was_written(tmp_path):
    rows = [make_row(1, 0.9), make_row(2, 0.7)]
    path = tmp_path / "quality.tsv"
    assert measure_communities.read_table(path) == []
    measure_communities.write_table(path, rows)
    read = measure_communities.read_table(path)
    assert [{name: row[name] for name in rows[0]} for row in read] == rows
    assert {row["ari_species"] for row in read} == {""}


def test_community_that_cannot_be_made_is_an_error_with_its_cause(tmp_path):
    with pytest.raises(measure_communities.ReadcladeError, match=r"genera-8x test 1 cannot be made"):
        measure_communities.measure(tmp_path / "nothing", "genera-8x", "test", 1, "true", 1, tmp_path / "folder")


def test_measure_relatives_joins_clusters_of_one_genus_and_counts_pairs():
    genomes = ["a1", "a2", "b1", "c1", "c2"]
    truth = {f"{genome}.{i}": genome for genome in genomes for i in range(10)}
    genera = {name: genome[0] for name, genome in truth.items()}
    # a1 and a2 apart, and a1 in two parts; c1 and c2 together.
    found = {name: {"a1": "x" if name < "a1.5" else "y", "a2": "z", "b1": "b"}.get(truth[name], "c") for name in truth}
    measured = measure_communities.measure_relatives(truth, found, genera)
    assert measured == {"ari_genus_joined": 1.0, "pairs": 2, "pairs_apart": 1}
    for name in ("a2.3", "c1.0"):
        del found[name]  # unassigned: one more cluster
    for name in ("b1.0", "b1.1"):
        found[name] = "z"
    measured = measure_communities.measure_relatives(truth, found, genera)
    assert 0.7 < measured["ari_genus_joined"] < 1
    assert (measured["pairs"], measured["pairs_apart"]) == (2, 1)
