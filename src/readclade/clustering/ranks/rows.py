"""Equal rows of tables of whole numbers. Not collective."""

import numpy as np


def unite_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different rows, ascending, and (n,) int64, the place of each row among them.

    Args:
        rows: (n, w) int64. Numpy's own way for rows takes ten times as long.
    """
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    places = np.empty(len(rows), np.int64)
    places[order] = np.cumsum(is_first) - 1
    return ordered[is_first], places


def sum_rows(rows: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different rows, ascending, and the (rows, w) sums of the (n, w) int64 values of each."""
    unique, places = unite_rows(rows)
    sums = np.zeros((len(unique), values.shape[1]), np.int64)
    np.add.at(sums, places, values)
    return unique, sums
