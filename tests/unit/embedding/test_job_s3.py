"""Phase 1 with its reads and its shards on a real S3 server, read and written by real Ray actors."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from readclade.embedders.kmer import KmerEmbedder
from readclade.embedding import job
from readclade.embedding.job import ShardEmbedder, embed_reads
from readclade.errors import InputError, StorageError
from readclade.inputs.tables import Lane
from readclade.reads.summary import summarise_reads
from readclade.shards import store
from readclade.shards.identity import get_edition
from readclade.shards.manifest import read_manifest
from readclade.storage import locations
from tests.s3_server import S3Server

SHARDS = 5


@pytest.fixture
def fetched(bucket, write_fastq, take_reads, tmp_path):
    """Return s3://.../reads.json of pairs on S3 (one file gzip, one plain), with the local one beside it."""
    local = tmp_path / "local"
    lane = []
    for mate, compression in ((1, "gzip"), (2, "plain")):
        path = write_fastq(local / f"{mate}.fq", take_reads(f"pairs_{mate}.fastq.gz", 250), compression)
        locations.upload_file(path, f"{bucket}/in/{mate}.fq")
        lane.append(path)
    summarise_reads("pairs", "illumina", [Lane(*lane)], local / "reads", 15_000)
    summarise_reads("pairs", "illumina", [Lane(f"{bucket}/in/1.fq", f"{bucket}/in/2.fq")], tmp_path / "reads", 15_000)
    for name in ("reads.json", "index/lane1_1.gzi"):
        locations.upload_file(tmp_path / "reads" / name, f"{bucket}/reads/{name}")
    return f"{bucket}/reads/reads.json"


@pytest.fixture
def run_here(without_ray):
    """Return a function that embeds without Ray, its actor a plain object."""
    return lambda reads, out, k=4: embed_reads(reads, out, "kmer", {"k": k}, 32, 1, None)


def get_content(out: str) -> dict[str, bytes]:
    return {name: locations.read_bytes(locations.join(out, name)) for name in locations.list_sizes(out)}


def get_shards(out: str) -> list[bytes]:
    return [data for name, data in sorted(get_content(out).items()) if name.endswith(".parquet")]


def test_summarise_reads_on_s3_finds_what_it_finds_on_disk(fetched, tmp_path):
    here = json.loads((tmp_path / "local/reads/reads.json").read_text())
    there = json.loads((tmp_path / "reads/reads.json").read_text())
    lane, remote = here.pop("lanes")[0], there.pop("lanes")[0]
    assert here == there
    assert remote["sha256"] == lane["sha256"]
    assert lane["etags"] == [None, None]
    assert remote["etags"] == [locations.find(remote[name]).etag for name in ("fq1", "fq2")]
    assert (tmp_path / "local/reads/index/lane1_1.gzi").read_bytes() == locations.read_bytes(
        fetched.replace("reads.json", "index/lane1_1.gzi")
    )
    # Nothing was copied.
    assert sorted(path.name for path in (tmp_path / "reads").rglob("*")) == ["index", "lane1_1.gzi", "reads.json"]


@pytest.mark.parametrize("compression", ["bzip2", "pbzip2", "zstd", "pzstd"])
def test_compressed_reads_on_s3_give_the_shards_of_plain_ones(
    bucket, write_fastq, take_reads, tmp_path, run_here, compression
):
    records = take_reads("long.fastq.gz", 40)
    plain = write_fastq(tmp_path / "plain.fq", records, "plain")
    path = write_fastq(tmp_path / "packed.fq", records, compression)
    locations.upload_file(path, f"{bucket}/packed.fq")
    summarise_reads("long", "ont", [Lane(plain, None)], tmp_path / "plain", 50_000)
    reads = summarise_reads("long", "ont", [Lane(f"{bucket}/packed.fq", None)], tmp_path / "packed", 50_000)
    assert len(reads.shards) > 3
    for name in ("plain", "packed"):
        run_here(tmp_path / name / "reads.json", tmp_path / "out" / name)
    assert get_shards(tmp_path / "out/packed") == get_shards(tmp_path / "out/plain")


def test_embed_reads_on_ray_from_s3_to_s3_gives_the_bytes_of_a_local_run(fetched, bucket, ray_address, tmp_path):
    manifest = embed_reads(fetched, f"{bucket}/shards/pairs", "kmer", {"k": 4}, 32, 2, ray_address)
    local = embed_reads(tmp_path / "local/reads/reads.json", tmp_path / "out", "kmer", {"k": 4}, 32, 2, ray_address)
    content = get_content(f"{bucket}/shards/pairs")
    edition = get_edition(manifest)
    assert sorted(content) == [
        "manifest.json",
        "progress.json",
        *(f"shard-{number:05d}-{edition}.parquet" for number in range(SHARDS)),
    ]
    assert get_shards(f"{bucket}/shards/pairs") == get_shards(tmp_path / "out")
    assert [shard.sha256 for shard in manifest.shards] == [shard.sha256 for shard in local.shards]
    locations.download_file(f"{bucket}/shards/pairs/manifest.json", tmp_path / "manifest.json")
    assert read_manifest(tmp_path / "manifest.json") == manifest
    for shard in manifest.shards:
        info = locations.find(f"{bucket}/shards/pairs/{shard.file}")
        assert (info.size, info.sha256) == (shard.bytes, shard.sha256)
    table = pq.read_table([tmp_path / "out" / shard.file for shard in local.shards])
    assert table["fragment"].to_pylist() == list(range(250))


def test_embed_reads_on_s3_remakes_only_what_is_lost_or_written_over(fetched, bucket, run_here, lines):
    out = f"{bucket}/out"
    manifest = run_here(fetched, out)
    content = get_content(out)
    files = [shard.file for shard in manifest.shards]
    locations.delete(f"{out}/{files[1]}")
    locations.write_bytes(f"{out}/{files[3]}", content[files[3]][:-1] + b"x")  # of the right size
    locations.write_bytes(f"{out}/{files[4]}", b"short")
    assert [shard.file for shard in store.list_lost(manifest, out)] == [files[1], files[4]]
    lines.clear()
    run_here(fetched, out)
    assert lines == ["2 of 5 shards are there already"]
    assert get_content(out) == content
    lines.clear()
    run_here(fetched, out)
    assert lines == ["5 of 5 shards are there already"]


def test_embed_reads_on_s3_change_of_parameters_never_mixes(fetched, bucket, run_here):
    """An actor that outlives its driver finishes a shard of the old parameters after the new run is done."""
    out = f"{bucket}/out"
    old = run_here(fetched, out, k=4)
    late = ShardEmbedder(fetched, out, {"k": 4})
    new = run_here(fetched, out, k=5)
    assert not {shard.file for shard in old.shards} & {shard.file for shard in new.shards}
    content = get_content(out)
    assert sorted(content) == ["manifest.json", "progress.json", *sorted(shard.file for shard in new.shards)]
    late.make_shard(2)
    assert {name: data for name, data in get_content(out).items() if name in content} == content
    assert len(store.list_intact(new, out)) == SHARDS
    fresh = run_here(fetched, f"{bucket}/fresh", k=5)
    assert fresh == new


def test_embed_reads_on_s3_change_of_the_embedders_revision_remakes_all(fetched, bucket, run_here, monkeypatch, lines):
    out = f"{bucket}/out"
    old = run_here(fetched, out)
    monkeypatch.setattr(KmerEmbedder, "revision", "next")
    lines.clear()
    new = run_here(fetched, out)
    assert lines == []  # nothing was there already
    assert new.embedder["revision"] == "next"
    assert not {shard.file for shard in old.shards} & {shard.file for shard in new.shards}
    assert sorted(get_content(out)) == ["manifest.json", "progress.json", *sorted(shard.file for shard in new.shards)]


def test_embed_reads_on_s3_interrupted_run_resumes(fetched, bucket, run_here, monkeypatch, lines):
    monkeypatch.setattr(job, "_S3_PAUSE_S", 0)
    out, made, make_shard = f"{bucket}/out", [], ShardEmbedder.make_shard

    def make_two(self, index):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(index)
        return make_shard(self, index)

    monkeypatch.setattr(ShardEmbedder, "make_shard", make_two)
    with pytest.raises(KeyboardInterrupt):
        run_here(fetched, out)
    assert "manifest.json" not in locations.list_sizes(out)
    monkeypatch.setattr(ShardEmbedder, "make_shard", make_shard)
    lines.clear()
    run_here(fetched, out)
    assert lines == ["2 of 5 shards are there already"]
    run_here(fetched, f"{bucket}/whole")
    assert get_shards(out) == get_shards(f"{bucket}/whole")


def test_embed_reads_on_s3_leaves_no_upload_of_an_actor_that_died_and_was_replaced(
    fetched, bucket, run_here, monkeypatch, s3_server
):
    out, make_shard = f"{bucket}/out", ShardEmbedder.make_shard
    name, client = bucket.removeprefix("s3://"), s3_server.make_client()

    def die_and_make(self, index: int):  # what a process that is killed in an upload leaves behind
        client.create_multipart_upload(Bucket=name, Key=f"out/shard-{index:05d}.parquet")
        return make_shard(self, index)

    monkeypatch.setattr(ShardEmbedder, "make_shard", die_and_make)
    manifest = run_here(fetched, out)
    assert len(manifest.shards) > 1
    assert not client.list_multipart_uploads(Bucket=name).get("Uploads")
    assert len(get_shards(out)) == len(manifest.shards)


def test_embed_reads_object_that_changed_since_fetch_is_refused(fetched, bucket, run_here):
    run_here(fetched, f"{bucket}/out")
    actor = ShardEmbedder(fetched, f"{bucket}/out", {"k": 4})
    data = locations.read_bytes(f"{bucket}/in/2.fq")
    locations.write_bytes(f"{bucket}/in/2.fq", data.replace(b"A", b"C", 1))
    with pytest.raises(InputError, match="is not the file that `fetch` looked at") as caught:
        run_here(fetched, f"{bucket}/other")
    assert caught.value.path == f"{bucket}/in/2.fq"
    # An actor that is at work meanwhile refuses it too.
    with pytest.raises(InputError, match=r"is not the file that `fetch` looked at.*ETag") as caught:
        actor.make_shard(1)
    assert caught.value.remedy == "run `fetch` again"


def test_embed_reads_store_that_goes_away_is_not_told_as_changed_reads(fetched, bucket, run_here, monkeypatch):
    run_here(fetched, f"{bucket}/out")
    actor = ShardEmbedder(fetched, f"{bucket}/out", {"k": 4})
    monkeypatch.setenv("READCLADE_S3_PATIENCE_S", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="cannot be reached"):
        actor.make_shard(1)


@pytest.mark.parametrize(
    ("identity", "prefix", "message"),
    [
        ("reader", "{}/out", "may not be written with these credentials"),
        ("stranger", "{}/out", "refuses the credentials"),
        ("admin", "{}-missing/out", "there is no bucket"),
    ],
)
def test_embed_fragments_says_what_is_wrong_with_the_store(
    fetched, bucket, s3_server, repository, tmp_path, identity, prefix, message
):
    """The script itself, as its rule runs it: one clear message, no traceback, no manifest."""
    command = [sys.executable, repository / "scripts/embed_fragments.py", "--reads", "reads.json", "--out", "out/pairs"]
    environment = os.environ | s3_server.get_environment(identity)
    environment |= {"PYTHONPATH": str(repository / "src"), "READCLADE_S3_PATIENCE_S": "2"}
    done = subprocess.run(
        [*command, "--store", prefix.format(bucket)],
        cwd=tmp_path / "local/reads",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "remedy: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "-secret" not in done.stderr
    assert not (tmp_path / "local/reads/out/pairs/manifest.json").exists()


@contextlib.contextmanager
def mount_disk(folder, size):
    """Make a folder on a file system of its own, of a size such as 1m, for as long as a test wants it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    try:
        yield folder
    finally:
        # Lazily: a server that was killed may not have let go of its files yet.
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 1 MiB."""
    with mount_disk(tmp_path / "small", "1m") as folder:
        yield folder


def test_embed_reads_full_disk_of_a_node_leaves_nothing_half(fetched, bucket, run_here, small_disk, monkeypatch):
    """The shard is made on the node's disk before it goes to S3."""
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 8192))
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(StorageError, match="No space left on device") as caught:
        run_here(fetched, f"{bucket}/out")
    assert caught.value.path.startswith(f"{small_disk}/readclade-")
    assert list(locations.list_sizes(f"{bucket}/out")) == ["progress.json"]
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_embed_reads_full_local_disk_leaves_nothing_half(fetched, run_here, small_disk, tmp_path):
    out = small_disk / "out"
    out.mkdir()
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 32768))
    with pytest.raises(StorageError, match="No space left on device") as caught:
        run_here(tmp_path / "local/reads/reads.json", out)
    assert caught.value.path == str(out / "shard-00000.parquet")
    assert [path.name for path in out.iterdir()] == ["progress.json"]
    (small_disk / "ballast").unlink()
    run_here(tmp_path / "local/reads/reads.json", out)
    assert len(list(out.glob("*.parquet"))) == SHARDS


def test_embed_fragments_names_the_file_that_fills_the_disk(fetched, small_disk, repository, ray_address, tmp_path):
    """The script itself, as its rule runs it: the error of an actor's disk reaches the person without a traceback."""
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 32768))
    script, out = repository / "scripts/embed_fragments.py", small_disk / "out"
    done = subprocess.run(
        [sys.executable, script, "--actors", "2", "--address", ray_address, "--reads", "reads.json", "--out", out],
        cwd=tmp_path / "local/reads",
        env=os.environ | {"PYTHONPATH": str(repository / "src"), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    # On a busy machine Ray may tell of a worker that it aborted, too.
    error = done.stderr[done.stderr.rindex("\nerror: ") + 1 :]
    assert error.startswith(f"error: {small_disk}/out/shard-0000")
    assert "No space left on device" in error
    assert "remedy: check the space" in error
    assert "Traceback" not in done.stderr
    # What an actor that was stopped meanwhile leaves has a temporary name; the next run removes it.
    assert list(locations.list_sizes(out)) == ["progress.json"]


@pytest.fixture
def full_server(tmp_path, monkeypatch):
    """Return an S3 server of its own, whose disk of 24 MiB has almost no space left, and the ballast that fills it."""
    with mount_disk(tmp_path / "server", "24m") as folder:
        server = S3Server(folder)
        try:
            server.lead_here(monkeypatch, 3)
            server.make_client().create_bucket(Bucket="full")
            yield server, folder / "ballast"
        finally:
            server.kill()


def test_upload_to_a_full_server_leaves_no_object_and_says_what_to_do(full_server, tmp_path):
    _server, ballast = full_server
    locations.write_bytes("s3://full/first", bytes(1000))
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    (tmp_path / "shard").write_bytes(os.urandom(6 << 20))
    with pytest.raises(StorageError) as caught:
        locations.upload_file(tmp_path / "shard", "s3://full/shard")
    assert caught.value.path == "s3://full/shard"
    assert "space left" in caught.value.remedy
    ballast.unlink()
    assert locations.find("s3://full/shard") is None
    assert locations.read_bytes("s3://full/first") == bytes(1000)
    locations.upload_file(tmp_path / "shard", "s3://full/shard")
    assert locations.get_sha256("s3://full/shard") == locations.get_sha256(tmp_path / "shard")
