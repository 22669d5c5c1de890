"""What an earlier run left."""

from pathlib import Path

import pytest

from readclade.workflow.state import add_figures_to_benchmarks, is_damaged


def test_manifest_is_damaged_where_a_shard_is_lost_or_shortened(source):
    assert not is_damaged(source)
    shard = source.parent / "shard-00002.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert is_damaged(source)
    shard.write_bytes(whole)
    assert not is_damaged(source)
    shard.unlink()
    assert is_damaged(source)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_manifest_that_cannot_be_read_is_damaged(source, text):
    source.write_text(text)
    assert is_damaged(source)


def test_figures_are_added_to_benchmarks_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("logs/embed")
    folder.mkdir(parents=True)
    (folder / "a.benchmark.tsv").write_text("s\tmax_rss\n3.5\t100\n")
    (folder / "a.metrics.tsv").write_text("embedding_s\treads\n2.1\t40\n")
    # One that made no shard, and two of which one file is not there.
    (folder / "b.benchmark.tsv").write_text("s\tmax_rss\n0.5\t90\n")
    (folder / "b.metrics.tsv").write_text("")
    (folder / "c.metrics.tsv").write_text("embedding_s\treads\n2.1\t40\n")
    (folder / "d.benchmark.tsv").write_text("s\tmax_rss\n0.5\t90\n")
    for _ in range(2):
        add_figures_to_benchmarks(["a", "b", "c", "d"])
        assert (folder / "a.benchmark.tsv").read_text() == "s\tmax_rss\tembedding_s\treads\n3.5\t100\t2.1\t40\n"
        assert (folder / "b.benchmark.tsv").read_text() == "s\tmax_rss\n0.5\t90\n"
        assert (folder / "d.benchmark.tsv").read_text() == "s\tmax_rss\n0.5\t90\n"
        assert not (folder / "c.benchmark.tsv").exists()
