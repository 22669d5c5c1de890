"""The collective functions on one rank and on several: check_collectives.py asserts, this launches it."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("ranks", [1, 3])
def test_collectives(launch, ranks):
    done = launch(ranks, Path(__file__).with_name("check_collectives.py"))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"rank {rank} of {ranks} is done" for rank in range(ranks)]
