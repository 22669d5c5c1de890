"""Figures against a truth: their values on partitions that can be reckoned by hand, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import adjusted_rand_score

from readclade.cami import Binning, write_binning
from readclade.errors import InputError
from readclade.evaluation import compare, evaluate_clusters, measure_clusters, measure_labels

NAMES = [f"r{i}" for i in range(8)]
GENOMES = ["A", "A", "A", "A", "B", "B", "B", "C"]
TAXIDS = {"A": "1", "B": "2", "C": "3"}
CLUSTERS = np.array([0, 0, 0, 1, 1, 1, -1, -1], np.int32)


def write_truth(path, rows, sample="s"):
    lines = [f"{name}\t{genome}\t{TAXIDS[genome]}\t100" for name, genome in rows]
    path.write_text(
        "\n".join([f"@Version:0.9.1\n@SampleID:{sample}\n@@SEQUENCEID\tBINID\tTAXID\t_LENGTH", *lines]) + "\n"
    )


@pytest.fixture
def files(tmp_path):
    """Write all that evaluation reads, and return its arguments."""
    write_truth(tmp_path / "truth.tsv", zip(NAMES, GENOMES, strict=True))
    pq.write_table(pa.table({"name": NAMES, "cluster": CLUSTERS}), tmp_path / "assignments.parquet")
    write_binning(tmp_path / "binning.tsv", "s", tmp_path / "assignments.parquet", ["1", ""])
    (tmp_path / "taxa.tsv").write_text("cluster\tname\nc1\tA species\nc2\tunclassified\n")
    return {
        "sample": "s",
        "truth": tmp_path / "truth.tsv",
        "binning": tmp_path / "binning.tsv",
        "assignments": tmp_path / "assignments.parquet",
        "out": tmp_path / "evaluation.tsv",
    }


def test_measure_clusters_counts_the_unassigned_as_one_more_cluster_in_the_ari_only():
    truth = Binning(dict(zip(NAMES, GENOMES, strict=True)))
    figures = measure_clusters(compare(truth, NAMES, CLUSTERS))
    assert figures["ari"] == adjusted_rand_score(GENOMES, [0, 0, 0, 1, 1, 1, 2, 2])
    assert figures["ari_assigned"] == adjusted_rand_score(GENOMES[:6], CLUSTERS[:6])
    assert figures["share_assigned"] == 6 / 8
    assert figures["purity"] == (3 + 2) / 6
    assert figures["completeness"] == (3 + 2 + 0) / 8
    assert (figures["fragments"], figures["true_genomes"], figures["clusters"]) == (8, 3, 2)


def test_measure_clusters_of_nothing_assigned():
    truth = Binning(dict(zip(NAMES, GENOMES, strict=True)))
    figures = measure_clusters(compare(truth, NAMES, np.full(8, -1)))
    assert figures["ari"] == 0
    assert figures["purity"] == figures["completeness"] == figures["share_assigned"] == figures["clusters"] == 0


def test_measure_clusters_does_not_count_clusters_without_fragments():
    truth = Binning({"a": "A", "b": "B"})
    figures = measure_clusters(compare(truth, ["a", "b"], np.array([0, 5])))
    assert figures["clusters"] == 2
    assert figures["ari"] == figures["purity"] == figures["completeness"] == 1


def test_measure_labels_tells_wrong_from_none():
    figures = measure_labels(
        ["1", "1", "2", "3", ""], ["1", "2", "", "", "9"], [False, False, False, True, False], {"1", "2"}
    )
    assert figures == {
        "species_correct": 0.25,
        "species_wrong": 0.25,
        "species_none": 0.5,
        "unclassified": 0.25,
        "absent_share": 0.25,
        "novel_found": 1.0,
    }
    assert measure_labels(["", ""], ["1", ""], None, None) == {}


def test_evaluate_clusters_writes_both_tables(files, tmp_path, repository):
    evaluate_clusters(
        **files,
        taxa=tmp_path / "taxa.tsv",
        references=repository / "demo/references.tsv",
        genomes=tmp_path / "genomes.tsv",
    )
    rows = [line.split("\t") for line in files["out"].read_text().splitlines()]
    assert rows[0] == ["metric", "value"]
    figures = dict(rows[1:])
    assert figures["fragments"] == "8"
    assert figures["share_assigned"] == "0.7500"
    assert figures["species_correct"] == "0.3750"
    assert figures["species_wrong"] == "0.0000"
    assert figures["unclassified"] == "0.6250"  # cluster c2 and the unassigned
    assert figures["absent_share"] == "1.0000"
    assert (tmp_path / "genomes.tsv").read_text().splitlines() == [
        "genome\tfragments\tbest_cluster\tprecision\trecall\tf1",
        "A\t4\tc1\t1.0000\t0.7500\t0.8571",
        "B\t3\tc2\t0.6667\t0.6667\t0.6667",
        "C\t1\t\t0.0000\t0.0000\t0.0000",
    ]


def test_evaluate_clusters_without_taxids_leaves_the_figures_about_names_out(files):
    files["truth"].write_text("@@SEQUENCEID\tBINID\n" + "".join(f"{name}\tG\n" for name in NAMES))
    assert "species_correct" not in evaluate_clusters(**files)


@pytest.mark.parametrize(
    ("names", "message", "remedy"),
    [
        (NAMES[:6], "2 of the sample's 8 fragments are not in it, such as 'r6'", "one row for each read"),
        ([*NAMES, "x", "y"], "2 of its 10 are not in the sample, such as 'x'", "one row for each read"),
        ([f"{name}/1" for name in NAMES], "are not in it, such as 'r0'; 8 of its 8 are not in", "remove /1 and /2"),
    ],
)
def test_evaluate_clusters_refuses_a_truth_of_other_fragments(names, message, remedy, files):
    write_truth(files["truth"], [(name, "A") for name in names])
    with pytest.raises(InputError) as caught:
        evaluate_clusters(**files)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.path == str(files["truth"])
    assert not files["out"].exists()


def test_evaluate_clusters_refuses_names_that_are_there_twice(files):
    pq.write_table(pa.table({"name": ["r0", *NAMES[:7]], "cluster": CLUSTERS}), files["assignments"])
    with pytest.raises(InputError, match="fragment 'r0' is there twice"):
        evaluate_clusters(**files)


def test_evaluate_clusters_refuses_a_binning_of_other_clusters(files):
    write_binning(files["binning"], "s", files["assignments"], ["1", ""])
    pq.write_table(pa.table({"name": NAMES, "cluster": CLUSTERS[::-1]}), files["assignments"])
    with pytest.raises(InputError, match="are not those of the 6 assigned ones") as caught:
        evaluate_clusters(**files)
    assert "run `label` again" in caught.value.remedy


def test_evaluate_clusters_refuses_missing_files(files, tmp_path):
    with pytest.raises(InputError, match="is no table of taxa"):
        evaluate_clusters(**files, taxa=tmp_path / "none.tsv")
    with pytest.raises(InputError, match="cannot be read"):
        evaluate_clusters(**files | {"assignments": tmp_path / "none.parquet"})


def test_script_prints_errors_without_a_traceback(files, repository):
    arguments = [f"--{key}={files[key]}" for key in ("sample", "truth", "binning", "assignments", "out")]
    command = [sys.executable, repository / "scripts/evaluate_clusters.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "over 8 fragments of 3 genomes" in done.stderr
    files["truth"].unlink()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {files['truth']}: cannot be read")
