"""Embed the reads of one sample on Ray actors and write Parquet shards with their manifest.

Example, from the repository root, after fetch_reads.py:
    PYTHONPATH=src .venv/bin/python scripts/embed_fragments.py --reads reads/pairs/reads.json --out shards/pairs

A second run embeds only what is missing. Without --address a Ray of its own runs on this machine. --reads and --out
may be s3://bucket/key and s3://bucket/prefix. With --store s3://bucket/prefix the shards go there, below the sample's
name, and --out gets a manifest that says so.
"""

from dataclasses import replace
from pathlib import Path

from readclade.cli import make_parser, make_reporter, run
from readclade.embedding import embed_reads
from readclade.options import add_embedder_options, get_embedder_parameters
from readclade.storage import is_s3, join, write_bytes


def main() -> None:
    """Read the arguments and embed."""
    parser = make_parser(__doc__)
    parser.add_argument("--reads", required=True, help="reads.json of the sample: a path, or s3://bucket/key")
    parser.add_argument("--out", required=True, help="folder of the shards: a path, or s3://bucket/prefix")
    parser.add_argument("--store", default="local", help="s3://bucket/prefix for the shards (default: --out)")
    add_embedder_options(parser)
    parser.add_argument("--d", type=int, default=32, help="most values of an embedding (default: %(default)s)")
    parser.add_argument("--actors", type=int, default=1, help="actors, one CPU each (default: %(default)s)")
    parser.add_argument("--actor-gpus", type=float, default=0, help="GPUs of each actor (default: %(default)s)")
    parser.add_argument("--address", default="local", help="address of a running Ray cluster (default: one of our own)")
    arguments = parser.parse_args()
    if arguments.d < 1 or arguments.actors < 1:
        parser.error("--d and --actors must be at least 1")
    if arguments.actor_gpus < 0:
        parser.error("--actor-gpus must be at least 0")
    if arguments.store != "local" and not is_s3(arguments.store):
        parser.error("--store must be 'local' or s3://bucket/prefix")
    # An actor works in another folder: it must find its files from there.
    reads, out = (path if is_s3(path) else str(Path(path).absolute()) for path in (arguments.reads, arguments.out))
    location = out if arguments.store == "local" else join(arguments.store, Path(out).name)
    report = make_reporter(f"embed {Path(out).name}")
    manifest = embed_reads(
        reads,
        location,
        arguments.embedder,
        get_embedder_parameters(arguments),
        arguments.d,
        arguments.actors,
        None if arguments.address == "local" else arguments.address,
        report,
        arguments.actor_gpus,
    )
    if location != out:
        write_bytes(join(out, "manifest.json"), replace(manifest, location=location).to_json().encode())
    size = sum(shard.bytes for shard in manifest.shards)
    report(f"{manifest.fragments:,} fragments in {len(manifest.shards)} shards, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
