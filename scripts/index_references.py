"""Cut the reference genomes into tiles and embed them, once for all samples.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python scripts/index_references.py --references demo/references.tsv --out index.parquet

The vectors are not projected: labelling puts them through the projection of each sample.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.embedders.options import add_embedder_options, get_embedder_parameters
from readclade.labelling.references import index_references


def main() -> None:
    """Read the arguments and make the index."""
    parser = make_parser(__doc__)
    parser.add_argument("--references", required=True, type=Path, help="table of reference genomes")
    add_embedder_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--threads", type=int, default=1, help="genomes in work at a time (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.threads < 1:
        parser.error("--threads must be at least 1")
    log = start_log("index references")
    parameters = get_embedder_parameters(arguments)
    index = index_references(arguments.references, arguments.embedder, parameters, arguments.out, arguments.threads)
    tiles = sum(reference.tiles for reference in index.references)
    log.info(f"{len(index.references):,} references, {tiles:,} tiles, {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
