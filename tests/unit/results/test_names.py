"""The names of clusters, and their numbers."""

import pytest

from readclade.results.names import get_cluster_name, get_cluster_number


@pytest.mark.parametrize("number", [0, 1, 9, 10**9])
def test_get_cluster_number_undoes_get_cluster_name(number):
    assert get_cluster_number(get_cluster_name(number)) == number


def test_get_cluster_name_counts_from_one():
    assert [get_cluster_name(number) for number in range(3)] == ["c1", "c2", "c3"]


@pytest.mark.parametrize("name", ["", "c", "c0", "c01", "c-1", "C1", "bin1", "c1 ", "c1\n", "1"])
def test_get_cluster_number_of_no_cluster_is_none(name):
    assert get_cluster_number(name) == -1
