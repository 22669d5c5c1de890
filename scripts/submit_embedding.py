"""Embed the reads of one sample on a remote Ray cluster: submit the job, follow its log, pass on its exit code.

Example, from the repository root, after fetch_reads.py, with a Ray head on this machine (ray start --head):
    PYTHONPATH=src .venv/bin/python scripts/submit_embedding.py --address http://127.0.0.1:8265 \\
        --reads reads/pairs/reads.json --out shards/pairs

The options are those of embed_fragments.py, which is what the job runs. The cluster must see the FASTQ files, and
--out too, under the same paths; with --store s3://bucket/prefix the shards go there instead. Ctrl-C stops the job.
Where a job for the same shards runs already, this follows it instead of submitting another. See docs/remote-ray.md.
"""

import sys

from readclade.cli import make_parser, run, start_log
from readclade.embedders.options import (
    add_embedding_options,
    get_embedder_parameters,
    get_embedding_words,
    parse_embedding_options,
)
from readclade.embedding.remote_files import write_pointer
from readclade.embedding.submission import Request, embed_remotely
from readclade.shards.manifest import read_manifest
from readclade.storage.locations import join


def main() -> None:
    """Read the arguments, submit and wait."""
    parser = make_parser(__doc__)
    add_embedding_options(parser)
    parser.add_argument("--address", required=True, help="the cluster's job server, such as http://127.0.0.1:8265")
    parser.add_argument("--python", help="Python on the cluster, by its full path (default: what its workers run)")
    parser.add_argument(
        "--patience", type=float, default=300, help="seconds without an answer to give up after (default: %(default)s)"
    )
    arguments = parse_embedding_options(parser)
    if arguments.python is not None and not arguments.python.startswith("/"):
        parser.error("--python must be a full path")
    request = Request(
        arguments.reads,
        arguments.location,
        arguments.embedder,
        get_embedder_parameters(arguments),
        arguments.d,
        arguments.actor_gpus,
        get_embedding_words(arguments),
    )
    start_log(f"submit {arguments.name}")
    code = embed_remotely(request, arguments.address, arguments.python, arguments.patience, arguments.metrics)
    if code == 0:
        write_pointer(read_manifest(join(arguments.location, "manifest.json")), arguments.location, arguments.out)
    sys.exit(code)


if __name__ == "__main__":
    run(main)
