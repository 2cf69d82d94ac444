"""The queue: places, batches of one question, failures that stay alone, and an end that loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError

import pytest

from agecascade.serve.jobs import BATCH, Job, Jobs, Question
from agecascade.serve.refusals import Refusal


class Echo:
    """Answers each picture by itself, once it is let go; remembers its calls."""

    def __init__(self) -> None:
        self.go, self.called = threading.Event(), threading.Event()
        self.calls: list[tuple[list[bytes], Question]] = []

    def __call__(self, pictures: Sequence[bytes], question: Question) -> list[bytes]:
        self.calls.append((list(pictures), question))
        self.called.set()
        assert self.go.wait(20)
        if b"bad" in pictures:
            raise ValueError("bad")
        return list(pictures)


def test_what_waits_is_answered_together_by_its_question() -> None:
    echo = Echo()
    jobs = Jobs(echo, places=9)
    first = Job([b"0"])
    jobs.put(first)
    assert echo.called.wait(20)
    adult, plain = Question(threshold=18.0), Question()
    waiting = [Job([b"1", b"2"], adult), Job([b"3"], plain), Job([b"4"], adult)]
    for job in waiting:
        jobs.put(job)
    echo.go.set()
    assert [job.answers.result(20) for job in [first, *waiting]] == [[b"0"], [b"1", b"2"], [b"3"], [b"4"]]
    assert echo.calls == [([b"0"], plain), ([b"1", b"2", b"4"], adult), ([b"3"], plain)]
    jobs.stop(20)


def test_a_batch_is_bounded() -> None:
    echo = Echo()
    jobs = Jobs(echo, places=99)
    jobs.put(Job([b"0"]))
    assert echo.called.wait(20)
    waiting = [Job([b"x", b"y"]) for _ in range(BATCH)]
    for job in waiting:
        jobs.put(job)
    echo.go.set()
    for job in waiting:
        assert job.answers.result(20) == [b"x", b"y"]
    assert [len(pictures) for pictures, _ in echo.calls] == [1, BATCH, BATCH]
    jobs.stop(20)


def at_work() -> tuple[Echo, Jobs]:
    """Jobs that have begun with one of them, so that all that follow wait together."""
    echo = Echo()
    jobs = Jobs(echo, places=9)
    jobs.put(Job([b"0"]))
    assert echo.called.wait(20)
    return echo, jobs


def test_a_bad_request_fails_alone() -> None:
    echo, jobs = at_work()
    bad, good = Job([b"bad"]), Job([b"good"])
    jobs.put(bad)
    jobs.put(good)
    echo.go.set()
    assert good.answers.result(20) == [b"good"]
    with pytest.raises(ValueError, match="bad"):
        bad.answers.result(20)
    assert jobs.ready
    jobs.stop(20)


def test_a_withdrawn_job_is_not_answered() -> None:
    echo, jobs = at_work()
    withdrawn, kept = Job([b"withdrawn"]), Job([b"kept"])
    jobs.put(withdrawn)
    jobs.put(kept)
    assert withdrawn.answers.cancel()
    echo.go.set()
    assert kept.answers.result(20) == [b"kept"]
    with pytest.raises(CancelledError):
        withdrawn.answers.result(20)
    assert [pictures for pictures, _ in echo.calls] == [[b"0"], [b"kept"]]
    jobs.stop(20)


def test_places_are_bounded_and_given_back() -> None:
    jobs = Jobs(lambda pictures, question: list(pictures), places=2)
    with jobs.place():
        with jobs.place():
            assert jobs.taken == 2
            with pytest.raises(Refusal, match="2 requests are under way") as refused, jobs.place():
                pass
        with jobs.place():
            assert jobs.taken == 2
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    assert jobs.taken == 0
    jobs.stop(20)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_end_answers_all_that_is_queued_and_takes_no_more(workers: int) -> None:
    echo = Echo()
    jobs = Jobs(echo, places=99, workers=workers)
    queued = [Job([str(i).encode()]) for i in range(40)]
    for job in queued:
        jobs.put(job)
    stopping = threading.Thread(target=jobs.stop)
    stopping.start()
    echo.go.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert [job.answers.result(0) for job in queued] == [[str(i).encode()] for i in range(40)]
    with pytest.raises(Refusal) as refused, jobs.place():
        pass
    assert refused.value.status == 503
    assert not jobs.ready
