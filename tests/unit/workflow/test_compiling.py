"""What `make install` compiles is what a run would."""

import sys

from numba.core.registry import CPUDispatcher

from readclade.workflow import compiling

# These are only called from within other loops, into which their code goes.
INLINED = {"_add_letter", "_choose_best", "_find_first"}


def test_loops_of_reading_and_clustering_are_compiled():
    for platform in ("illumina", "ont"):
        compiling._compile_for(platform)
    loops = {
        f"{name}.{loop.__name__}": len(loop.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith(("readclade.reads", "readclade.clustering", "readclade.embedders.kmer"))
        for loop in vars(module).values()
        if isinstance(loop, CPUDispatcher) and loop.__module__ == name
    }
    assert len(loops) > 30
    assert {name.rsplit(".", 1)[1] for name, count in loops.items() if not count} <= INLINED
