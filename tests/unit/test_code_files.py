"""A change of code makes the right stages run again."""

from pathlib import Path

import pytest

from readclade.code_files import find_sources

ROOT = Path(__file__).parents[2]


def get_modules(script: str) -> set[str]:
    return {path.stem for path in find_sources(ROOT / "scripts" / f"{script}.py")} - {script}


def test_find_sources_follows_imports():
    assert get_modules("stage_shards") == {"lustre", "staging"}
    assert get_modules("fetch_reads") == {"compression", "fastq", "lanes", "read_statistics", "reads"}
    assert {"embedding", "kmer", "projection", "shards", "fastq"} <= get_modules("embed_fragments")
    assert {"job", "kmeans", "calibration", "linking", "discovery", "outputs"} <= get_modules("cluster_fragments")


@pytest.mark.parametrize("script", ["fetch_reads", "embed_fragments", "stage_shards", "cluster_fragments"])
def test_find_sources_leaves_out_later_stages(script):
    assert not get_modules(script) & {"labelling", "evaluation", "report", "figures", "cami"}


def test_find_sources_begins_with_what_it_was_given(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import json\nfrom readclade import fastq\nfrom readclade.errors import InputError\n")
    assert [path.name for path in find_sources(script) if path != script] == ["compression.py", "fastq.py"]
