"""Snakemake as it is, but looking at Slurm's queue every second: the executor's pause grows by 10 s each time."""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
sys.exit(main())
