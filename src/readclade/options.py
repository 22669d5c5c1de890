"""The options that choose an embedder, for the scripts that take one."""

import argparse
from pathlib import Path
from typing import Any

from readclade.embedders import EMBEDDERS
from readclade.errors import ConfigError

_HUB = "hub"


def add_embedder_options(parser: argparse.ArgumentParser) -> None:
    """Add --embedder and every embedder's own parameters to a parser."""
    parser.add_argument("--embedder", default="kmer", choices=EMBEDDERS, help="default: %(default)s")
    parser.add_argument("--k", type=int, default=4, choices=[4, 5], help="kmer: k-mer length (default: %(default)s)")
    parser.add_argument("--model", help="lshvec: what train_lshvec.py wrote")
    group = parser.add_argument_group("dnabert2 and dnabert-s")
    group.add_argument(
        "--weights", default=_HUB, help="folder of config.json, tokenizer.json and weights (default: download them)"
    )
    group.add_argument(
        "--precision", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="default: %(default)s"
    )
    group.add_argument("--window-bp", type=int, default=2400, help="longer reads are cut (default: %(default)s)")
    group.add_argument("--strands", default="both", choices=["both", "one"], help="default: %(default)s")


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
    weights = None if arguments.weights == _HUB else str(Path(arguments.weights).absolute())
    return {
        "weights": weights,
        "precision": arguments.precision,
        "window_bp": arguments.window_bp,
        "strands": arguments.strands,
    }
