"""What embedding has done, and how fast: on Ray's Prometheus endpoint while it runs, and in a table at its end.

An actor counts; its figures travel with each shard to the driver, which adds them up. From a driver on another machine
the table comes back as two lines of its log.
"""

import contextlib
import os
import re
import subprocess
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ray.util.metrics import Counter, Gauge

from readclade.reads.batch import Batch
from readclade.shards.manifest import Shard
from readclade.storage.files import write_atomically

_PREFIX = "metrics: "
_LABELS = ("sample", "embedder")
_REFRESH_S = 0.5  # a gauge: Ray forgets one that is not set for two of its reports, of a second each or more


@dataclass
class Usage:
    """What making one or several shards took.

    Attributes:
        seconds: from the end of the actor's previous shard; of several actors, their sum.
        embedder_seconds: of these, in the embedder; the others go to reading, writing and waiting.
        gpu_samples: how often the utilization of the actor's GPU was read: each second, 0 without one.
        gpu_busy: sum of what was read, each between 0 and 1.
    """

    shards: int = 0
    reads: int = 0
    bases: int = 0
    bytes: int = 0
    tokens: int = 0
    seconds: float = 0.0
    embedder_seconds: float = 0.0
    gpu_samples: int = 0
    gpu_busy: float = 0.0

    def add(self, other: "Usage") -> None:
        """Add another's figures."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def gpu_share(self) -> float | None:
        """Share of the time that the GPU was busy, or None where there is none."""
        return self.gpu_busy / self.gpu_samples if self.gpu_samples else None

    def summarise(self, seconds: float) -> dict[str, float | str]:
        """Return the figures by name, for a run of so many seconds."""
        rates = {f"{name}_per_s": getattr(self, name) / max(seconds, 1e-9) for name in ("reads", "bases", "tokens")}
        return {
            "embedding_s": round(seconds, 1),
            **{name: getattr(self, name) for name in ("shards", "reads", "bases", "bytes", "tokens")},
            **{name: round(rate) for name, rate in rates.items()},
            "embedder_busy": round(self.embedder_seconds / max(self.seconds, 1e-9), 3),
            "gpu_busy": "NA" if self.gpu_share is None else round(self.gpu_share, 3),
        }


def list_lines(figures: dict[str, float | str]) -> list[str]:
    """Return figures as lines of a log."""
    return [_PREFIX + "\t".join(map(str, line)) for line in (figures.keys(), figures.values())]


def find_figures(log: str) -> dict[str, str]:
    """Return the figures whose lines stand in a log; none where it has no such lines."""
    lines = re.findall(rf"^.*\] {_PREFIX}(.*)$", log, re.MULTILINE)
    return dict(zip(*(line.split("\t") for line in lines[-2:]), strict=False)) if len(lines) > 1 else {}


def write_figures(figures: Mapping[str, float | str], path: str | os.PathLike[str]) -> None:
    """Write figures as a table of one row; an empty file where there are none."""
    rows: list[Iterable[float | str]] = [figures.keys(), figures.values()] if figures else []
    write_atomically(Path(path), "".join("\t".join(map(str, row)) + "\n" for row in rows))


class ActorMetrics:
    """Count what one actor does.

    Args:
        sample: its name, a label of each metric.
        embedder: has a `name`, and `tokens` where it counts them.
    """

    def __init__(self, sample: str, embedder):
        labels = {"sample": sample, "embedder": embedder.name}
        self._embedder = embedder
        self._usage = Usage()
        self._lock = threading.Lock()
        self._busy, self._busy_since = 0, 0.0  # threads in the embedder, and since when there are any
        self._tokens = getattr(embedder, "tokens", 0)
        self._gpu = GpuSampler()
        self._last = time.monotonic()
        self._latest: dict[str, float] = {}  # what the gauges show
        self._counters = {
            name: _make(Counter, name, f"{name} embedded", labels) for name in ("shards", "reads", "bases", "tokens")
        } | {"bytes": _make(Counter, "bytes", "bytes of shards written", labels)}
        self._gauges = {
            name: _make(Gauge, name, text, labels)
            for name, text in {
                "reads_per_second": "reads a second of one actor over its latest shard",
                "tokens_per_second": "tokens a second of one actor over its latest shard",
                "embedder_busy_share": "share of the time of one actor in its embedder over its latest shard",
                "gpu_busy_share": "share of the time that the GPU of one actor was busy over its latest shard",
            }.items()
        }

    @contextlib.contextmanager
    def measure(self, batch: Batch) -> Iterator[None]:
        """Time the embedding of a batch, and count it; several threads may be at it."""
        with self._lock:
            self._busy += 1
            if self._busy == 1:
                self._busy_since = time.monotonic()
        try:
            yield
        finally:  # an actor whose embedder fails may go on with another shard
            with self._lock:
                self._busy -= 1
                if not self._busy:
                    self._usage.embedder_seconds += time.monotonic() - self._busy_since
        with self._lock:
            self._count("reads", len(batch.names) * (1 if batch.mates is None else 2))
            self._count("bases", batch.bases)

    def finish(self, shard: Shard) -> Usage:
        """Count a shard that is written; return what it took."""
        now = time.monotonic()
        tokens, self._tokens = self._tokens, getattr(self._embedder, "tokens", 0)
        self._count("tokens", self._tokens - tokens)
        usage, self._usage = self._usage, Usage()
        usage.shards, usage.bytes = 1, shard.bytes
        usage.seconds, self._last = max(now - self._last, 1e-9), now
        usage.gpu_samples, usage.gpu_busy = self._gpu.take()
        self._counters["shards"].inc()
        self._counters["bytes"].inc(shard.bytes)
        latest = {
            "reads_per_second": usage.reads / usage.seconds,
            "tokens_per_second": usage.tokens / usage.seconds,
            "embedder_busy_share": usage.embedder_seconds / usage.seconds,
        }
        if usage.gpu_share is not None:
            latest["gpu_busy_share"] = usage.gpu_share
        is_first, self._latest = not self._latest, latest
        self._set_gauges()
        if is_first:
            threading.Thread(target=_refresh, args=(weakref.ref(self),), daemon=True).start()
        return usage

    def _set_gauges(self) -> None:
        for name, value in self._latest.items():  # replaced whole, never changed
            self._gauges[name].set(value)

    def _count(self, name: str, amount: int) -> None:
        setattr(self._usage, name, getattr(self._usage, name) + amount)
        if amount:
            self._counters[name].inc(amount)


def _refresh(metrics: "weakref.ref[ActorMetrics]") -> None:
    """Set an actor's gauges again and again, as long as the actor is there: a shard may take minutes."""
    while (actor := metrics()) is not None:
        actor._set_gauges()
        del actor
        time.sleep(_REFRESH_S)


class GpuSampler:
    """Read each second how busy the first GPU is that this process may use, by nvidia-smi; nothing without one.

    Not by the time that calls into the network take: they return before the GPU is done.
    """

    def __init__(self):
        self._samples, self._busy, self._lock = 0, 0.0, threading.Lock()
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
        if device in ("", "-1", "NoDevFiles"):
            return
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop=1"]
        with contextlib.suppress(OSError):  # a container may lack it: then there is no such figure
            # It ends with us: its next line finds no reader.
            process = subprocess.Popen(
                ["nvidia-smi", f"--id={device}", *query], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, lines) -> None:
        for line in lines:
            with contextlib.suppress(ValueError), self._lock:  # "[N/A]" of a GPU that is divided
                self._busy += float(line) / 100
                self._samples += 1

    def take(self) -> tuple[int, float]:
        """Return the number of samples since the last call, and their sum."""
        with self._lock:
            taken = self._samples, self._busy
            self._samples, self._busy = 0, 0.0
        return taken


def to_row(usage: Usage) -> list[float]:
    """Return the figures as a list, for a column of what an actor sends to its driver."""
    return [float(value) for value in astuple(usage)]


def from_row(row) -> Usage:
    """Return what `to_row` was given."""
    return Usage(*(type(nothing)(value) for nothing, value in zip(astuple(Usage()), row, strict=True)))


def _make(kind, name: str, description: str, labels: dict[str, str]):
    metric = kind(f"readclade_{name}", description=description, tag_keys=_LABELS)
    metric.set_default_tags(labels)
    return metric
