"""Train lshvec's model on the first reads of a run's samples, one model for all of them and for the references.

Example, from the repository root, after fetch_reads.py:
    PYTHONPATH=src .venv/bin/python scripts/train_lshvec.py --reads reads/pairs/reads.json \\
        --out models/lshvec.safetensors --bases 1000000

Then embed_fragments.py and index_references.py take --embedder lshvec --model models/lshvec.safetensors. The same reads
and parameters give the same model.
"""

from pathlib import Path

from readclade.cli import make_parser, run, start_log
from readclade.embedders.lshvec import Training, write_model
from readclade.embedders.lshvec_training import train_model


def main() -> None:
    """Read the arguments and train."""
    parser = make_parser(__doc__)
    parser.add_argument("--reads", required=True, nargs="+", type=Path, help="reads.json of each sample")
    parser.add_argument("--out", required=True, type=Path, help="model to write")
    for name, text in [
        ("k", "length of a k-mer in bases"),
        ("bits", "hyperplanes; there are at most 2^bits words"),
        ("bases", "bases to train on, an equal share from each sample"),
        ("epochs", "how often training sees each word"),
        ("seed", "of hyperplanes and training"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=getattr(Training, name), help=f"{text} (%(default)s)")
    arguments = parser.parse_args()
    training = Training(arguments.k, arguments.bits, arguments.bases, arguments.epochs, arguments.seed)
    log = start_log("train lshvec")
    write_model(arguments.out, train_model([path.absolute() for path in arguments.reads], training))
    log.info(f"{arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
