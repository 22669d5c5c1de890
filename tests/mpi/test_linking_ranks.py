"""Links, groups and overlaps on several ranks: check_linking.py and check_overlaps.py assert, this launches them."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("check", ["check_linking.py", "check_overlaps.py"])
@pytest.mark.parametrize("ranks", [1, 2, 4, pytest.param(8, marks=pytest.mark.slow)])
def test_links_are_the_same_on_any_number_of_ranks(ranks, check, launch):
    done = launch(ranks, Path(__file__).with_name(check))
    assert done.returncode == 0, done.stderr
    # The ranks' lines may run into each other.
    found = re.findall(rf"rank (\d) of {ranks} is done", done.stdout)
    assert sorted(map(int, found)) == list(range(ranks))
