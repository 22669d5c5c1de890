"""A change of code makes the right stages run again."""

import re
from pathlib import Path

import pytest

from readclade.code_files import HARMLESS, find_sources, list_code

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "src/readclade"


def get_modules(files: list[Path]) -> set[str]:
    return {str(path.relative_to(LIBRARY).with_suffix("")) for path in files if path.is_relative_to(LIBRARY)}


def trace(script: str) -> set[str]:
    """Return the modules that a script imports, directly or not, and that can change its results."""
    return get_modules(find_sources(ROOT / "scripts" / f"{script}.py"))


def read_rules() -> dict[str, set[str]]:
    """Return what each rule's script is, and the folders of code that the rule names."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in f"\n{path.read_text()}".split("\nrule ")[1:] if path.name != "common.smk" else []:
            script = re.search(r'script=str\(BASEDIR / "scripts/(\w+)\.py"\)', rule)[1]
            code = re.search(r"code=get_code\(([^)]*)\)", rule)
            found[script] = set(re.findall(r'"([\w/]+)"', code[1])) if code else set()
    return found


RULES = read_rules()
# What was downloaded stays, whatever becomes of the code that downloads.
del RULES["download_reads"]


def test_every_rule_was_read():
    assert len(RULES) == 12
    assert all(RULES.values())


@pytest.mark.parametrize("script", [*RULES, "submit_embedding"])
def test_rule_names_the_folders_of_all_that_its_script_imports(script):
    named = RULES["embed_fragments" if script == "submit_embedding" else script]
    imported = {module.split("/")[0] for module in trace(script)}
    assert imported <= named
    # Folders that cannot change a result may be named, where they are what the rule is about.
    assert script == "submit_embedding" or named - imported <= HARMLESS
    assert trace(script) <= get_modules(list_code(*named))


def test_list_code_holds_data_too():
    code = list_code("clustering", "report", "letters")
    names = {str(path.relative_to(LIBRARY)) for path in code}
    assert {"clustering/genomes/markers.txt", "report/templates/report.html.jinja", "letters.py"} <= names
    assert {name for name in names if not name.startswith(("clustering/", "report/"))} == {"letters.py"}
    assert not [name for name in names if "__pycache__" in name]
    assert all(path.stat().st_size for path in code)


def test_list_code_names_what_is_not_there():
    """Snakemake then refuses the rule."""
    assert list_code("clutsering") == [LIBRARY / "clutsering.py"]


def test_find_sources_follows_imports():
    assert trace("stage_shards") == {"shards/lustre", "shards/manifest", "shards/staging", "shards/store"}
    files = {f"reads/{name}" for name in ("bam", "compression", "fastq", "lines", "names", "records", "streams")}
    scan = {f"reads/{name}" for name in ("adapters", "plan", "repeats", "scan", "statistics", "summary")}
    assert trace("fetch_reads") == {*files, *scan, "nucleotides"}
    embedding = {"embedding/job", "embedders/kmer", "embedders/projection", "shards/parquet", "reads/fastq"}
    assert embedding <= trace("embed_fragments")
    groups = {"clustering/groups/calibration", "clustering/groups/linking"}
    genomes = {"clustering/genomes/kmeans", "clustering/genomes/discovery", "clustering/genomes/markers"}
    assert {"clustering/job", "clustering/outputs"} | groups | genomes <= trace("cluster_fragments")
    assert LIBRARY / "clustering/genomes/markers.txt" in find_sources(LIBRARY / "clustering/job.py")


@pytest.mark.parametrize("script", ["fetch_reads", "embed_fragments", "stage_shards", "cluster_fragments"])
def test_find_sources_leaves_out_later_stages(script):
    modules = trace(script)
    assert not {module.split("/")[0] for module in modules} & {"labelling", "evaluation", "report"}
    # Of the results, clustering decides only its own: neither taxa nor what reads the files of other tools.
    own = {f"results/{name}" for name in ("assignments", "binning", "clusters", "names", "tables")}
    results = {module for module in modules if module.startswith("results/")}
    assert results == (own if script == "cluster_fragments" else set())


def test_find_sources_begins_with_what_it_was_given(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import json\nfrom readclade.reads import fastq\nfrom readclade.errors import InputError\n")
    found = [path.name for path in find_sources(script) if path != script]
    assert found == ["bam.py", "compression.py", "fastq.py", "streams.py"]
