"""Phase 1: each shard once, whatever was interrupted, on real Ray actors."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import yaml

from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import Projection
from readclade.embedders.protocol import get_embedder
from readclade.embedding import job
from readclade.embedding.job import ShardEmbedder, embed_reads
from readclade.errors import ConfigError, InputError
from readclade.inputs.tables import Lane
from readclade.reads.summary import summarise_reads
from readclade.shards import identity
from readclade.shards.manifest import Manifest, read_manifest

SHARDS = 5


@pytest.fixture(scope="module")
def run(ray_address):
    """Return a function that embeds on Ray, which it joins as it would join a cluster's."""

    def embed(reads: Path, out: Path, actors: int = 1, k: int = 4, d: int = 32, metrics=None) -> Manifest:
        return embed_reads(reads, out, "kmer", {"k": k}, d, actors, ray_address, metrics=metrics)

    return embed


@pytest.fixture
def run_here(without_ray):
    """Return a function that embeds without Ray: for what happens around the actors."""

    def embed(reads: Path, out: Path, k: int = 4, d: int = 32) -> Manifest:
        return embed_reads(reads, out, "kmer", {"k": k}, d, 1, None)

    return embed


@pytest.fixture(scope="module")
def fetch(write_fastq, take_reads):
    """Return a function that writes pairs and fetches them; it returns the path of reads.json."""

    def fetch(folder: Path, count: int = 250, skip: int = 0) -> Path:
        fq1 = write_fastq(folder / "1.fq.gz", take_reads("pairs_1.fastq.gz", skip + count)[skip:], "gzip")
        fq2 = write_fastq(folder / "2.fq", take_reads("pairs_2.fastq.gz", skip + count)[skip:])
        summarise_reads("pairs", "illumina", [Lane(fq1, fq2)], folder / "reads", 15_000)
        return folder / "reads/reads.json"

    return fetch


@pytest.fixture
def reads(fetch, tmp_path) -> Path:
    return fetch(tmp_path)


@pytest.fixture(scope="module")
def whole(fetch, run, tmp_path_factory) -> Path:
    """Return the folder of shards that one actor made on Ray from the same pairs as `reads`."""
    folder = tmp_path_factory.mktemp("whole")
    run(fetch(folder), folder / "out")
    return folder / "out"


def get_content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def get_shard_times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


def damage(path: Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# ---- on Ray


def test_embed_reads_writes_the_contract(whole, repository, take_reads):
    out = whole
    manifest = read_manifest(out / "manifest.json")
    assert not ray.is_initialized()
    assert sorted(get_content(out)) == [
        "manifest.json",
        "progress.json",
        *(f"shard-{number:05d}.parquet" for number in range(SHARDS)),
    ]
    schema = yaml.safe_load((repository / "config/schemas/manifest.schema.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads((out / "manifest.json").read_text()))
    assert (manifest.sample, manifest.platform, manifest.d) == ("pairs", "illumina", 32)
    assert (manifest.fragments, manifest.bases) == (250, 250 * 300)
    assert {key: manifest.embedder[key] for key in ("name", "revision", "parameters")} == {
        "name": "kmer",
        "revision": get_embedder("kmer", {}).revision,
        "parameters": {"k": 4},
    }
    for shard in manifest.shards:
        assert shard.is_intact(out)
        assert shard.rows == pq.read_metadata(out / shard.file).num_rows
    table = pq.read_table([out / shard.file for shard in manifest.shards])
    assert table["fragment"].to_pylist() == list(range(250))
    assert table["sequence"].to_pylist() == [record[1] for record in take_reads("pairs_1.fastq.gz", 250)]
    assert table["mate"].to_pylist() == [record[1] for record in take_reads("pairs_2.fastq.gz", 250)]
    # The manifest's projection gives the embeddings of the shards.
    projection = Projection.from_json(manifest.embedder["projection"])
    sequences, mates = (table[name].combine_chunks() for name in ("sequence", "mate"))
    expected = projection.apply(get_embedder("kmer", {"k": 4}).embed(sequences, mates))
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), expected, rtol=2**-10, atol=2**-20)


def test_embed_reads_number_of_actors_does_not_change_a_byte(reads, whole, tmp_path, run):
    manifest = run(reads, tmp_path / "two", actors=2)
    assert manifest == read_manifest(whole / "manifest.json")
    assert get_content(tmp_path / "two") == get_content(whole)


def test_embed_reads_remakes_only_what_is_damaged_and_then_nothing(reads, whole, tmp_path, run, lines):
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    content, times = get_content(out), get_shard_times(out)
    (out / "shard-00001.parquet").unlink()
    damage(out / "shard-00003.parquet")
    lines.clear()
    run(reads, out, metrics=tmp_path / "metrics.tsv")
    assert lines[0] == "3 of 5 shards are there already"
    assert lines[2] == "2 shards to embed"
    table = [line.removeprefix("metrics: ") for line in lines if line.startswith("metrics: ")]
    assert (tmp_path / "metrics.tsv").read_text().splitlines() == table
    assert dict(zip(*(row.split("\t") for row in table), strict=True))["shards"] == "2"
    assert get_content(out) == content
    again = get_shard_times(out)
    assert {name for name in times if again[name] != times[name]} == {"shard-00001.parquet", "shard-00003.parquet"}
    # A third run has nothing to do, and does not even start Ray.
    lines.clear()
    run(reads, out, metrics=tmp_path / "metrics.tsv")
    assert (tmp_path / "metrics.tsv").read_text() == ""
    assert lines == ["5 of 5 shards are there already"]
    assert get_shard_times(out) == again


def test_embed_reads_error_in_an_actor_reaches_the_caller_as_it_is(reads, tmp_path, run):
    out = tmp_path / "out"
    second = tmp_path / "2.fq"
    second.write_bytes(second.read_bytes()[:50_000])  # its last shards are gone, the first is whole
    with pytest.raises(InputError, match="is not the file that `fetch` looked at") as caught:
        run(reads, out)
    assert type(caught.value) is InputError
    assert caught.value.path == str(second)
    assert caught.value.remedy == "run `fetch` again"
    assert not ray.is_initialized()
    assert not (out / "manifest.json").exists()
    assert not list(out.glob(".*"))


def test_embed_reads_sample_with_one_fragment(fetch, tmp_path, run):
    manifest = run(fetch(tmp_path, 1), tmp_path / "out", actors=2)
    assert manifest.fragments == 1
    table = pq.read_table(tmp_path / "out/shard-00000.parquet")
    assert table["name"].to_pylist() == ["pairs.000001"]
    assert np.isfinite(table["embedding"].to_pylist()).all()


# ---- around the actors


def test_embed_reads_without_ray_gives_the_same_bytes(reads, whole, tmp_path, run_here):
    run_here(reads, tmp_path / "out")
    assert get_content(tmp_path / "out") == get_content(whole)


def test_embed_reads_interrupted_run_resumes(reads, whole, tmp_path, run_here, monkeypatch, lines):
    out = tmp_path / "out"
    make_shard, made = ShardEmbedder.make_shard, []

    def make_two(self, index):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(index)
        return make_shard(self, index)

    monkeypatch.setattr(ShardEmbedder, "make_shard", make_two)
    with pytest.raises(KeyboardInterrupt):
        run_here(reads, out)
    assert sorted(get_content(out)) == ["progress.json", "shard-00000.parquet", "shard-00001.parquet"]
    times = get_shard_times(out)
    monkeypatch.setattr(ShardEmbedder, "make_shard", make_shard)
    lines.clear()
    run_here(reads, out)
    assert lines == ["2 of 5 shards are there already"]
    assert get_content(out) == get_content(whole)
    assert times.items() <= get_shard_times(out).items()


def test_embed_reads_shard_that_progress_does_not_know_is_made_again(reads, whole, tmp_path, run_here):
    """A driver can die between a shard and its line in progress.json, when out-of-order shards are there too."""
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    content = get_content(out)
    progress = json.loads((out / "progress.json").read_text())
    progress["shards"] = [progress["shards"][3], progress["shards"][1]]
    (out / "progress.json").write_text(json.dumps(progress))
    (out / "manifest.json").unlink()
    (out / "shard-00000.parquet").write_bytes(b"half")
    times = get_shard_times(out)
    run_here(reads, out)
    assert get_content(out) == content
    kept = {name for name, time in get_shard_times(out).items() if times[name] == time}
    assert kept == {"shard-00001.parquet", "shard-00003.parquet"}


def test_shard_embedder_with_another_model_is_refused(reads, tmp_path, run_here):
    """The model under a path can be exchanged between the driver's look and an actor's."""
    out = tmp_path / "out"
    run_here(reads, out)
    progress = json.loads((out / "progress.json").read_text())
    progress["embedder"]["revision"] = "0"
    (out / "progress.json").write_text(json.dumps(progress))
    with pytest.raises(InputError, match="revision 0 of kmer, but an actor finds 1: vectors of different") as caught:
        ShardEmbedder(str(reads), str(out), {"k": 4})
    assert "give every actor the same model" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"shards": [1]}', '{"shards": []}', '{"shards": [{}], "d": 1}'])
def test_embed_reads_unusable_progress_starts_afresh(reads, whole, tmp_path, run_here, text):
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    content = get_content(out)
    (out / "progress.json").write_text(text)
    run_here(reads, out)
    assert get_content(out) == content


@pytest.mark.parametrize(
    ("change", "shards"), [({"k": 5}, 5), ({"d": 8}, 5), ("reads", 2), ("code", 5), ("revision", 5)]
)
def test_embed_reads_change_remakes_all_and_removes_stale_shards(
    reads, fetch, tmp_path, run_here, monkeypatch, change, shards, lines
):
    out = tmp_path / "out"
    before = run_here(reads, out)
    times = get_shard_times(out)
    options = {}
    if change == "reads":
        reads = fetch(tmp_path, 100, skip=10)
    elif change == "code":
        monkeypatch.setattr(identity, "hash_file", lambda path: path.name)
    elif change == "revision":
        monkeypatch.setattr(KmerEmbedder, "revision", "next")
    else:
        options = change
    lines.clear()
    after = run_here(reads, out, **options)
    assert lines == []  # nothing was there already
    assert after.fingerprint != before.fingerprint
    assert after == read_manifest(out / "manifest.json")
    assert sorted(get_shard_times(out)) == [f"shard-{number:05d}.parquet" for number in range(shards)]
    assert not set(times.items()) & set(get_shard_times(out).items())
    fresh = run_here(reads, tmp_path / "fresh", **options)
    assert fresh == after


def test_embed_reads_no_old_manifest_stands_while_shards_are_made(reads, tmp_path, run_here, monkeypatch):
    out = tmp_path / "out"
    run_here(reads, out)

    def fail(self, index):
        raise InputError("no")

    monkeypatch.setattr(ShardEmbedder, "make_shard", fail)
    with pytest.raises(InputError, match="no"):
        run_here(reads, out, k=5)
    assert not (out / "manifest.json").exists()


def test_embed_reads_elsewhere_gives_the_same_bytes(fetch, tmp_path, run_here):
    """Neither the folder nor the time of a run stands in what it writes."""
    content = []
    for name in ("a", "b/c"):
        run_here(fetch(tmp_path / name), tmp_path / name / "out")
        content.append(get_content(tmp_path / name / "out"))
    assert content[0] == content[1]


def test_embed_reads_fragments_without_kmers_get_zeros(tmp_path, write_fastq, take_reads, run_here):
    records = [("empty", "", ""), *take_reads("long.fastq.gz", 20), ("unknown", "N" * 50, "!" * 50)]
    path = write_fastq(tmp_path / "reads.fq", records)
    summarise_reads("long", "ont", [Lane(path, None)], tmp_path / "reads", 1 << 30)
    manifest = run_here(tmp_path / "reads/reads.json", tmp_path / "out")
    embeddings = np.stack(pq.read_table(tmp_path / "out/shard-00000.parquet")["embedding"].to_numpy())
    assert manifest.fragments == 22
    assert (embeddings == 0).all(axis=1).nonzero()[0].tolist() == [0, 21]


@pytest.mark.parametrize("text", [None, "", "{"])
def test_embed_reads_without_usable_summary_is_refused(tmp_path, run_here, text):
    path = tmp_path / "reads.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match="cannot be read") as caught:
        run_here(path, tmp_path / "out")
    assert caught.value.path == str(path)
    assert caught.value.remedy == "run `fetch` for this sample"


def test_embed_reads_unknown_embedder_is_refused(reads, tmp_path):
    with pytest.raises(ConfigError, match="there is no embedder 'bert'"):
        embed_reads(reads, tmp_path / "out", "bert", {}, 32, 1)
    assert not (tmp_path / "out").exists()


def test_embed_reads_fits_where_the_actors_are(reads, whole, tmp_path, run, monkeypatch):
    """The process that asks may lie on a node without a GPU: it must not embed even the first fragments itself."""

    def fail(*_):
        raise AssertionError("embedded in the driver")

    monkeypatch.setattr(job, "fit_first_fragments", fail)  # here, not in Ray's processes
    out = tmp_path / "out"
    run(reads, out)
    assert get_content(out) == get_content(whole)


@pytest.mark.parametrize(
    ("files", "platform", "count"), [(("pairs_1", "pairs_2"), "illumina", 10_000), (("long",), "ont", 500)]
)
def test_embed_reads_shards_take_a_quarter_of_the_fastq(
    write_fastq, take_reads, tmp_path, run_here, files, platform, count
):
    paths = [write_fastq(tmp_path / f"{file}.fq", take_reads(f"{file}.fastq.gz", count)) for file in files]
    summarise_reads("sample", platform, [Lane(paths[0], *paths[1:] or [None])], tmp_path / "reads", 64_000_000)
    manifest = run_here(tmp_path / "reads/reads.json", tmp_path / "out")
    assert (manifest.fragments, manifest.d) == (count, 32)
    assert sum(shard.bytes for shard in manifest.shards) <= 0.25 * sum(Path(path).stat().st_size for path in paths)
