"""Phase 1: embed a sample's planned shards on long-lived Ray actors, exactly once.

The unit of work is a shard: an actor reads its range of the FASTQ files, embeds it and writes one Parquet file under a
name that its number decides. Only numbers and checksums travel through Ray, so that an actor, a task or the driver can
die at any time: what `progress.json` holds is kept, the rest is made again with the same bytes. The reads and the
shards lie on disk or on S3; docs/exactly-once.md says what holds where.
"""

import json
import logging
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray

from readclade.embedders.projection import Projection, fit_projection
from readclade.embedders.protocol import Embedder, get_embedder
from readclade.embedding.metrics import ActorMetrics, Usage, from_row, list_lines, to_row, write_figures
from readclade.embedding.ray_session import run_tasks, running_ray
from readclade.errors import InputError, StorageError
from readclade.prefetch import map_ahead, read_ahead
from readclade.reads.batch import Batch
from readclade.reads.fragments import read_batches
from readclade.reads.plan import ReadPlan, check_lane, load_reads
from readclade.shards import store
from readclade.shards.identity import get_edition, get_fingerprint, get_shard_file, is_stale
from readclade.shards.manifest import Manifest, Shard
from readclade.shards.parquet import write_shard
from readclade.storage import locations

_log = logging.getLogger(__name__)

_PROGRESS = "progress.json"
_MANIFEST = "manifest.json"
# On S3 every state of progress.json is a request: those of shards that finish at once are told together. A driver that
# dies in between makes these shards again, with the same bytes.
_S3_PAUSE_S = 2.0


def fit_first_fragments(plan: ReadPlan, folder: str, embedder: Embedder, d: int) -> Projection:
    """Fit the projection on the sample's first fragments (as many as the embedder says, of its first shard)."""
    vectors = []
    count = 0
    for batch in read_batches(plan, 0, folder):
        take = min(len(batch.names), embedder.fit_fragments - count)
        vectors.append(embedder.embed(batch.sequences[:take], None if batch.mates is None else batch.mates[:take]))
        count += take
        if count == embedder.fit_fragments:
            break
    return fit_projection(np.concatenate(vectors), d, embedder.is_composition)


class ShardEmbedder:
    """The Ray Data actor: loads the embedder once, then makes one shard after another."""

    def __init__(self, reads_path: str, out: str, parameters: dict):
        self._folder = locations.get_folder(reads_path)
        self._plan = load_reads(reads_path)
        self._out = out
        # Read from the file: Ray restarts an actor safely only with small arguments.
        progress = _read_progress(out)
        described = progress.embedder
        self._edition = get_edition(progress)
        self._embedder = get_embedder(described["name"], parameters)
        self._projection = Projection.from_json(described["projection"])
        if self._embedder.revision != described["revision"]:
            raise InputError(
                f"holds shards by revision {described['revision']} of {described['name']}, but an actor finds"
                f" {self._embedder.revision}: vectors of different models cannot be compared",
                path=out,
                remedy="give every actor the same model, and do not change it while `embed` runs",
            )
        self._metrics = ActorMetrics(self._plan.sample, self._embedder)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        """Make the shards whose numbers are in batch["shard"]; return them as columns.

        Raises:
            StorageError: a disk is full or may not be written; Ray loses the file that an OSError names.
        """
        shards, usages = [], []
        for index in batch["shard"]:
            try:
                shards.append(self.make_shard(int(index)))
            except OSError as error:
                raise StorageError(
                    error.strerror or str(error),
                    path=error.filename,
                    remedy="check the space and the permissions there; TMPDIR moves what is made before it goes to S3",
                ) from error
            usages.append(to_row(self._metrics.finish(shards[-1])))
        return {"shard": list(batch["shard"]), "usage": usages} | {
            field: [getattr(shard, field) for shard in shards] for field in Shard.__dataclass_fields__
        }

    def make_shard(self, index: int) -> Shard:
        """Read, embed and write one shard."""

        def embed(batch: Batch) -> tuple[Batch, np.ndarray]:
            with self._metrics.measure(batch):
                return batch, self._embedder.embed(batch.sequences, batch.mates)

        def write(path: Path) -> Shard:
            batches = read_batches(self._plan, index, self._folder)
            if self._embedder.threads:  # it waits neither for the parser nor for the writer
                embedded = map_ahead(embed, read_ahead(batches), self._embedder.threads)
            else:
                embedded = map(embed, batches)
            projected = ((batch, self._projection.apply(vectors)) for batch, vectors in embedded)
            return write_shard(path, projected, self._projection.d)

        name = get_shard_file(index, self._out, self._edition)
        if not locations.is_s3(self._out):
            return write(Path(self._out) / name)
        with tempfile.TemporaryDirectory(prefix="readclade-") as folder:
            shard = write(Path(folder) / name)
            locations.upload_file(Path(folder) / name, locations.join(self._out, name), shard.sha256)
        return shard


def embed_reads(
    reads_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    embedder_name: str,
    parameters: dict,
    d: int,
    actors: int,
    address: str | None = None,
    gpus: float = 0,
    metrics: str | os.PathLike[str] | None = None,
) -> Manifest:
    """Write the shards of one sample and their manifest into `out`.

    Shards that are there whole, made from the same reads by the same embedder, are kept.

    Args:
        reads_path: the sample's `reads.json`, with `index/` beside it: a path, or s3://bucket/key.
        out: folder of the shards: a path that every actor sees, or s3://bucket/prefix.
        d: most values an embedding may have.
        actors: number of long-lived actors, one CPU each.
        address: a running Ray cluster, or None for one of our own on this machine.
        gpus: share of a GPU that each actor takes; without any, an actor sees none.
        metrics: file for the figures of this run, empty where it makes no shard.

    Raises:
        InputError: the reads changed since `fetch`.
        StorageError: S3 refuses or cannot be reached; what was done is kept.
    """
    reads_path, out = str(reads_path), str(out).rstrip("/")
    if metrics is not None:
        write_figures({}, metrics)
    plan = load_reads(reads_path)
    embedder = get_embedder(embedder_name, parameters)
    locations.prepare_folder(out)
    fingerprint = get_fingerprint(plan, [embedder.name, embedder.revision, embedder.parameters], d)
    done = _load_progress(out, fingerprint)
    if done is not None and done.shards:
        _log.info(f"{len(done.shards)} of {len(plan.shards)} shards are there already")
    if done is None or len(done.shards) < len(plan.shards):
        with running_ray(actors, address):
            # Side by side, and the fit where the actors will be: they may have a GPU that this process lacks.
            checks = [(check_lane, (lane,), 0) for lane in plan.lanes]
            fit = [] if done else [(_fit_projection, (reads_path, embedder_name, parameters, d), gpus)]
            results = run_tasks(checks + fit)
            if done is None:
                description = {
                    "name": embedder.name,
                    "revision": embedder.revision,
                    "parameters": embedder.parameters,
                    "projection": results[-1].to_json(),
                }
                done = Manifest(plan.sample, plan.platform, description, results[-1].d, fingerprint, ())
            done = _embed_missing(done, reads_path, out, plan, parameters, actors, gpus, metrics)
        locations.prepare_folder(out)  # Ray has replaced actors that died: what they had begun to write is still there
    _write(done, out, _MANIFEST)
    return done


def _fit_projection(reads_path: str, embedder_name: str, parameters: dict, d: int) -> Projection:
    embedder = get_embedder(embedder_name, parameters)
    return fit_first_fragments(load_reads(reads_path), locations.get_folder(reads_path), embedder, d)


def _embed_missing(done: Manifest, reads_path, out, plan: ReadPlan, parameters, actors, gpus, metrics) -> Manifest:
    """Make the shards that a manifest lacks; return the whole one."""
    edition = get_edition(done)
    if not done.shards:
        _remove_stale(out, edition)
    files = [get_shard_file(index, out, edition) for index in range(len(plan.shards))]
    shards = {shard.file: shard for shard in done.shards}
    missing = [index for index, file in enumerate(files) if file not in shards]
    locations.delete(locations.join(out, _MANIFEST))  # where it stands, all shards stand
    _write(done, out, _PROGRESS)
    told = time.monotonic()
    for shard in _run_actors(reads_path, out, parameters, missing, actors, plan, gpus, metrics):
        shards[shard.file] = shard
        done = replace(done, shards=tuple(shards[file] for file in sorted(shards)))
        if not locations.is_s3(out) or time.monotonic() - told > _S3_PAUSE_S:
            _write(done, out, _PROGRESS)
            told = time.monotonic()
    _write(done, out, _PROGRESS)
    return done


def _write(manifest: Manifest, out: str, name: str) -> None:
    locations.write_bytes(locations.join(out, name), manifest.to_json().encode())


def _remove_stale(out: str, edition: str) -> None:
    """Remove the manifest and the shards that an earlier run made from other reads or by another embedder."""
    names = [name for name in locations.list_sizes(out) if is_stale(name, out, edition)]
    if names:
        locations.delete(locations.join(out, _MANIFEST))
    for name in names:
        locations.delete(locations.join(out, name))


def _read_progress(out: str) -> Manifest:
    progress = json.loads(locations.read_bytes(locations.join(out, _PROGRESS)))
    shards = tuple(Shard(**shard) for shard in progress.pop("shards"))
    return Manifest(**progress, shards=shards)


def _load_progress(out: str, fingerprint: str) -> Manifest | None:
    """Return what an earlier run left whole, or None where there is nothing that fits."""
    if locations.find(locations.join(out, _PROGRESS)) is None:
        return None
    try:
        manifest = _read_progress(out)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if manifest.fingerprint != fingerprint:
        return None
    return replace(manifest, shards=tuple(store.list_intact(manifest, out)))


def _run_actors(reads_path, out, parameters, missing, actors, plan, gpus, metrics):
    """Yield the missing shards as the actors finish them."""
    _log.info(f"{len(missing)} shards to embed")
    started = time.monotonic()
    total = sum(plan.shards[index].bases for index in missing)
    results = ray.data.from_items(
        [{"shard": index} for index in missing], override_num_blocks=len(missing)
    ).map_batches(
        ShardEmbedder,
        fn_constructor_args=(reads_path, out, parameters),
        # One at a time: a shard that waits at an actor cannot go to another that has nothing to do.
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(missing)), max_tasks_in_flight_per_actor=1),
        batch_size=1,
        num_cpus=1,
        num_gpus=gpus or None,
    )
    bases = 0
    usage = Usage()
    for finished, row in enumerate(results.iter_rows(), 1):
        shard = Shard(**{field: row[field] for field in Shard.__dataclass_fields__})
        usage.add(from_row(row["usage"]))
        bases += shard.bases
        seconds = time.monotonic() - started
        left = seconds * (total - bases) / max(bases, 1)
        _log.info(
            f"shard {finished} of {len(missing)}: {bases / 1e6:,.0f} of {total / 1e6:,.0f} Mb,"
            f" {bases / seconds / 1e6:.1f} Mb a second, {left:.0f} s left"
        )
        yield shard
    figures = usage.summarise(time.monotonic() - started)
    for line in list_lines(figures):
        _log.info(line)
    if metrics is not None:
        write_figures(figures, metrics)
