"""The plan of an archive that is to be drawn: who is pictured how often at which age, with which faults, under which names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from agecascade.params import DrawSettings
from agecascade.synthetic.camera import Style
from agecascade.synthetic.people import Person, person

Fault = Literal["", "second_face", "no_face", "blurred", "empty", "truncated", "text", "missing"]


Member = tuple[str, bytes]


@dataclass(frozen=True)
class DrawnPicture:
    """One picture of a plan; `number` is its place in the plan, which seeds its random numbers."""

    member: str
    number: int
    subject: int
    age: float  # years
    fault: Fault = ""
    points_member: str = ""  # where FG-NET's landmarks go


@dataclass(frozen=True)
class Seeds:
    """Independent random generators for the plan, for every person and for every picture of one data set."""

    seed: int
    reader: str

    def _rng(self, *key: int) -> Generator:
        # the reader's name is part of the entropy, so that data sets of one seed still show different people
        return default_rng(SeedSequence([self.seed, crc32(self.reader.encode())], spawn_key=key))

    def plan(self) -> Generator:
        """The generator of the plan: who is pictured how often at what age."""
        return self._rng(0)

    def person(self, subject: int) -> Person:
        """The person of that number."""
        return _person(self, subject)

    def picture(self, number: int) -> Generator:
        """The generator of one picture."""
        return self._rng(2, number)


@lru_cache(maxsize=256)
def _person(seeds: Seeds, subject: int) -> Person:
    return person(seeds._rng(1, subject))


_SYLLABLES = ["ba", "den", "fi", "gor", "hal", "ka", "lun", "mi", "nor", "pel", "ra", "sto", "ti", "ul", "vin", "za"]


@dataclass(frozen=True)
class Plan:
    """One archive: its file name, how its pictures are taken, the pictures in order, members that are no pictures."""

    file: str
    style: Style
    pictures: list[DrawnPicture]
    others: list[Member] = field(default_factory=list)  # written last, as in a sorted folder
    loose: list[Member] = field(default_factory=list)  # files that lie beside the archive


def subjects(draw: DrawSettings, rng: Generator) -> list[int]:
    """The subject of every picture, in order; each has at least one picture, and some have many more than others."""
    people = min(draw.subjects, draw.pictures)
    weights = rng.gamma(4.0, size=people)
    counts = 1 + rng.multinomial(draw.pictures - people, weights / weights.sum())
    return np.repeat(np.arange(people), counts).tolist()


def spread_faults(count: int, shares: dict[Fault, float], rng: Generator) -> list[Fault]:
    """A fault, or none, for each of `count` pictures: shares of all, exact but for rounding, at random places."""
    faults: list[Fault] = [fault for fault, share in shares.items() for _ in range(round(share * count))]
    faults = (faults + [""] * count)[:count]
    return [faults[i] for i in rng.permutation(count)]


def text_member(name: str, lines: Iterable[str]) -> Member:
    """A text file of these lines."""
    return name, "".join(f"{line}\n" for line in lines).encode()


def full_name(subject: int) -> str:
    """An invented name that belongs to one number alone."""
    digits = [subject // 16**i % 16 for i in range(4)]
    first, last = ((_SYLLABLES[a] + _SYLLABLES[(b + 5 * a) % 16]).capitalize() for a, b in (digits[::2], digits[1::2]))
    return f"{first} {last}"


def bounded_normal(rng: Generator, mean: float, deviation: float, low: float, high: float, count: int) -> np.ndarray:
    """Normal ages, drawn again until inside; (count,)."""
    ages = rng.normal(mean, deviation, count)
    while (outside := (ages < low) | (ages > high)).any():
        ages[outside] = rng.normal(mean, deviation, int(outside.sum()))
    return ages
