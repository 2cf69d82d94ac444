"""One request: a client that leaves takes its pictures out of the queue, and what it waited for is answered for nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agecascade.serve.answers import Answer
from agecascade.serve.jobs import Question
from agecascade.serve.limits import Limits
from agecascade.serve.refusals import Refusal
from agecascade.serve.service import Service
from agecascade.serve.uploads import ClientGone
from images import picture


class Held:
    """Answers when it is let go; remembers how many pictures it saw."""

    lacking_maps: str | None = None
    lacking_distribution: str | None = "distribution: none is predicted"

    def __init__(self) -> None:
        card = SimpleNamespace(study="s", step="t", method="m", backbone="b", seed=0, grid=[0.0, 100.0], interval=None)
        folds = [SimpleNamespace(card=card)]
        self.estimator: Any = SimpleNamespace(age_check=lambda threshold, challenge: None, folds=folds, grid=card.grid, note=None)
        self.go, self.called = threading.Event(), threading.Event()
        self.seen: list[int] = []

    def __call__(self, pictures: Sequence[bytes], question: Question) -> list[Answer]:
        self.seen.append(len(pictures))
        self.called.set()
        assert self.go.wait(20)
        return [Answer([{"path": "0", "value": 30.0}]) for _ in pictures]


class Request:
    """A raw picture; its client leaves once `leaves` is set."""

    def __init__(self, leaves: asyncio.Event) -> None:
        self.headers = {"content-type": "image/jpeg"}
        self._leaves, self._sent = leaves, False

    async def receive(self) -> dict[str, Any]:
        if self._sent:
            await self._leaves.wait()
            return {"type": "http.disconnect"}
        self._sent = True
        return {"type": "http.request", "body": picture(), "more_body": False}


def reply(service: Service, request: Any, question: Question | None = None) -> Any:
    return service.reply(request, question or Question(), lambda pictures, faces: None)


def test_a_client_that_leaves_takes_its_pictures_with_it() -> None:
    answers = Held()
    service = Service(answers, Limits(places=3))

    async def scene() -> Any:
        first = asyncio.create_task(reply(service, Request(asyncio.Event())))
        await asyncio.to_thread(answers.called.wait, 20)
        leaves = asyncio.Event()
        second = asyncio.create_task(reply(service, Request(leaves)))
        while service.jobs.taken < 2:
            await asyncio.sleep(0.01)
        leaves.set()
        with pytest.raises(ClientGone):
            await second
        assert service.jobs.taken == 1
        answers.go.set()
        return await first

    assert asyncio.run(scene())["rows"] == [{"path": "0", "picture": 0, "value": 30.0}]
    service.jobs.stop(20)
    assert answers.seen == [1], "the pictures of the one who left were not answered"


def test_what_the_model_lacks_is_refused_before_the_body_is_read() -> None:
    answers = Held()
    answers.lacking_maps = "it has no layers"
    service = Service(answers, Limits())
    for question, line in (
        (Question(maps=True), "maps: it has no layers"),
        (Question(distribution=True), "distribution: none is predicted"),
    ):
        with pytest.raises(Refusal, match=line) as refused:
            asyncio.run(reply(service, Request(asyncio.Event()), question))
        assert refused.value.status == 422
    assert service.jobs.taken == 0
    service.jobs.stop(20)
    assert answers.seen == []


def test_health_follows_the_queue() -> None:
    service = Service(Held(), Limits(), workers=2)
    assert service.health["status"] == "ready"
    assert service.model["distribution"] is False
    assert service.model["coverage"] is None
    service.jobs.stop(20)
    assert (service.health["status"], service.health["ready"]) == ("stopping", False)
