"""Compile the loops of reading, embedding by k-mers and clustering once, so that no run waits for it.

Example, from the repository root; `make install` does it:
    PYTHONPATH=src .venv/bin/python scripts/compile_loops.py

They are kept beside their modules. Where nothing may be written there, set NUMBA_CACHE_DIR.
"""

from readclade.cli import make_parser, run
from readclade.workflow.compiling import compile_loops


def main() -> None:
    """Read the arguments, of which there are none, and compile."""
    make_parser(__doc__).parse_args()
    compile_loops()


if __name__ == "__main__":
    run(main)
