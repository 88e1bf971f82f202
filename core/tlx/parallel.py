"""Work on several items at a time, with results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with what the work makes of it, in order, whatever is done at the same time.

    Threads, not processes: what pays in parallel here is outside of Python's lock (files that are
    read or written, hashes, Arrow's columns), and processes would have to send it to each other.

    Args:
        work: Called for each item; its error is raised when the item's turn comes.
        items: Taken one after the other, at most two for each thread ahead of the results.
        threads: How many work at a time; with fewer than two each item is worked on when its turn
            comes.
    """
    if threads < 2:
        for item in items:
            yield item, work(item)
        return
    pool = ThreadPoolExecutor(threads, "tlx-work")
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        # Whatever ends the loop, nobody is left at work behind its back.
        pool.shutdown(cancel_futures=True)
