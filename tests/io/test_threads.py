"""The same work on several threads: in order, with few items waiting, errors at their place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from agecascade.io.threads import AHEAD, in_order, usable_cores


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.002 * (item % 3 == 0))
        return item**2

    assert list(in_order(slow_first, range(40), workers)) == [i**2 for i in range(40)]
    assert list(in_order(slow_first, [], workers)) == []


def test_few_items_are_taken_ahead_of_the_reader() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(lambda item: item, items(), 3)
    for read in range(20):
        assert next(results) == read
        assert len(taken) <= read + AHEAD * 3
    results.close()  # type: ignore[attr-defined]
    assert len(taken) < 30


def test_a_reader_may_let_more_be_taken_ahead() -> None:
    taken, go = [], threading.Event()

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    def release() -> None:
        for _ in range(2000):
            if len(taken) == 10:
                break
            time.sleep(0.01)
        go.set()

    threading.Thread(target=release).start()
    results = in_order(lambda item: go.wait(30), items(), 2, unread=5, ahead=5)
    assert next(results)
    assert len(taken) >= 10
    results.close()
    assert len(taken) <= 11


def test_several_threads_work_at_once() -> None:
    barrier = threading.Barrier(3, timeout=20)
    assert list(in_order(lambda item: barrier.wait() >= 0, range(3), 3)) == [True] * 3


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_raised_behind_the_results_before_it(workers: int) -> None:
    def fail(item: int) -> int:
        if item == 4:
            raise ValueError("four")
        return item

    results = in_order(fail, range(9), workers)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="four"):
        next(results)


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1
