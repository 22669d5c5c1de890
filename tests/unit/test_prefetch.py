"""Iterators that work ahead: the order, how far they are ahead, and errors."""

import threading

import pytest

from readclade.errors import InputError
from readclade.prefetch import map_ahead, one_behind, read_ahead


def count(end, made):
    """Yield numbers, noting in `made` which were asked for."""
    for number in range(end):
        made.append(number)
        yield number


def test_read_ahead_gives_all_in_order_and_holds_one():
    taken = []
    for number in read_ahead(count(5, taken)):
        assert len(taken) <= number + 2
        assert taken[: number + 1] == list(range(number + 1))
    assert taken == list(range(5))


def test_read_ahead_error_comes_after_what_was_read():
    def read():
        yield 1
        raise InputError("is broken", path="reads.fq")

    batches = read_ahead(read())
    assert next(batches) == 1
    with pytest.raises(InputError, match="is broken"):
        next(batches)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_map_ahead_works_on_so_many_at_once_and_keeps_the_order(threads):
    together = threading.Barrier(threads, timeout=60)  # passes only when all threads are at it at once

    def work(number):
        together.wait()
        return -number

    assert list(map_ahead(work, range(6 * threads), threads)) == [-number for number in range(6 * threads)]


def test_map_ahead_takes_no_more_than_it_works_on():
    taken = []
    for number in map_ahead(lambda number: number, count(9, taken), 2):
        assert len(taken) <= number + 3
    assert taken == list(range(9))


def test_map_ahead_error_comes_in_its_turn():
    def work(number):
        if number == 1:
            raise InputError("is broken", path="reads.fq")
        return number

    results = map_ahead(work, range(5), 2)
    assert next(results) == 0
    with pytest.raises(InputError, match="is broken"):
        next(results)


def test_one_behind():
    made = []
    assert [(number, len(made)) for number in one_behind(count(3, made))] == [(0, 2), (1, 3), (2, 3)]
    assert list(one_behind([])) == []
