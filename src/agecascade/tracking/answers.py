"""A store's answers: how long they are waited for, how much of them is read, and what they say of an error."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from agecascade.errors import TrackingError
from agecascade.tracking.store import tracking_uri, warn

_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}  # the store answers, and does not take what it was given
SLOW = 10.0  # seconds after which a call that still waits says so
PATIENCE = 90.0  # seconds that a stage waits for its calls, all of them together, but for SLOW of each, of a server QUICK
QUICK = 1.0
SHARE = 0.1  # of the time that a stage has taken, which it may wait besides
LARGEST = 1 << 28  # bytes of an answer; a thousand runs have some 10 MB

Result = TypeVar("Result")


class TooSlow(Exception):
    """A store did not answer in its time."""


class Patience:
    """The time that a stage waits for its store, all calls together."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waited = 0.0  # seconds, as PATIENCE counts them

    def bounded(self, action: Callable[[], Result], say: Callable[[str], None]) -> Result:
        """The result of a call; one that is slow is said. Raises TooSlow when the patience is at its end."""
        start = time.monotonic()
        left = PATIENCE + SHARE * (start - self._began) - self._waited
        if left <= 0:
            raise TooSlow(f"its answers took {self._waited:.0f} s in all")
        notice = f"tracking at {tracking_uri()} has not answered for {SLOW:.0f} s; waiting for {left - SLOW:.0f} s more at most"
        try:
            return within(action, left, lambda: say(notice), SLOW)
        finally:
            spared = QUICK if tracking_uri().startswith("http") else SLOW
            self._waited += max(time.monotonic() - start - spared, 0)


def within(action: Callable[[], Result], seconds: float, notice: Callable[[], None], slow: float) -> Result:
    """The result of `action`, which runs in a thread; after `slow` of the `seconds` `notice` is called. Raises TooSlow at their end."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # handed to the one that waits
            future.set_exception(error)

    threading.Thread(target=work, name="tracking", daemon=True).start()
    try:
        return future.result(min(slow, seconds))
    except TimeoutError:
        if future.done():  # the action's own
            raise
    if seconds > slow:
        notice()
    try:
        return future.result(max(seconds - slow, 0))
    except TimeoutError:
        if future.done():
            raise
        raise TooSlow(f"no answer within {seconds:.0f} s") from None


def briefly(action: Callable[[], Result]) -> Result:
    """The result of a call that has SLOW seconds, whatever the patience of its stage. Raises TooSlow at their end."""
    return within(action, SLOW, lambda: None, SLOW)


def refused(error: Exception) -> bool:
    """Whether a store answered that it does not take what it was given."""
    return getattr(error, "error_code", None) in _REFUSALS


def why_lost(error: Exception) -> str:
    """What ended the tracking, in a few words."""
    if not isinstance(error, TooSlow):
        return f"{type(error).__name__}: {first_line(error)}"
    return str(error) if tracking_uri().startswith("http") else f"{error}; another process may hold it"


def first_line(error: Exception) -> str:
    """An error's own words in one line: without the statement that SQLAlchemy adds, and how it came to it."""
    text = re.sub(r"^\(raised as a result of [^\n]*\)\n", "", str(error).strip())
    return " ".join(re.split(r"\n\n|\n\[SQL: ", text)[0].split())[:300]


def log_batch(client: Any, run_id: str, batch: Mapping[str, list[Any]]) -> None:
    """Log params, metrics and tags; of a batch that the store refuses, all that it takes, and say what it does not."""
    entries = [(kind, entry) for kind, group in batch.items() for entry in group]
    try:
        client.log_batch(run_id, **batch)
    except Exception as error:
        if not refused(error):
            raise
        if len(entries) == 1:
            kind, entry = entries[0]
            warn(f"MLflow refused {kind[:-1]} {entry.key!r}: {first_line(error)}; the rest is logged")
            return
        for half in (entries[: len(entries) // 2], entries[len(entries) // 2 :]):
            log_batch(client, run_id, {kind: [entry for other, entry in half if other == kind] for kind in batch})


def bound_answers(requests: Any) -> None:
    """Let MLflow's module of requests read no answer beyond LARGEST: it would hold one without an end in memory, for hours.

    An MLflow that has no such place any more (3 has) is left as it is, which a test tells.
    """
    make = getattr(requests, "_get_request_session", None)
    if make is None or getattr(make, "bounded", False):
        return

    @functools.wraps(make)
    def bounded(*arguments: Any, **options: Any) -> Any:
        session = make(*arguments, **options)
        session.hooks["response"] = [_read]
        return session

    bounded.bounded = True  # type: ignore[attr-defined]
    requests._get_request_session = bounded


def _read(response: Any, stream: bool = False, **_: object) -> None:
    """Read an answer as `requests` does. Raises TrackingError where it is longer than LARGEST."""
    if stream:  # to a file
        return
    content = bytearray()
    for block in response.iter_content(1 << 16):
        content += block
        if len(content) > LARGEST:
            response.close()
            raise TrackingError(f"an answer of more than {LARGEST >> 20} MiB")
    response._content = bytes(content)
