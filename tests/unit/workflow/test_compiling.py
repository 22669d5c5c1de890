"""What `make install` compiles is what a run would."""

import sys

from numba.core.registry import CPUDispatcher

from readclade.workflow import compiling

# Only several ranks call these; they take a second.
OF_SEVERAL_RANKS = {"_choose_best", "_find_first"}


def test_loops_of_reading_and_clustering_are_compiled():
    for platform in ("illumina", "ont"):
        compiling._compile_for(platform)
    loops = {
        loop
        for name, module in list(sys.modules.items())
        if name.startswith(("readclade.reads", "readclade.clustering", "readclade.embedders.kmer"))
        for loop in vars(module).values()
        if isinstance(loop, CPUDispatcher)
    }
    # A loop that others call is kept with these, and need not be compiled by itself.
    called = {name for loop in loops for name in loop.py_func.__code__.co_names}
    outer = [loop for loop in loops if loop.__name__ not in called]
    assert len(outer) > 20
    assert {loop.__name__ for loop in outer if not loop.signatures} <= OF_SEVERAL_RANKS
