"""The megabytes that jobs ask for; each figure was measured."""

import os
from collections.abc import Iterable
from pathlib import Path

from readclade.shards.manifest import read_manifest


def get_clean_memory(genomes: Iterable[str]) -> int:
    """Return the memory of minimap2's index of the genomes to remove, about 5 bytes a base, and of the programs."""
    size = sum(os.path.getsize(path) * (4 if path.endswith(".gz") else 1) for path in genomes)
    return 2000 + 5 * size // 10**6


def get_embed_memory(has_network: bool, actors: int) -> int:
    """Return the memory of Ray's own processes and of the batches of reads of each actor.

    With a network, the driver and each actor load its weights (1.1 GB at the peak, measured), and an actor holds the
    vectors (150 MB) of up to three batches of 8 Mb.
    """
    return 3000 + 2000 * actors if has_network else 2000 + 600 * actors


def get_cluster_memory(staged: str, nodes: int, ranks: int, rank_gb: float, attempt: int) -> int:
    """Return what the ranks of one node take together: reads with all that links these, and programs.

    Linking takes up to 12 bytes a base, and keeps to `rank_gb`, but for what is always held: 1.5 bytes a base of long
    reads, 5 of pairs.
    A launcher such as Slurm counts memory by the node. A second attempt gets more.

    Args:
        staged: folder of the staged shards.
        ranks: on each node.
        rank_gb: what a rank is to stay within.

    Raises:
        FileNotFoundError: nothing is staged yet; Snakemake takes this for "to be determined".
    """
    os.stat(staged)
    bases_mb = read_manifest(Path(staged) / "manifest.json").bases // 10**6 // nodes
    linking_mb = max(min(12 * bases_mb, int(1000 * rank_gb * ranks)), 5 * bases_mb)
    return (linking_mb + 600 * ranks) * attempt
