"""The same work on processes of this machine, its results in order; one that dies is told in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from typing import TypeVar

from agecascade.errors import ComputeError

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, in the items' order; with one worker in this process. Raises ComputeError where a process dies."""
    from joblib import Parallel, delayed

    try:
        yield from Parallel(n_jobs=workers, backend="loky", return_as="generator")(delayed(function)(item) for item in items)
    except BrokenExecutor as error:
        ends = re.search(r"\{(.*?)\}", str(error))
        raise ComputeError(
            f"compute.workers: one of {workers} processes was killed, or crashed ({ends[1] if ends else 'no status'}); where memory is "
            "short, the system kills them: free some or lower compute.workers, and run it again"
        ) from error
