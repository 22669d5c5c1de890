"""The options that choose an embedder, for the scripts that take one."""

import argparse
from pathlib import Path
from typing import Any

from readclade.embedders.hub import HUB
from readclade.embedders.protocol import EMBEDDERS
from readclade.errors import ConfigError
from readclade.storage.locations import is_s3, join


def add_embedder_options(parser: argparse.ArgumentParser) -> None:
    """Add --embedder and every embedder's own parameters to a parser."""
    parser.add_argument("--embedder", default="kmer", choices=EMBEDDERS, help="default: %(default)s")
    parser.add_argument("--k", type=int, default=4, choices=[4, 5], help="kmer: k-mer length (default: %(default)s)")
    parser.add_argument("--model", help="lshvec: what train_lshvec.py wrote")
    group = parser.add_argument_group("dnabert2 and dnabert-s")
    group.add_argument(
        "--weights", default=HUB, help="folder of config.json, tokenizer.json and weights (default: download them)"
    )
    group.add_argument(
        "--precision", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="default: %(default)s"
    )
    group.add_argument("--window-bp", type=int, default=2400, help="longer reads are cut (default: %(default)s)")
    group.add_argument("--strands", default="both", choices=["both", "one"], help="default: %(default)s")


def add_embedding_options(parser: argparse.ArgumentParser) -> None:
    """Add what is embedded, how, and where to, to a parser: the same for a Ray here and for one elsewhere."""
    parser.add_argument("--reads", required=True, help="reads.json of the sample: a path, or s3://bucket/key")
    parser.add_argument("--out", required=True, help="folder of the shards: a path, or s3://bucket/prefix")
    parser.add_argument("--store", default="local", help="s3://bucket/prefix for the shards (default: --out)")
    add_embedder_options(parser)
    parser.add_argument("--d", type=int, default=32, help="most values of an embedding (default: %(default)s)")
    parser.add_argument("--actors", type=int, default=1, help="actors, one CPU each (default: %(default)s)")
    parser.add_argument("--actor-gpus", type=float, default=0, help="GPUs of each actor (default: %(default)s)")
    parser.add_argument("--metrics", type=Path, help="table to write of what this run has done, and how fast")


def parse_embedding_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and check the values of `add_embedding_options`.

    Returns:
        The arguments; paths are absolute, `name` is the last part of --out, and `location` where the shards go.
    """
    arguments = parser.parse_args()
    if arguments.d < 1 or arguments.actors < 1:
        parser.error("--d and --actors must be at least 1")
    if arguments.actor_gpus < 0:
        parser.error("--actor-gpus must be at least 0")
    if arguments.store != "local" and not is_s3(arguments.store):
        parser.error("--store must be 'local' or s3://bucket/prefix")
    # An actor works in another folder: it must find its files from there.
    for name in ("reads", "out"):
        path = getattr(arguments, name).rstrip("/")
        setattr(arguments, name, path if is_s3(path) else str(Path(path).absolute()))
    arguments.name = Path(arguments.out).name
    arguments.location = arguments.out if arguments.store == "local" else join(arguments.store, arguments.name)
    return arguments


def get_embedding_words(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the options that say to another embed_fragments.py how to embed; not what, and not where to."""
    parameters = get_embedder_parameters(arguments)
    options = {name: getattr(arguments, name) for name in ("embedder", "d", "actors", "actor_gpus")} | parameters
    return tuple(f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None)


def get_embedder_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of the embedder that the arguments choose.

    Raises:
        ConfigError: lshvec without a model.
    """
    if arguments.embedder == "kmer":
        return {"k": arguments.k}
    # An actor works in another folder: it must find its files from there.
    if arguments.embedder == "lshvec":
        if arguments.model is None:
            raise ConfigError("lshvec needs a model", remedy="name it with --model; scripts/train_lshvec.py makes one")
        return {"model": str(Path(arguments.model).absolute())}
    weights = None if arguments.weights == HUB else str(Path(arguments.weights).absolute())
    return {
        "weights": weights,
        "precision": arguments.precision,
        "window_bp": arguments.window_bp,
        "strands": arguments.strands,
    }
