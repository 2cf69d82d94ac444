"""One request from its head to its rows, and what the server says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import agecascade
from agecascade.errors import ModelError
from agecascade.serve.answers import Answer, Row
from agecascade.serve.jobs import Job, Jobs, Question
from agecascade.serve.limits import Limits
from agecascade.serve.refusals import Refusal
from agecascade.serve.uploads import SLOW, Body, ClientGone, Picture, Upload, looked_at, received

if TYPE_CHECKING:
    from starlette.requests import Request

    from agecascade.estimator import Estimator


class Answering(Protocol):
    """What answers pictures: `answers.Answers`, or a stand-in of it."""

    estimator: Estimator
    lacking_maps: str | None
    lacking_distribution: str | None

    def __call__(self, pictures: Sequence[bytes], question: Question) -> list[Answer]: ...


class Service:
    """An estimator behind a queue, with limits."""

    def __init__(self, answers: Answering, limits: Limits, workers: int = 1) -> None:
        self.limits, self.jobs = limits, Jobs(answers, limits.places, workers)
        self._answers = answers

    async def reply(self, request: Request, question: Question, answered: Callable[[int, int], None]) -> dict[str, Any]:
        """The answer to a request; answered: told how many pictures and faces there were. Raises Refusal and ClientGone."""
        body = Body(request, self.limits)
        try:
            with self.jobs.place():
                self._allow(question)
                uploads = await received(body, self.limits)
                pictures = await asyncio.to_thread(_looked_at, uploads, self.limits)
                readable = [picture for picture in pictures if picture.refusal is None]
                if not readable:
                    raise pictures[0].refusal or AssertionError
                answers = iter(await self._awaited(body, Job([picture.content for picture in readable], question)))
        except Refusal as refusal:
            if refusal.status != SLOW:
                await body.drop()
            raise
        told = [Answer([{"error": picture.refusal.line}]) if picture.refusal else next(answers) for picture in pictures]
        reply = self._reply(pictures, told, question)
        answered(len(readable), sum(row.get("value") is not None for row in reply["rows"]))
        return reply

    def _allow(self, question: Question) -> None:
        """Raise Refusal (422) where the model cannot answer the question."""
        try:
            self._answers.estimator.age_check(question.threshold, question.challenge)
        except ModelError as error:
            raise Refusal(422, str(error)) from None
        if question.maps and self._answers.lacking_maps:
            raise Refusal(422, f"maps: {self._answers.lacking_maps}")
        if question.distribution and self._answers.lacking_distribution:
            raise Refusal(422, self._answers.lacking_distribution)

    async def _awaited(self, body: Body, job: Job) -> list[Answer]:
        """The answers to a job; it is withdrawn, with its pictures, where they come too late (504) or the client leaves."""
        self.jobs.put(job)
        answers: asyncio.Future[list[Answer]] = asyncio.wrap_future(job.answers)
        gone: asyncio.Future[None] = asyncio.ensure_future(body.gone())
        try:
            both: set[asyncio.Future[Any]] = {answers, gone}
            done, _ = await asyncio.wait(both, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if answers in done:
                return answers.result()
            if gone in done:
                raise ClientGone
            raise Refusal(504, f"no answer within {self.limits.seconds:g} seconds; send fewer or smaller pictures, or come again later")
        finally:
            gone.cancel()
            if answers.cancel():
                job.pictures = []

    def _reply(self, pictures: Sequence[Picture], answers: Sequence[Answer], question: Question) -> dict[str, Any]:
        columns = {"path": None, "picture": None} | {name: None for answer in answers for row in answer.rows for name in row}
        rows: list[Row] = []
        sizes = []
        for i, (picture, answer) in enumerate(zip(pictures, answers, strict=True)):
            rows += [columns | row | {"path": picture.name, "picture": i} for row in answer.rows]
            sizes.append({"path": picture.name, "width": picture.width, "height": picture.height, "faces_left_out": answer.left_out})
        reply: dict[str, Any] = {"model": self.model["name"], "pictures": sizes, "rows": rows}
        if question.distribution:
            reply["grid"] = self._answers.estimator.grid
        return reply

    @property
    def model(self) -> dict[str, Any]:
        """What is known of the model."""
        folds = self._answers.estimator.folds
        card = folds[0].card
        return {
            "name": f"{card.study}/{card.step}/{card.method}-{card.backbone}-s{card.seed}",
            "note": self._answers.estimator.note,
            "folds": len(folds),
            "lowest": card.grid[0],
            "highest": card.grid[-1],
            "coverage": card.interval.coverage if card.interval else None,
            "thresholds": self._tells(18.0, 25.0),
            "distribution": self._answers.lacking_distribution is None,
            "maps": self._answers.lacking_maps is None,
            "without_maps": self._answers.lacking_maps,
        }

    def _tells(self, threshold: float, challenge: float) -> bool:
        """Whether the model can answer the usual question."""
        try:
            self._answers.estimator.age_check(threshold, challenge)
        except ModelError:
            return False
        return True

    @property
    def health(self) -> dict[str, Any]:
        """The body of GET /health."""
        jobs = self.jobs
        return {
            "status": "stopping" if jobs.stopping else "ready" if jobs.ready else "failed",
            "ready": jobs.ready,
            "version": agecascade.__version__,
            "model": self.model,
            "limits": asdict(self.limits),
            "requests_under_way": jobs.taken,
        }


def _looked_at(uploads: Sequence[Upload], limits: Limits) -> list[Picture]:
    return [looked_at(upload, limits) for upload in uploads]
