"""The collective functions on one rank and on several: check_collectives.py asserts, this launches it."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("ranks", [1, 3])
def test_collectives(launch, ranks):
    done = launch(ranks, Path(__file__).with_name("check_collectives.py"))
    assert done.returncode == 0, done.stderr
    # The ranks' lines may run into each other.
    found = re.findall(rf"rank (\d) of {ranks} is done", done.stdout)
    assert sorted(map(int, found)) == list(range(ranks))
