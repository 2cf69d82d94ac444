"""The same work on several workers, its results in order, with few items waiting; here the workers are threads."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # items for each worker that wait or are worked on


class Begun(Protocol):
    """A call that has begun, here or on another machine."""

    def done(self) -> bool:
        """Whether `result` returns, or raises, at once."""
        ...

    def result(self) -> Any:
        """What the call returns; raises what it raises."""
        ...

    def cancel(self) -> object:
        """Drop the call where it has not started."""
        ...


class Workers(Protocol):
    """Whatever calls one function with items, several at once."""

    def submit(self, item: Any) -> Begun:
        """Begin the call with this item."""
        ...

    def wait(self, begun: Sequence[Any]) -> None:
        """Return as soon as one of these calls is done."""
        ...


class Threads:
    """The threads of a pool."""

    def __init__(self, function: Callable[[Any], Any], pool: ThreadPoolExecutor) -> None:
        self._function, self._pool = function, pool

    def submit(self, item: Any) -> Future[Any]:
        return self._pool.submit(self._function, item)

    def wait(self, begun: Sequence[Future[Any]]) -> None:
        wait(begun, return_when=FIRST_COMPLETED)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1, unread: int = AHEAD, ahead: int = AHEAD
) -> Generator[Result, None, None]:
    """`function` of each item on threads, as `results_in_order`; with one worker in this thread, item by item as results are asked for.

    unread: items for each worker whose results nobody has read yet; ahead: those that wait or are worked on. The threads end with the
    last result, or where the generator is closed, which waits for what is being worked on.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers, "pictures") as pool:
        yield from results_in_order(Threads(function, pool), items, ahead * workers, unread * workers)


def results_in_order(workers: Workers, items: Iterable[Any], ahead: int, unread: int) -> Iterator[Any]:
    """The result of each item, in the items' order.

    Items are taken in the reader's thread: at most `ahead` of them wait or are worked on, and at most `unread` have results that are
    not read yet, so that memory stays bounded and one slow item keeps no worker idle. What the items raise is raised after the
    results before it, and what a call raises in its place.
    """
    source, ended, failure = iter(items), False, None
    waiting: deque[Begun] = deque()
    running: list[Begun] = []
    try:
        while True:
            running = [call for call in running if not call.done()]
            while not ended and len(running) < ahead and len(waiting) < unread:
                try:
                    item = next(source)
                except StopIteration:
                    ended = True
                except Exception as error:  # any at all
                    ended, failure = True, error
                else:
                    waiting.append(workers.submit(item))
                    running.append(waiting[-1])
            if not waiting:
                break
            if waiting[0].done():
                yield waiting.popleft().result()
            else:
                workers.wait(running)
    finally:  # whoever stops reading waits for no more than what is being worked on
        for call in waiting:
            call.cancel()
    if failure is not None:
        raise failure


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_alone() -> None:
    """Let torch use one core in this thread, where other threads compute on the rest; for `threads_restored` around all of them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@contextmanager
def threads_restored() -> Iterator[None]:
    """Threads that begin later take as many cores for torch as this one: torch remembers the number that any thread has set last."""
    try:
        yield
    finally:
        torch: Any = sys.modules.get("torch")
        if hasattr(torch, "set_num_threads"):  # else another thread still imports it
            torch.set_num_threads(torch.get_num_threads())
