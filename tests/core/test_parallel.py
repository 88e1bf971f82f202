"""Work on several items at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tlx.parallel import in_order


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slower_first(number: int) -> int:
        time.sleep(0.002 * (20 - number))
        return number**2

    assert list(in_order(slower_first, range(20), threads)) == [(n, n**2) for n in range(20)]


def test_several_are_worked_on_at_a_time() -> None:
    meeting = threading.Barrier(3, timeout=30)
    assert [found for _, found in in_order(lambda _: meeting.wait() >= 0, range(9), 3)] == [
        True
    ] * 9


def test_items_are_not_taken_far_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), 2)
    for number in range(10):
        assert next(results) == (number, number)
        assert len(taken) <= number + 1 + 2 * 2
    results.close()


@pytest.mark.parametrize("threads", [0, 3])
def test_an_error_comes_when_its_item_would(threads: int) -> None:
    def work(number: int) -> int:
        if number == 4:
            raise ValueError("four")
        return number

    results = in_order(work, range(100), threads)
    assert [next(results)[1] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="four"):
        next(results)
    assert not [t for t in threading.enumerate() if t.name.startswith("tlx-work")]
