"""Who a drawn person is: what stays the same on all pictures. Lengths are in eye distances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.random import Generator

Colour = tuple[float, float, float]  # RGB, 0..255
Gender = Literal["female", "male"]

# skin from the lightest to the darkest tone
_SKIN = np.array([[245, 213, 192], [230, 190, 160], [208, 160, 125], [170, 120, 85], [132, 90, 66], [104, 70, 54]], float)
_HAIR = np.array([[38, 30, 28], [62, 42, 30], [98, 66, 42], [150, 108, 62], [205, 170, 110], [150, 70, 38]], float)
_IRIS = np.array([[70, 45, 28], [95, 68, 40], [90, 105, 70], [80, 115, 150], [110, 125, 135]], float)

# deviations of what varies normally between people; each is added to, or multiplies, a mean of `looks`
_TRAITS = {
    "width": 0.05, "jaw": 0.05, "chin": 0.08, "forehead": 0.07, "eye_size": 0.07, "eye_open": 0.1, "eye_slant": 0.025,
    "nose_length": 0.04, "nose_width": 0.1, "mouth_height": 0.03, "mouth_width": 0.08, "lips": 0.2, "brow_gap": 0.03,
    "brow_thickness": 0.22, "brow_arch": 0.03, "weight": 1.0, "wrinkling": 0.22, "ears": 0.12, "pace": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """What stays the same on all pictures of one person."""

    gender: Gender
    tone: float  # 0 light .. 1 dark
    skin: Colour
    hair: Colour
    iris: Colour
    hair_style: Literal["short", "medium", "long", "bun", "afro"]
    fringe: float  # how far hair falls into the forehead
    curl: float  # waviness of the hair's edge
    beard_style: Literal["none", "stubble", "moustache", "full"]
    grey_onset: float  # years
    bald_onset: float  # years
    bald_degree: float  # 0 .. 1
    glasses_onset: float  # years
    freckles: float  # 0 .. 1
    marks: int  # seed of where moles and spots lie
    traits: dict[str, float] = field(hash=False)  # see _TRAITS


def _between(table: np.ndarray, position: float) -> np.ndarray:
    """The colour at `position` (0..1) along a table of colours (n, 3)."""
    at = position * (len(table) - 1)
    return np.array([np.interp(at, range(len(table)), channel) for channel in table.T])


def person(rng: Generator) -> Person:
    """Draw a person."""
    gender: Gender = "female" if rng.random() < 0.5 else "male"
    female = gender == "female"
    tone = float(rng.beta(1.1, 1.5))
    # dark skin rarely goes with light hair and eyes
    hair = _HAIR[int(len(_HAIR) * rng.random() * (1 - tone) ** 0.7)]
    iris = _IRIS[int(len(_IRIS) * rng.random() * (1 - tone))]
    styles = ["short", "medium", "long", "bun", "afro"]
    chances = [0.12, 0.28, 0.38, 0.14, 0.08] if female else [0.78, 0.1, 0.02, 0.0, 0.1]
    return Person(
        gender=gender,
        tone=tone,
        skin=colour_of(_between(_SKIN, tone) + rng.normal(0, 5, 3)),
        hair=colour_of(hair * rng.uniform(0.8, 1.15)),
        iris=colour_of(iris * rng.uniform(0.85, 1.2)),
        hair_style=styles[int(rng.choice(5, p=chances))],  # type: ignore[arg-type]
        fringe=float(max(0.0, rng.normal(0, 0.13 if female else 0.07))),
        curl=float(rng.uniform(0, 1)),
        beard_style="none" if female else rng.choice(["none", "stubble", "moustache", "full"], p=[0.5, 0.25, 0.1, 0.15]).item(),
        grey_onset=float(rng.normal(42, 6)),
        bald_onset=float(rng.normal(60, 12) if female else rng.normal(33, 8)),
        bald_degree=float(rng.beta(1.2, 6) if female else rng.beta(1.2, 1.4)),
        glasses_onset=float(rng.choice([rng.uniform(6, 25), rng.uniform(40, 60), 200.0], p=[0.14, 0.26, 0.6])),
        freckles=float(max(0.0, rng.normal(-0.4, 0.6)) * (1 - tone)),
        marks=int(rng.integers(2**31)),
        traits=dict(
            zip(_TRAITS, (np.array(list(_TRAITS.values())) * np.clip(rng.normal(size=len(_TRAITS)), -2.2, 2.2)).tolist(), strict=True)
        ),
    )


def colour_of(values: np.ndarray) -> Colour:
    r, g, b = (bounded(channel, 0, 255) for channel in values.tolist())
    return r, g, b


def bounded(value: float, low: float, high: float) -> float:
    # numpy's clip takes ten times as long for one number
    return float(min(high, max(low, value)))
