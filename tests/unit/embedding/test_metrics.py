"""What an actor counts, and how the figures of several add up; the endpoint itself is in tests/workflow."""

import os
import time
from types import SimpleNamespace

import pyarrow as pa
import pytest

from readclade.embedders.dnabert import DnabertEmbedder
from readclade.embedders.windows import load_tokenizer
from readclade.embedding.metrics import (
    ActorMetrics,
    GpuSampler,
    Usage,
    find_figures,
    from_row,
    list_lines,
    to_row,
    write_figures,
)
from readclade.shards.manifest import Shard
from tests.unit.embedders.test_protocol import write_model

SHARD = Shard("shard-00000.parquet", 40, 6000, 1234, "0" * 64, 0)


def test_actor_counts_reads_bases_bytes_and_the_tokens_of_both_strands(take_reads, tmp_path):
    model = write_model(tmp_path)
    reads = [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 40)]
    embedder = DnabertEmbedder("dnabert2", model, precision="float32")
    metrics = ActorMetrics("s", embedder)
    batch = SimpleNamespace(names=["x"] * 20, mates=pa.array(reads[20:]), bases=sum(map(len, reads)))
    with metrics.measure(batch):
        embedder.embed(pa.array(reads[:20]), batch.mates)
    usage = metrics.finish(SHARD)
    assert (usage.shards, usage.reads, usage.bases, usage.bytes) == (1, 40, batch.bases, 1234)
    tokenizer = load_tokenizer(f"{model}/tokenizer.json")
    one_strand = sum(len(tokenizer.encode(read).ids) for read in reads)
    assert one_strand * 1.8 < usage.tokens < one_strand * 2.2
    assert 0 < usage.embedder_seconds <= usage.seconds
    assert usage.gpu_share is None
    # The next shard begins with nothing.
    again = metrics.finish(SHARD)
    assert (again.reads, again.tokens, again.embedder_seconds) == (0, 0, 0)
    assert again.seconds < usage.seconds + 1


def test_actor_whose_embedder_failed_counts_on():
    metrics = ActorMetrics("s", SimpleNamespace(name="kmer"))
    batch = SimpleNamespace(names=["x"] * 3, mates=None, bases=9)
    with pytest.raises(MemoryError), metrics.measure(batch):
        raise MemoryError
    assert metrics.finish(SHARD).reads == 0
    with metrics.measure(batch):
        time.sleep(0.01)
    usage = metrics.finish(SHARD)
    assert (usage.reads, usage.bases) == (3, 9)
    assert 0.01 <= usage.embedder_seconds <= usage.seconds


def test_summarise_divides_by_the_time_of_all_and_shares_by_that_of_each():
    usage = Usage()
    for _ in range(2):  # two actors side by side for 10 s
        row = to_row(Usage(3, 400, 60_000, 1000, 900, 10.0, 5.0, 10, 7.5))
        usage.add(from_row(row))
    names, values = (line.removeprefix("metrics: ").split("\t") for line in list_lines(usage.summarise(10.0)))
    assert dict(zip(names, values, strict=True)) == {
        "embedding_s": "10.0",
        "shards": "6",
        "reads": "800",
        "bases": "120000",
        "bytes": "2000",
        "tokens": "1800",
        "reads_per_s": "80",
        "bases_per_s": "12000",
        "tokens_per_s": "180",
        "embedder_busy": "0.5",
        "gpu_busy": "0.75",
    }


def test_figures_come_through_a_log_into_a_table(tmp_path):
    """A job on a remote cluster leaves them in its log; what it writes there it writes here just so."""
    figures = Usage(3, 400, 60_000, 1000, 900, 10.0, 5.0, 10, 7.5).summarise(10.0)
    lines = [f"[embed pairs] {line}" for line in ["1 shards to embed", *list_lines(figures), "fingerprint 0"]]
    found = find_figures("\n".join(["\x1b[36mINFO] worker", *lines, ""]))
    write_figures(figures, tmp_path / "here.tsv")
    write_figures(found, tmp_path / "there.tsv")
    assert (tmp_path / "here.tsv").read_bytes() == (tmp_path / "there.tsv").read_bytes()
    names, values = (line.split("\t") for line in (tmp_path / "here.tsv").read_text().splitlines())
    assert dict(zip(names, values, strict=True)) == found == {name: str(value) for name, value in figures.items()}


def test_figures_of_a_run_that_made_nothing_are_an_empty_table(tmp_path):
    write_figures(find_figures("[embed pairs] 5 of 5 shards are there already\n"), tmp_path / "metrics.tsv")
    assert (tmp_path / "metrics.tsv").read_bytes() == b""


@pytest.mark.parametrize(("lines", "share"), [("50\n100\n", 0.75), ("[N/A]\n", None)])
def test_gpu_sampler_reads_what_nvidia_smi_prints(tmp_path, monkeypatch, lines, share):
    """A program that prints what nvidia-smi does: the machines that test this have no GPU."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nprintf "{lines}"\nexec sleep 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    sampler, usage = GpuSampler(), Usage()
    deadline = time.monotonic() + 60
    while usage.gpu_samples < (0 if share is None else 2) and time.monotonic() < deadline:
        samples, busy = sampler.take()
        usage.add(Usage(gpu_samples=samples, gpu_busy=busy))
        time.sleep(0.05)
    assert usage.gpu_share == share
    if share is not None:
        assert (tmp_path / "asked").read_text().startswith("--id=3 --query-gpu=utilization.gpu")


def test_gpu_sampler_without_a_gpu_has_no_figure(monkeypatch, tmp_path):
    for device in ("", "-1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", device)
        assert GpuSampler().take() == (0, 0.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert GpuSampler().take() == (0, 0.0)
