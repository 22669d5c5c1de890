"""A change of code makes the right stages run again."""

from pathlib import Path

import pytest

from readclade.code_files import find_sources

ROOT = Path(__file__).parents[2]


def get_modules(script: str) -> set[str]:
    library = ROOT / "src/readclade"
    found = find_sources(ROOT / "scripts" / f"{script}.py")
    return {str(path.relative_to(library).with_suffix("")) for path in found if path.is_relative_to(library)}


def test_find_sources_follows_imports():
    assert get_modules("stage_shards") == {"shards/lustre", "shards/staging"}
    reads = {
        f"reads/{name}" for name in ("compression", "fastq", "plan", "records", "statistics", "streams", "summary")
    }
    assert get_modules("fetch_reads") == {*reads, "inputs/lanes"}
    embedding = {"embedding/job", "embedders/kmer", "embedders/projection", "shards/parquet", "reads/fastq"}
    assert embedding <= get_modules("embed_fragments")
    groups = {"clustering/groups/calibration", "clustering/groups/linking"}
    genomes = {"clustering/genomes/kmeans", "clustering/genomes/discovery"}
    assert {"clustering/job", "clustering/outputs"} | groups | genomes <= get_modules("cluster_fragments")


@pytest.mark.parametrize("script", ["fetch_reads", "embed_fragments", "stage_shards", "cluster_fragments"])
def test_find_sources_leaves_out_later_stages(script):
    rooms = {module.split("/")[0] for module in get_modules(script)}
    assert not rooms & {"labelling", "evaluation", "report", "results"}


def test_find_sources_begins_with_what_it_was_given(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import json\nfrom readclade.reads import fastq\nfrom readclade.errors import InputError\n")
    assert [path.name for path in find_sources(script) if path != script] == [
        "compression.py",
        "fastq.py",
        "streams.py",
    ]
