"""Memory that jobs ask for."""

import pytest

from readclade.workflow.memory import get_clean_memory, get_cluster_memory, get_embed_memory


def test_clean_takes_more_for_genomes_to_remove_and_most_for_compressed_ones(tmp_path):
    plain, packed = tmp_path / "g.fa", tmp_path / "g.fa.gz"
    for path in (plain, packed):
        path.write_bytes(bytes(2_000_000))
    assert get_clean_memory([]) == 2000
    assert get_clean_memory([str(plain)]) == 2010
    assert get_clean_memory([str(plain), str(packed)]) == 2050


def test_embed_takes_more_for_each_actor_and_for_a_network():
    assert [get_embed_memory(False, actors) for actors in (1, 8)] == [2600, 6800]
    assert [get_embed_memory(True, actors) for actors in (1, 8)] == [5000, 19000]


def test_cluster_takes_what_the_bases_of_a_node_need(source, monkeypatch):
    monkeypatch.chdir(source.parent.parent)
    assert get_cluster_memory("shards", 1, 1, 4, 1) == 600  # 4,000 bases
    assert get_cluster_memory("shards", 2, 16, 4, 2) == 2 * 9600
    text = source.read_text().replace('"bases": 1000,', '"bases": 500000000,')
    source.write_text(text)
    assert get_cluster_memory("shards", 2, 16, 4, 1) == 12 * 2000 // 2 + 9600
    assert get_cluster_memory("shards", 2, 2, 4, 1) == 2 * 4000 + 1200
    assert get_cluster_memory("shards", 2, 2, 1, 1) == 5 * 2000 // 2 + 1200
    with pytest.raises(FileNotFoundError):
        get_cluster_memory("staged", 1, 1, 4, 1)
