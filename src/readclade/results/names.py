"""The names of clusters in every file and figure: c1, c2, ... by falling bases."""

import re


def get_cluster_name(number: int) -> str:
    """Return the name of a cluster that is counted from 0."""
    return f"c{number + 1}"


def get_cluster_number(name: str) -> int:
    """Return the number, from 0 on, of the cluster with a name, or -1 where this is no name of a cluster."""
    match = re.fullmatch(r"c([1-9][0-9]*)", name)
    return int(match[1]) - 1 if match else -1
