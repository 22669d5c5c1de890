"""Embed the reads of one sample and write shards and their manifest.

Example, from the repository root, after fetch_reads.py:
    PYTHONPATH=src .venv/bin/python scripts/embed_fragments.py --reads reads/pairs/reads.json --out shards/pairs

A second run embeds only what is missing. Without --address a Ray of its own runs on this machine. --reads and --out
may be s3://bucket/key and s3://bucket/prefix. With --store s3://bucket/prefix the shards go there, below the sample's
name, and --out gets a manifest that says so.
"""

from readclade.cli import make_parser, run, start_log
from readclade.embedders.options import add_embedding_options, get_embedder_parameters, parse_embedding_options
from readclade.embedding.job import embed_reads
from readclade.embedding.remote_files import check_folder, write_pointer


def main() -> None:
    """Read the arguments and embed."""
    parser = make_parser(__doc__)
    add_embedding_options(parser)
    parser.add_argument("--address", default="local", help="address of a running Ray cluster (default: one of our own)")
    parser.add_argument("--mark", help="file that submit_embedding.py left in --out, to see that this is its folder")
    arguments = parse_embedding_options(parser)
    if arguments.mark is not None:
        check_folder(arguments.location, arguments.mark)
    log = start_log(f"embed {arguments.name}")
    manifest = embed_reads(
        arguments.reads,
        arguments.location,
        arguments.embedder,
        get_embedder_parameters(arguments),
        arguments.d,
        arguments.actors,
        None if arguments.address == "local" else arguments.address,
        arguments.actor_gpus,
        arguments.metrics,
    )
    write_pointer(manifest, arguments.location, arguments.out)
    size = sum(shard.bytes for shard in manifest.shards)
    log.info(f"{manifest.fragments:,} fragments in {len(manifest.shards)} shards, {size / 1e6:.1f} MB")
    log.info(f"fingerprint {manifest.fingerprint}")  # submit_embedding.py knows its shards by it


if __name__ == "__main__":
    run(main)
