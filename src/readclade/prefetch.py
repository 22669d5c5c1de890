"""Iterators that work ahead in threads, so that who takes from them need not wait."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items, none of which is None; a thread takes the next one while one is worked on. Two are held."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield function(item) in the order of the items; so many threads work on those after the one that was taken."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """Yield each item when the one after it has been made."""
    last: list[Item] = []
    for item in items:
        yield from last
        last = [item]
    yield from last
