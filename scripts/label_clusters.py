"""Name the clusters of one sample after their nearest reference genomes.

Example, from the repository root, after cluster_fragments.py and index_references.py:
    PYTHONPATH=src .venv/bin/python scripts/label_clusters.py --manifest shards/pairs/manifest.json \\
        --assignments results/pairs/cluster/assignments.parquet --clusters results/pairs/cluster/clusters.h5 \\
        --references index.parquet --out results/pairs

Writes taxa.tsv, binning.tsv and profile.tsv. A cluster that is like no reference is called unclassified.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.errors import ConfigError
from readclade.labelling.job import label_clusters


def main() -> None:
    """Read the arguments and name the clusters."""
    parser = make_parser(__doc__)
    parser.add_argument("--manifest", required=True, type=Path, help="manifest.json of the shards")
    parser.add_argument("--assignments", required=True, type=Path, help="assignments.parquet of the clusters")
    parser.add_argument("--clusters", required=True, type=Path, help="clusters.h5")
    parser.add_argument("--references", required=True, type=Path, help="index that index_references.py wrote")
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    parser.add_argument("--neighbours", type=int, default=5, help="votes for each unit (default: %(default)s)")
    parser.add_argument(
        "--support", type=float, default=0.5, help="share of the votes that a name needs (default: %(default)s)"
    )
    arguments = parser.parse_args()
    start_log(f"label {arguments.out.name}")
    if arguments.neighbours < 1 or not 0 < arguments.support <= 1:
        raise ConfigError(
            f"--neighbours {arguments.neighbours} --support {arguments.support} cannot be used",
            remedy="give at least 1 neighbour and a support above 0 and at most 1",
        )
    label_clusters(
        arguments.manifest,
        arguments.assignments,
        arguments.clusters,
        arguments.references,
        arguments.out,
        arguments.neighbours,
        arguments.support,
    )


if __name__ == "__main__":
    run(main)
