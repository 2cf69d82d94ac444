"""What the plans of all publishers share: who is pictured how often at which age, with which faults."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.rendering import Fault, Member, Picture
from agecascade.synthetic.view import Style

_SYLLABLES = ["ba", "den", "fi", "gor", "hal", "ka", "lun", "mi", "nor", "pel", "ra", "sto", "ti", "ul", "vin", "za"]


@dataclass(frozen=True)
class Plan:
    """One archive: its file name, how its pictures are taken, the pictures in order, members that are no pictures."""

    file: str
    style: Style
    pictures: list[Picture]
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
