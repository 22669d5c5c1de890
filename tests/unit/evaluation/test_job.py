"""Figures against a truth: their values on partitions that can be reckoned by hand, and what is refused."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import adjusted_rand_score

from readclade.errors import InputError
from readclade.evaluation.agreement import (
    compare,
    find_main_clusters,
    find_main_origins,
    get_completeness,
    get_f1,
    get_purity,
    measure_clusters,
    measure_labels,
    measure_rank,
)
from readclade.evaluation.job import evaluate_binnings, evaluate_clusters
from readclade.evaluation.subsets import get_edges, measure_strata
from readclade.results.binning import write_binning

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
    figures = measure_clusters(compare(GENOMES, CLUSTERS))
    assert figures["ari"] == adjusted_rand_score(GENOMES, [0, 0, 0, 1, 1, 1, 2, 2])
    assert figures["ari_assigned"] == adjusted_rand_score(GENOMES[:6], CLUSTERS[:6])
    assert figures["share_assigned"] == 6 / 8
    assert figures["purity"] == (3 + 2) / 6
    assert figures["completeness"] == (3 + 2 + 0) / 8
    assert (figures["fragments"], figures["true_genomes"], figures["clusters"]) == (8, 3, 2)


def test_measure_clusters_of_nothing_assigned():
    figures = measure_clusters(compare(GENOMES, np.full(8, -1)))
    assert figures["ari"] == 0
    assert figures["purity"] == figures["completeness"] == figures["share_assigned"] == figures["clusters"] == 0


def test_measure_clusters_does_not_count_clusters_without_fragments():
    figures = measure_clusters(compare(["A", "B"], np.array([0, 5])))
    assert figures["clusters"] == 2
    assert figures["ari"] == figures["purity"] == figures["completeness"] == 1


def test_f1_is_the_mean_over_genomes_of_their_best_clusters():
    figures = measure_clusters(compare(GENOMES, CLUSTERS))
    assert figures["f1"] == pytest.approx((6 / 7 + 2 / 3 + 0) / 3)
    assert measure_clusters(compare(["A", "B"], np.array([0, 1])))["f1"] == 1


def test_compare_keeps_no_more_than_the_combinations_that_occur():
    n = 50_000  # as (genomes, clusters) this would be 20 GB
    comparison = compare([f"g{i}" for i in range(n)], np.arange(n))
    assert len(comparison.counts) == n
    assert get_purity(comparison) == get_completeness(comparison) == get_f1(comparison) == 1


@pytest.mark.parametrize("seed", range(5))
def test_purity_and_completeness_are_those_of_the_whole_table(seed):
    rng = np.random.default_rng(seed)
    true, found = rng.integers(0, 7, 400), rng.integers(-1, 9, 400)
    table = np.array([[(found[true == genome] == cluster).sum() for cluster in range(9)] for genome in range(7)])
    comparison = compare([str(genome) for genome in true], found)
    assert get_purity(comparison) == table.max(axis=0).sum() / (found >= 0).sum()
    assert get_completeness(comparison) == table.max(axis=1).sum() / 400
    assert find_main_origins(comparison)[0].tolist() == table.argmax(axis=0).tolist()
    assert find_main_clusters(comparison)[0].tolist() == table.argmax(axis=1).tolist()


def test_measure_rank_takes_genomes_of_one_taxon_together_and_leaves_the_unknown_out():
    origins = ["V", "V", "V", "V", "V", "V", "V", ""]
    figures = measure_rank(origins, np.array([0, 0, 0, 0, 0, 0, 0, 1]), "genus")
    assert figures == {
        "known_genus": 7 / 8,
        "true_genus": 1,
        "ari_genus": 1,
        "purity_genus": 1,
        "completeness_genus": 1,
        "f1_genus": 1,
    }
    split = measure_rank(GENOMES, CLUSTERS, "species")
    whole = measure_clusters(compare(GENOMES, CLUSTERS))
    for metric in ("ari", "purity", "completeness", "f1"):
        assert split[f"{metric}_species"] == whole[metric]
    assert measure_rank([""] * 8, CLUSTERS, "genus") == {"known_genus": 0.0}


@pytest.mark.parametrize(
    ("low", "high", "edges"),
    [
        (0, 0, [0, 1]),
        (300, 300, [200, 500]),
        (500, 999, [500, 1000]),
        (1000, 1000, [1000, 2000]),
        (150, 3000, [100, 200, 500, 1000, 2000, 5000]),
    ],
)
def test_get_edges_enclose_the_values(low, high, edges):
    assert get_edges(low, high) == edges


def test_measure_strata_part_the_fragments_and_add_up():
    rng = np.random.default_rng(0)
    origins = [f"g{number}" for number in rng.choice(6, 500, p=[0.5, 0.25, 0.12, 0.08, 0.04, 0.01])]
    found = np.where(rng.random(500) < 0.6, [int(origin[1]) for origin in origins], rng.integers(-1, 6, 500))
    lengths = rng.integers(80, 9000, 500)
    comparison = compare(origins, found)
    figures = measure_clusters(comparison)
    strata = measure_strata(comparison, lengths)
    for kind in ("length", "abundance"):
        some = [stratum for stratum in strata if stratum.kind == kind]
        assert len(some) > 2
        assert all(a.high <= b.low for a, b in itertools.pairwise(some))
        sizes = np.array([stratum.fragments for stratum in some])
        shares = np.array([stratum.share_assigned for stratum in some])
        assert sizes.sum() == 500
        assert shares @ sizes / 500 == pytest.approx(figures["share_assigned"])
        completeness = np.array([stratum.completeness for stratum in some])
        assert completeness @ sizes / 500 == pytest.approx(figures["completeness"])
        purity = np.array([stratum.purity for stratum in some])
        assert purity @ (shares * sizes) / (shares @ sizes) == pytest.approx(figures["purity"])
    for stratum in (stratum for stratum in strata if stratum.kind == "length"):
        rows = (lengths >= stratum.low) & (lengths < stratum.high)
        assert stratum.ari == adjusted_rand_score(comparison.true[rows], found[rows])


def test_measure_strata_of_nothing_assigned():
    strata = measure_strata(compare(GENOMES, np.full(8, -1)), np.full(8, 100))
    assert [(s.kind, s.low, s.high, s.fragments, s.genomes) for s in strata] == [
        ("length", 100, 200, 8, 3),
        ("abundance", 100, 200, 1, 1),
        ("abundance", 200, 500, 7, 2),
    ]
    assert all(s.share_assigned == s.purity == s.completeness == 0 for s in strata)


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
        strata=tmp_path / "strata.tsv",
    )
    rows = [line.split("\t") for line in files["out"].read_text().splitlines()]
    assert rows[0] == ["metric", "value"]
    figures = dict(rows[1:])
    assert figures["fragments"] == "8"
    assert figures["share_assigned"] == "0.7500"
    assert figures["species_correct"] == "0.3750"
    assert figures["species_wrong"] == "0.0000"
    assert (figures["known_species"], figures["ari_species"]) == ("1.0000", figures["ari"])
    assert figures["known_genus"] == "0.0000"  # no reference has these taxids
    assert "ari_genus" not in figures
    assert figures["unclassified"] == "0.6250"  # cluster c2 and the unassigned
    assert figures["absent_share"] == "1.0000"
    assert (tmp_path / "genomes.tsv").read_text().splitlines() == [
        "genome\tfragments\tbest_cluster\tprecision\trecall\tf1",
        "A\t4\tc1\t1.0000\t0.7500\t0.8571",
        "B\t3\tc2\t0.6667\t0.6667\t0.6667",
        "C\t1\t\t0.0000\t0.0000\t0.0000",
    ]
    assert [line.split("\t")[:5] for line in (tmp_path / "strata.tsv").read_text().splitlines()] == [
        ["stratum", "from", "to", "fragments", "genomes"],
        ["length", "100", "200", "8", "3"],
        ["abundance", "100", "200", "1", "1"],
        ["abundance", "200", "500", "7", "2"],
    ]


def test_evaluate_clusters_without_taxids_leaves_the_figures_about_names_out(files):
    files["truth"].write_text("@@SEQUENCEID\tBINID\n" + "".join(f"{name}\tG\n" for name in NAMES))
    assert "species_correct" not in evaluate_clusters(**files)


def test_evaluate_clusters_without_lengths_writes_no_strata_and_says_so(files, tmp_path, lines):
    files["truth"].write_text("@@SEQUENCEID\tBINID\n" + "".join(f"{name}\tG\n" for name in NAMES))
    lines.clear()
    evaluate_clusters(**files, strata=tmp_path / "strata.tsv")
    assert (tmp_path / "strata.tsv").read_text().count("\n") == 1
    assert any("no length of 8 of 8 fragments" in line for line in lines)


def write_lineages(path, genera, taxids=True):
    columns = "BINID\tTAXID\tLINEAGE" if taxids else "BINID\tLINEAGE"
    lines = [f"@SampleID:s\n@@SEQUENCEID\t{columns}"]
    for name, genome in zip(NAMES, GENOMES, strict=True):
        lineage = f"d__Bacteria;p__;c__;o__;f__;g__{genera[genome]};s__{genome} sp."
        lines.append("\t".join([name, genome, *([TAXIDS[genome]] if taxids else []), lineage]))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("taxids", [True, False])
def test_evaluate_clusters_takes_genera_and_species_from_lineages(taxids, files, lines):
    write_lineages(files["truth"], {"A": "X", "B": "X", "C": ""}, taxids)
    lines.clear()
    figures = evaluate_clusters(**files)
    assert (figures["known_genus"], figures["true_genus"], figures["purity_genus"]) == (7 / 8, 1, 1)
    assert (figures["known_species"], figures["true_species"], figures["ari_species"]) == (1, 3, figures["ari"])
    assert "the genus of 1 of 8 fragments is unknown; they are left out there" in lines


def test_evaluate_clusters_takes_genera_from_the_references_by_taxid(files, repository):
    text = files["truth"].read_text().replace("\t1\t", "\t666\t").replace("\t2\t", "\t210\t")
    files["truth"].write_text(text)
    figures = evaluate_clusters(**files, references=repository / "demo/references.tsv")
    assert (figures["known_genus"], figures["true_genus"]) == (7 / 8, 2)


def write_bins(path, bins, sample="peer"):
    rows = "".join(f"{name}\t{label}\n" for name, label in bins.items())
    path.write_text(f"@Version:0.9.1\n@SampleID:{sample}\n@@SEQUENCEID\tBINID\n{rows}")
    return path


def test_evaluate_binnings_scores_ours_as_the_workflow_does_and_others_beside_it(files, tmp_path):
    ours = evaluate_clusters(**files)
    perfect = write_bins(tmp_path / "perfect.tsv", dict(zip(NAMES, GENOMES, strict=True)))
    scores = evaluate_binnings(files["truth"], [files["binning"], perfect], tmp_path / "table.tsv")
    assert scores[str(files["binning"])].items() <= ours.items()
    assert scores[str(files["binning"])]["share_assigned"] == 0.75
    assert scores[str(perfect)]["ari"] == scores[str(perfect)]["f1"] == 1
    rows = [line.split("\t") for line in (tmp_path / "table.tsv").read_text().splitlines()]
    assert rows[0] == ["metric", str(files["binning"]), str(perfect)]
    assert ["share_assigned", "0.7500", "1.0000"] in rows
    assert ["fragments", "8", "8"] in rows


def test_evaluate_binnings_counts_a_missing_fragment_as_one_without_a_bin(files, tmp_path):
    bins = dict(zip(NAMES, ["x", "x", "x", "x", "y", "y"], strict=False))
    missing = write_bins(tmp_path / "missing.tsv", bins)
    empty = write_bins(tmp_path / "empty.tsv", bins | {"r6": "", "r7": ""})
    one, other = evaluate_binnings(files["truth"], [missing, empty], tmp_path / "table.tsv").values()
    assert one == other
    assert one["ari"] == adjusted_rand_score(GENOMES, [0, 0, 0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("names", "truth", "message", "remedy"),
    [
        ([*NAMES, "x"], NAMES, "1 of its 9 fragments are not among the 8 of the truth, such as 'x'", "named as in"),
        ([f"{name}/1" for name in NAMES], NAMES, "8 of its 8 fragments are not among the 8", "/2 from its names"),
        (NAMES, [f"{name}/1" for name in NAMES], "such as 'r0' (the truth has 'r0/1')", "/2 from the names in"),
        (["x", "y"], NAMES, "2 of its 2 fragments", "a binning of the reads of the truth"),
        ([], NAMES, "assigns none of the 8 fragments", "a binning of these reads"),
    ],
)
def test_evaluate_binnings_refuses_other_names(names, truth, message, remedy, files, tmp_path):
    write_truth(files["truth"], [(name, "A") for name in truth])
    path = write_bins(tmp_path / "peer.tsv", dict.fromkeys(names, "b"))
    with pytest.raises(InputError) as caught:
        evaluate_binnings(files["truth"], [path], tmp_path / "table.tsv")
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.path == str(path)
    assert not (tmp_path / "table.tsv").exists()


def test_evaluate_binnings_refuses_a_binning_given_twice_and_an_empty_truth(files, tmp_path):
    with pytest.raises(InputError, match="is given twice"):
        evaluate_binnings(files["truth"], [files["binning"]] * 2, tmp_path / "table.tsv")
    write_truth(files["truth"], [])
    with pytest.raises(InputError, match="holds no fragment"):
        evaluate_binnings(files["truth"], [files["binning"]], tmp_path / "table.tsv")


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
