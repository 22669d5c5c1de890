"""Every command that the README, the docs and the scripts' docstrings show runs as it stands there."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
# The commands of this page and this script want a cluster: test_remote_ray.py runs them.
REMOTE_PAGE, REMOTE_SCRIPT = "docs/remote-ray.md", "submit_embedding"
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
PAGES.remove(REMOTE_PAGE)
# What runs these stands in .ci/run (a test cannot call itself), or they need what a test machine may lack.
ELSEWHERE = {"make test": "targets=(cluster workflow unit test)", "make amber": "targets+=(amber)", "make bench": None}
DEMO = "--profile profiles/local --directory demo/run --configfile demo/config.yaml"
# The order in which the examples of the scripts build on each other.
SCRIPTS = [
    "compile_loops",
    "download_reads",
    "clean_reads",
    "fetch_reads",
    "train_lshvec",
    "embed_fragments",
    "stage_shards",
    "cluster_fragments",
    "write_bins",
    "index_references",
    "label_clusters",
    "evaluate_clusters",
    "evaluate_binning",
    "write_report",
    "show_summary",
    "sync_results",
]


def find_commands(page: str) -> list[str]:
    """Return the command lines of a page's blocks of shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.strip()]


def find_example(script: str) -> str:
    """Return the command of a script's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / "scripts" / f"{script}.py").read_text()))
    lines = re.search(r"^Example.*:\n((?:    .*\n?)+)", text, re.MULTILINE)[1]
    return " ".join(line.strip().rstrip("\\") for line in lines.splitlines())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """Return a repository like this one, in which `make demo` has run; there or here, if nothing changed since."""
    root = tmp_path_factory.mktemp("checkout")
    # What commands write into is copied, the rest is linked.
    written = ("demo", "docs", "infra")
    for path in ROOT.iterdir():
        if path.name not in {*written, ".git", ".snakemake", "reads", "shards", "staged", "results", "logs", "models"}:
            (root / path.name).symlink_to(path)
    for name in written:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("run", "build", "__pycache__"))
    header, *rows = (root / "demo/samples.tsv").read_text().splitlines()
    rows = [row.replace("reads/", f"{root}/demo/reads/").replace("truth/", f"{root}/demo/truth/") for row in rows]
    (root / "samples.tsv").write_text("\n".join([header, rows[-1]]) + "\n")
    if has_demo():
        shutil.copytree(ROOT / "demo/run", root / "demo/run", symlinks=True, ignore=shutil.ignore_patterns("locks"))
        run(root, f".venv/bin/snakemake --touch {DEMO}")  # else other paths of the code were a reason to run it again
    run(root, "make demo")
    return root


def has_demo() -> bool:
    """Return whether the repository holds a whole demo, made by the code as it is."""
    if not (ROOT / "demo/run/results/report.html").exists():
        return False
    return "Nothing to be done" in run(ROOT, f".venv/bin/snakemake --dry-run {DEMO}")


def run(root: Path, command: str) -> str:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ["HOME"]}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, command + "\n" + done.stdout
    return done.stdout


def test_demo_prints_figures_and_the_report(checkout):
    output = run(checkout, "make demo")
    assert "Nothing to be done" in output
    figures = dict(re.findall(r"^long\t(\w+)\t(\S+)$", output, re.MULTILINE))
    assert float(figures["ari"]) >= 0.9
    assert float(re.search(r"^pairs\tari\t(0\.\d+)$", output, re.MULTILINE)[1]) >= 0.88
    assert output.rstrip().splitlines()[-1] == f"report: {checkout}/demo/run/results/report.html"


def test_readme_has_the_figures_of_the_demo(checkout):
    found = [line.split("\t") for line in run(checkout, "make demo").splitlines() if line.count("\t") == 2]
    figures = {(sample, metric): float(value) for sample, metric, value in found}
    rows = re.findall(r"^\| `(\w+)` \| (\d.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [sample for sample, _ in rows] == ["long", "pairs"]
    for sample, cells in rows:
        counts = [f"{figures[sample, metric]:,.0f}" for metric in ("fragments", "clusters")]
        measures = [f"{figures[sample, metric]:.3f}" for metric in ("ari", "purity", "completeness")]
        species = [f"{figures[sample, f'species_{kind}']:.0%}" for kind in ("correct", "wrong", "none")]
        assert cells.split(" | ") == counts + measures + species


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run(checkout, page):
    for command in find_commands(page):
        if command in ELSEWHERE:
            assert ELSEWHERE[command] is None or ELSEWHERE[command] in (ROOT / ".ci/run").read_text()
            continue
        command = command.replace("references=FILE", "references=../references.tsv")
        command = command.replace("samples=FILE", f"samples={checkout}/samples.tsv")
        command = command.replace("--configfile FILE", "--configfile demo/config.yaml")
        command = command.replace("DIR/results", "demo/run/results").replace("--directory DIR", "--directory demo/run")
        assert not re.search(r"\b(DIR|FILE|REPO)\b", command), command
        # A run of other samples into the demo's folder would change what it holds: see what it would do.
        run(checkout, f"{command} -n" if "snakemake" in command and not command.endswith(" -n") else command)


def test_examples_of_the_scripts_run(checkout):
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == {*SCRIPTS, REMOTE_SCRIPT}
    for script in SCRIPTS:
        command = find_example(script)
        run(checkout / "demo/run" if command.startswith("PYTHONPATH=../../src") else checkout, command)
    assert (checkout / "results/pairs/evaluation.tsv").exists()
