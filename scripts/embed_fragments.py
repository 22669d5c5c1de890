"""Embed the reads of one sample on Ray actors and write Parquet shards with their manifest.

Example, from the repository root, after fetch_reads.py:
    PYTHONPATH=src .venv/bin/python scripts/embed_fragments.py --reads reads/pairs/reads.json --out shards/pairs

A second run embeds only what is missing. Without --address a Ray of its own runs on this machine.
"""

from pathlib import Path

from readclade.cli import make_parser, make_reporter, run
from readclade.embedding import embed_reads
from readclade.options import add_embedder_options, get_embedder_parameters


def main() -> None:
    """Read the arguments and embed."""
    parser = make_parser(__doc__)
    parser.add_argument("--reads", required=True, type=Path, help="reads.json of the sample")
    parser.add_argument("--out", required=True, type=Path, help="folder of the shards")
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
    report = make_reporter(f"embed {arguments.out.name}")
    manifest = embed_reads(
        arguments.reads.absolute(),
        arguments.out.absolute(),
        arguments.embedder,
        get_embedder_parameters(arguments),
        arguments.d,
        arguments.actors,
        None if arguments.address == "local" else arguments.address,
        report,
        arguments.actor_gpus,
    )
    size = sum(shard.bytes for shard in manifest.shards)
    report(f"{manifest.fragments:,} fragments in {len(manifest.shards)} shards, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
