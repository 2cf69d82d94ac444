"""One planned picture of a data set as the bytes of its archive members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal
from zlib import crc32

import cv2
import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from agecascade.synthetic.camera import develop, encode
from agecascade.synthetic.drawing import canvas_side, draw, scenery
from agecascade.synthetic.identity import Person, person
from agecascade.synthetic.markup import pts
from agecascade.synthetic.view import Style, View, take

Fault = Literal["", "second_face", "no_face", "blurred", "empty", "truncated", "text", "missing"]
Member = tuple[str, bytes]


@dataclass(frozen=True)
class Picture:
    """What a data set's plan says of one picture; `number` is its place in the plan, from which its chance comes."""

    member: str
    number: int
    subject: int
    age: float  # years
    fault: Fault = ""
    points_member: str = ""  # where FG-NET's landmarks go


@dataclass(frozen=True)
class Seeds:
    """Independent chance for the plan, for every person and for every picture of one data set."""

    seed: int
    reader: str

    def _rng(self, *key: int) -> Generator:
        # the reader's name is part of the entropy, so that data sets of one seed still show different people
        return default_rng(SeedSequence([self.seed, crc32(self.reader.encode())], spawn_key=key))

    def plan(self) -> Generator:
        """For who is pictured how often at what age."""
        return self._rng(0)

    def person(self, subject: int) -> Person:
        """The person of that number."""
        return _person(self, subject)

    def picture(self, number: int) -> Generator:
        """For one picture."""
        return self._rng(2, number)


@lru_cache(maxsize=256)
def _person(seeds: Seeds, subject: int) -> Person:
    return person(seeds._rng(1, subject))


def render(pictures: Sequence[Picture], style: Style, seeds: Seeds) -> list[Member]:
    """The archive members of some pictures, in order; the same wherever and in whatever company a picture is rendered."""
    with _one_thread():
        return [member for picture in pictures for member in _members(picture, style, seeds)]


@contextmanager
def _one_thread() -> Iterator[None]:
    # the work is shared out by processes; OpenCV's threads would only get in their way on such small pictures
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _members(picture: Picture, style: Style, seeds: Seeds) -> list[Member]:
    if picture.fault == "missing":
        return []
    rng = seeds.picture(picture.number)
    view = take(style, rng)
    if picture.fault == "blurred":
        view = replace(view, blur=0.06 * view.side)
    drawing, points = _scene(picture, view, seeds, rng)
    data = encode(develop(drawing, view, rng), view.quality)
    spoilt = {"empty": b"", "truncated": data[: len(data) // 3], "text": b"<html><body>404 Not Found</body></html>\n"}
    members = [(picture.member, spoilt.get(picture.fault, data))]
    if picture.points_member:
        members.append((picture.points_member, pts(points)))
    return members


def _scene(picture: Picture, view: View, seeds: Seeds, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """The drawing and its 68 points; a second face stands in a corner, and a picture without a face shows the background."""
    if picture.fault == "no_face":
        return scenery(view, canvas_side(view.side)), np.zeros((68, 2))
    drawing, points = draw(seeds.person(picture.subject), picture.age, view, rng)
    if picture.fault == "second_face":
        # strangers are numbered from a million, where no data set has subjects
        stranger = seeds.person(1_000_000 + picture.number)
        side = round(0.42 * len(drawing))
        other = replace(view, side=side, margin=0.2, shift=(0.0, 0.0))
        small, _ = draw(stranger, float(rng.uniform(5, 80)), other, rng)
        drawing[-side:, :side] = cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA)
    return drawing, points
