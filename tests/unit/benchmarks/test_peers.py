"""The comparison with other tools: reading their clusters, joining mates, scoring, and what a command costs."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from readclade.errors import ConfigError, InputError
from readclade.results.cami import read_binning

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import compare_peers  # noqa: E402
import peers  # noqa: E402
import usage  # noqa: E402

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def make_task(tmp_path):
    """Return a function that makes a task of four pairs, a to d, in a folder of its own."""

    def make(platform: str = "illumina", seed: int = 0) -> peers.Task:
        sample = peers.Sample("s", platform, (), None)
        folder = tmp_path / f"work{seed}"
        return peers.Task(tmp_path / "samples.tsv", sample, NAMES, tmp_path / "r.fasta", folder, 2, "2", seed, 1)

    return make


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "truth.tsv"
    peers.write_binning(path, "s", NAMES, np.array([0, 0, 1, 1]))
    return path


@pytest.fixture
def make_peer():
    """Return a function that makes a peer of one Python command, whose clusters are those given."""

    def make(code: str = "", clusters=(0, 0, 1, 1), **fields) -> peers.Peer:
        def finish(task: peers.Task) -> None:
            peers.write_binning(task.binning, "s", NAMES, np.array(clusters))

        default = {"is_seeded": False, "get_version": lambda: "1.0", "finish": finish}
        steps = [("only", [sys.executable, "-c", code])]
        return peers.Peer(
            "fake", "apt-get install fake", describe=lambda task: "-x", get_steps=lambda task: steps, **default | fields
        )

    return make


def test_parse_linclust_returns_members_with_their_representatives():
    assert peers.parse_linclust(["3\t3\n", "3\t0\n", "7\t7\n"]) == ([3, 0, 7], ["3", "3", "7"])


def test_parse_uc_takes_centroids_and_hits_and_no_summaries():
    lines = [
        "S\t0\t150\t*\t*\t*\t*\t*\t12\t*\n",
        "H\t0\t148\t99.3\t-\t0\t0\t2I146M\t4\t12\n",
        "S\t1\t150\t*\t*\t*\t*\t*\t4\t*\n",
        "C\t0\t2\t*\t*\t*\t*\t*\t12\t*\n",
        "C\t1\t1\t*\t*\t*\t*\t*\t4\t*\n",
    ]
    assert peers.parse_uc(lines) == ([12, 4, 4], ["0", "0", "1"])


@pytest.mark.parametrize(
    ("fragments", "clusters", "expected"),
    [
        ([0, 1, 2, 3], ["x", "x", "y", "z"], [0, 0, 1, 2]),  # single reads stay as they are
        ([0, 0, 1, 1, 2, 2], ["x", "y", "z", "z", "y", "w"], [0, 1, 0, -1]),  # fragment 0 joins x and y, 2 joins w
        ([0, 1, 1, 2, 2, 3], ["x", "x", "y", "y", "z", "z"], [0, 0, 0, 0]),  # a chain
        ([3], ["x"], [-1, -1, -1, 0]),  # reads that the tool left out
        ([], [], [-1, -1, -1, -1]),
    ],
)
def test_join_mates_unites_clusters_of_one_fragment(fragments, clusters, expected):
    assert peers.join_mates(fragments, clusters, 4).tolist() == expected


@pytest.mark.parametrize(
    ("tool", "file", "text"),
    [
        ("mmseqs2", "clusters.tsv", "0\t0\n0\t1\n2\t2\n3\t3\n3\t2\n"),
        ("vsearch", "clusters.uc", "".join(f"S\t{c}\t9\t*\t*\t*\t*\t*\t{f}\t*\n" for c, f in ["00", "01", "12", "23"])),
    ],
)
def test_finish_writes_a_binning_of_fragments(make_task, tool, file, text):
    task = make_task()
    task.folder.mkdir()
    (task.folder / file).write_text(text)
    (peer,) = peers.choose_peers([tool])
    peer.finish(task)
    bins = read_binning(task.binning, "s").bins
    assert list(bins) == NAMES
    assert bins["a"] == bins["b"] != bins["c"]
    assert (bins["c"] == bins["d"]) == (tool == "mmseqs2")


def test_steps_use_the_identity_of_the_platform(make_task):
    for platform, identity in (("illumina", "0.97"), ("pacbio", "0.97"), ("ont", "0.8")):
        task = make_task(platform)
        for name, option in (("mmseqs2", "--min-seq-id"), ("vsearch", "--id")):
            (peer,) = peers.choose_peers([name])
            words = [str(word) for _, command in peer.get_steps(task) for word in command]
            assert words[words.index(option) + 1] == identity
            assert f"{option} {identity} " in peer.describe(task)


def test_choose_peers_refuses_an_unknown_name():
    assert [peer.name for peer in peers.choose_peers(["faiss", "readclade"])] == ["readclade", "faiss k-means"]
    with pytest.raises(ConfigError, match="no peer 'cdhit'") as error:
        peers.choose_peers(["cdhit"])
    assert error.value.remedy == "give one of: readclade, sklearn, faiss, mmseqs2, vsearch"


def test_score_binning_of_a_known_binning(tmp_path, truth):
    binning = tmp_path / "binning.tsv"
    peers.write_binning(binning, "s", NAMES, np.array([0, 0, 0, -1]))
    figures = compare_peers.score_binning(truth, binning, "s")
    assert (figures["fragments"], figures["clusters"], figures["large_clusters"]) == (4, 1, 1)
    assert figures["share_assigned"] == 0.75
    assert figures["purity"] == pytest.approx(2 / 3)
    assert figures["completeness"] == 0.75
    # Pairs together in both 1, in the truth 2, in the clusters 3, of 6: (1 - 1) / (2.5 - 1).
    assert figures["ari"] == pytest.approx(0)
    peers.write_binning(binning, "s", ["a/1", "b/1"], np.array([0, 0]))
    with pytest.raises(InputError, match="not among the 4 of the truth"):
        compare_peers.score_binning(truth, binning, "s")


def test_measure_command_counts_processes_that_nobody_waits_for(tmp_path):
    """A child that ignores the end of its own children hides them from the kernel's sum; so does an orphan."""
    busy = (
        "import time; data = bytearray(80_000_000); t = time.process_time()\nwhile time.process_time() - t < 0.8: pass"
    )
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {busy!r}], start_new_session=True); time.sleep(0.3)"
    )
    used = usage.measure_command([sys.executable, "-c", code], 60, tmp_path / "log")
    assert 0.6 < used.cpu_s < 3
    assert used.wall_s > 0.8
    assert used.peak_mb > 80
    assert used.others >= 0


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(60)"])
def test_measure_command_ends_what_takes_too_long(tmp_path, code):
    started = time.monotonic()
    pid = tmp_path / "pid"
    code = f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\n{code}"
    with pytest.raises(usage.TimeLimitError, match=r"did not finish in 0\.5 s of CPU time"):
        usage.measure_command([sys.executable, "-c", code], 0.5, tmp_path / "log")
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_measure_command_says_why_a_command_failed(tmp_path):
    with pytest.raises(usage.CommandError, match="failed with exit code 3: no such option"):
        usage.measure_command([sys.executable, "-c", "print('no such option'); exit(3)"], 60, tmp_path / "log")
    with pytest.raises(usage.CommandError, match="cannot be started: No such file"):
        usage.measure_command([tmp_path / "absent"], 60, tmp_path / "log")


def test_usage_of_two_steps_adds_times_and_keeps_the_peak():
    both = usage.Usage(1, 2, 30, 0.5) + usage.Usage(3, 6, 20, 1.5)
    assert both == usage.Usage(4, 8, 30, 1.25)


def test_run_peer_gives_a_row_with_figures(make_task, make_peer, truth):
    row = compare_peers.run_peer(make_peer(), make_task(), truth, 60)
    assert (row.status, row.figures["ari"], row.version, list(row.steps)) == ("ok", 1.0, "1.0", ["only"])
    cells = compare_peers.get_cells(row, row.usage)
    assert (cells["ari"], cells["clusters"], cells["cpu_ratio"]) == ("1.000", "2", "1.00")


@pytest.mark.parametrize(
    ("code", "fields", "status"),
    [
        ("", {"get_version": lambda: None}, "not installed: apt-get install fake"),
        ("while True: pass", {}, "did not finish in 0.5 s of CPU time"),
        ("exit('out of luck')", {}, "failed with exit code 1: out of luck"),
    ],
)
def test_run_peer_without_a_result_has_a_row_that_says_why(make_task, make_peer, truth, code, fields, status):
    row = compare_peers.run_peer(make_peer(code, **fields), make_task(), truth, 0.5)
    assert row.status.endswith(status)
    cells = compare_peers.get_cells(row, None)
    assert cells["ari"] == cells["cpu_s"] == ""
    line = compare_peers.make_section("s", "about", [cells])[-2]
    assert line.startswith("| fake | ")
    assert status in line
    assert line.count(" | ") == len(compare_peers._HEADS) - 1


def test_run_seeds_shows_the_run_of_median_ari(make_task, make_peer, truth):
    found = {0: (0, 0, 0, 0), 1: (0, 0, 1, 1), 2: (0, 0, 1, 2)}

    def finish(task: peers.Task) -> None:
        peers.write_binning(task.binning, "s", NAMES, np.array(found[task.seed]))

    def run(is_seeded: bool) -> compare_peers.Row:
        peer = make_peer(is_seeded=is_seeded, finish=finish)
        return compare_peers.run_seeds(peer, lambda seed: make_task(seed=seed), truth, [0, 1, 2], 60)

    assert run(True).seed == 2


def test_choose_samples_refuses_a_sample_without_truth(tmp_path, write_fastq):
    path = tmp_path / "samples.tsv"
    write_fastq(tmp_path / "a.fq", [("a", "ACGT", "IIII")])
    path.write_text("sample\tfq1\tplatform\na\ta.fq\tont\n")
    for names, message in ((["a"], "sample 'a' lacks a truth"), (None, "every sample lacks a truth")):
        with pytest.raises(InputError, match=message):
            compare_peers.choose_samples(path, names)


@pytest.mark.slow
def test_kmeans_peers_on_a_cut_of_the_demo(tmp_path, repository, take_reads, write_fastq):
    """From the table of samples to the page, with a tool that is not there."""
    table = ["sample\tfq1\tfq2\tplatform\ttruth"]
    for name, files, count in (("pairs", ["pairs_1", "pairs_2"], 400), ("long", ["long"], 120)):
        records = [take_reads(f"{file}.fastq.gz", count) for file in files]
        paths = [write_fastq(tmp_path / f"{file}.fq", reads) for file, reads in zip(files, records, strict=True)]
        suffix = ".gz" if name == "pairs" else ""
        bins = read_binning(repository / f"demo/truth/{name}.tsv{suffix}", name).bins
        names = [record[0].split("/")[0] for record in records[0]]
        numbers = {genome: number for number, genome in enumerate(sorted(set(bins.values())))}
        clusters = np.array([numbers[bins[fragment]] for fragment in names])
        peers.write_binning(tmp_path / f"{name}.tsv", name, names, clusters)
        fq2 = paths[1] if len(paths) == 2 else ""
        table.append(f"{name}\t{paths[0]}\t{fq2}\t{'illumina' if fq2 else 'ont'}\t{name}.tsv")
    (tmp_path / "samples.tsv").write_text("\n".join(table) + "\n")
    tools = ["--only", "sklearn", "faiss", "vsearch", "--seeds", "1", "--threads", "1", "--community", "a cut"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "compare_peers.py", "--samples", "samples.tsv", *tools, "--out", "out/peers.md"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repository / "src"), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out/peers.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["tool"] for row in rows] == ["sklearn k-means", "faiss k-means", "vsearch cluster_fast"] * 2
    for row in rows:
        if row["tool"].startswith("vsearch"):
            assert row["status"] == "not installed: apt-get install vsearch"
        else:
            assert (row["status"], row["cpu_ratio"], row["share_assigned"]) == ("ok", "", "1.000")
            assert float(row["ari"]) > (0.4 if row["sample"] == "long" else 0.1)
            assert float(row["cpu_s"]) > 0.1
            assert float(row["peak_mb"]) > 50
    page = (tmp_path / "out/peers.md").read_text()
    assert "benchmarks/compare_peers.py --samples samples.tsv --only sklearn" in page
    assert "Community: a cut. Seed of the clustering: 1.\n" in page
    assert "400 pairs" in page
    assert str(tmp_path) not in page


def test_help_shows_an_example(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare_peers.py", "--help"])
    with pytest.raises(SystemExit) as end:
        compare_peers.main()
    assert end.value.code == 0
    assert "\nExample, from the repository root" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "cdhit"], "error: there is no peer 'cdhit'"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--k", "many"], "--k must be true, auto or a number"),
        (["--out", "peers.tsv"], "error: --out is the page"),
        (["--sample", "none"], "has no sample 'none'"),
        (["--samples", "none.tsv"], "the table of samples does not exist"),
    ],
)
def test_wrong_value_is_refused_without_a_traceback(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["compare_peers.py", *arguments])
    with pytest.raises(SystemExit) as end:
        compare_peers.run(compare_peers.main)
    assert end.value.code in (1, 2)
    assert message in capsys.readouterr().err
