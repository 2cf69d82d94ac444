"""The places of the server and its one queue: bounded, answered in batches by threads, emptied before the server ends.

A request takes a place before its body is read, and gives it back when it is answered. So uploads never take more memory than the
places allow, and a client that finds none is told when to come again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any

from agecascade.serve.refusals import Refusal

BATCH = 8  # pictures that a thread answers at once, where as many wait
SMOOTHING = 0.2  # weight of the newest request in the mean time of one


@dataclass(frozen=True)
class Question:
    """What is asked of the faces, besides their values; jobs of one question are answered together."""

    threshold: float | None = None
    challenge: float | None = None
    distribution: bool = False
    maps: bool = False


PARAMETERS = tuple(part.name for part in fields(Question))  # of a request


@dataclass(eq=False)
class Job:
    """The pictures of one request, encoded, and the place of their answers."""

    pictures: list[bytes]
    question: Question = field(default_factory=Question)
    answers: Future[list[Any]] = field(default_factory=Future)


Answer = Callable[[Sequence[bytes], Question], list[Any]]  # one for each picture


class Jobs:
    """`places` requests at most, answered by `workers` threads of `answer`."""

    def __init__(self, answer: Answer, places: int, workers: int = 1) -> None:
        self._answer, self._places = answer, places
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._taken, self._seconds = 0, 0.5
        self.stopping = False
        self._threads = [threading.Thread(target=self._work, name=f"answers-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def taken(self) -> int:
        """Requests under way."""
        return self._taken

    @property
    def ready(self) -> bool:
        """Whether requests are taken and answered."""
        return not self.stopping and all(thread.is_alive() for thread in self._threads)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request; raises Refusal where there is none (429) or the server stops (503)."""
        with self._lock:
            if self.stopping:
                raise Refusal(503, "the server is stopping; ask again in a moment", Retry_After="5")
            if self._taken >= self._places:
                line = f"{self._taken} requests are under way, which are all that the server takes at once; come again"
                raise Refusal(429, line, Retry_After=str(self._patience()))
            self._taken += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1
                self._seconds += SMOOTHING * (time.monotonic() - begun - self._seconds)

    def _patience(self) -> int:
        """Whole seconds after which a place is likely: by the mean time that a request keeps one."""
        return max(1, min(60, round(self._seconds / self._places)))

    def put(self, job: Job) -> None:
        """Queue a job, whose request has a place."""
        self._waiting.put(job)

    def stop(self, patience: float | None = None) -> None:
        """Take no more requests, answer those that are queued, and end the threads."""
        with self._lock:
            self.stopping = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(patience)

    def _work(self) -> None:
        last = False
        while not last:
            batch, last = self._batch()
            questions: dict[Question, list[Job]] = {}
            for job in batch:
                if job.answers.set_running_or_notify_cancel():  # its client may have gone
                    questions.setdefault(job.question, []).append(job)
            for jobs in questions.values():
                self._answered(jobs)

    def _batch(self) -> tuple[list[Job], bool]:
        """The next job and what waits behind it, up to BATCH pictures; and whether this thread has been told to end."""
        batch: list[Job] = []
        while sum(len(job.pictures) for job in batch) < BATCH:
            try:
                job = self._waiting.get(block=not batch)
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _answered(self, jobs: Sequence[Job]) -> None:
        """Answer jobs of one question; where that fails, each alone, so that a bad one spoils no other."""
        try:
            answers = self._answer([picture for job in jobs for picture in job.pictures], jobs[0].question)
            ends = list(accumulate(len(job.pictures) for job in jobs))
            if len(answers) != ends[-1]:
                raise RuntimeError(f"{len(answers)} answers for {ends[-1]} pictures")
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answers.set_exception(error)
                return
            for job in jobs:
                self._answered([job])
            return
        for job, end in zip(jobs, ends, strict=True):
            job.answers.set_result(answers[end - len(job.pictures) : end])
