"""What tells the shards of one run from those of another."""

from dataclasses import replace

import pytest

from readclade.inputs.tables import Lane
from readclade.reads.summary import summarise_reads
from readclade.shards.identity import get_edition, get_fingerprint, get_shard_file, is_stale
from readclade.shards.manifest import Manifest

EMBEDDER = ["kmer", "1", {"k": 4}]


@pytest.fixture
def plan(tmp_path, write_fastq, take_reads):
    path = write_fastq(tmp_path / "reads", take_reads("long.fastq.gz", 20))
    return summarise_reads("s", "ont", [Lane(path, None)], tmp_path, 20_000)


def test_get_fingerprint_changes_with_what_decides_the_shards(plan):
    lane, shard = plan.lanes[0], plan.shards[0]
    fingerprints = [
        get_fingerprint(plan, EMBEDDER, 32),
        get_fingerprint(plan, ["kmer", "1", {"k": 5}], 32),
        get_fingerprint(plan, ["kmer", "2", {"k": 4}], 32),
        get_fingerprint(plan, EMBEDDER, 16),
        get_fingerprint(plan, EMBEDDER, 32, store="s3://bucket/shards"),
        get_fingerprint(replace(plan, lanes=(replace(lane, sha256=("0" * 64,)),)), EMBEDDER, 32),
        get_fingerprint(replace(plan, shards=(replace(shard, end=(1,)), *plan.shards[1:])), EMBEDDER, 32),
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def test_get_fingerprint_stays_with_what_does_not(plan):
    lane = replace(plan.lanes[0], fq1="/elsewhere/reads.fq", etags=("version",), indexes=("index/1",))
    elsewhere = replace(plan, sample="other", lanes=(lane,), cleaning={})
    assert get_fingerprint(elsewhere, EMBEDDER, 32) == get_fingerprint(plan, EMBEDDER, 32)


def test_shards_of_another_edition_are_stale():
    manifest = Manifest("s", "ont", {"name": "kmer"}, 32, "0" * 64, ())
    edition, other = get_edition(manifest), get_edition(replace(manifest, d=16))
    assert edition != other
    place = "s3://bucket/shards"
    assert get_shard_file(3, place, edition) == f"shard-00003-{edition}.parquet"
    assert not is_stale(get_shard_file(3, place, edition), place, edition)
    assert is_stale(get_shard_file(3, place, other), place, edition)
    # A folder has one writer, which names no edition: what lies there when it begins anew is of an earlier run.
    assert is_stale(get_shard_file(3, "/shards", edition), "/shards", edition)
    assert not is_stale("manifest.json", "/shards", edition)
