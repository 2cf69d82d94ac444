"""How a picture is taken: pose, light, camera faults, and where the face lies in the frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi, radians, sin

import numpy as np
from numpy.random import Generator

from agecascade.synthetic.curves import Array
from agecascade.synthetic.identity import Colour

# The five points in the face square. Equal to the aligner's by a test, not by import: this is how publishers frame their
# crops, and it must not follow when the aligner changes.
TEMPLATE = np.array([[0.30, 0.30], [0.70, 0.30], [0.50, 0.56], [0.345, 0.705], [0.655, 0.705]])


@dataclass(frozen=True)
class Style:
    """How one data set frames and takes its pictures."""

    sides: tuple[int, int] = (88, 112)  # smallest and largest side of the picture, pixels
    margin: float = 0.0  # around the face square, in its sides
    shift: float = 0.015  # deviation of the face's place, in sides of the face square
    zoom: float = 0.03  # deviation of its size, as a factor
    roll: float = 3.0  # deviation, degrees
    yaw: float = 9.0  # deviation, degrees
    pitch: float = 5.0  # deviation, degrees
    gray: float = 0.04  # chance of a black and white picture
    blur: float = 1.0  # 0 none, 1 usual, more for bad cameras


@dataclass(frozen=True)
class View:
    """One shot."""

    side: int  # pixels
    yaw: float  # degrees
    pitch: float
    roll: float
    zoom: float
    shift: tuple[float, float]
    margin: float
    light: tuple[float, float]  # direction and strength of the light from the right and from below
    gains: tuple[float, float, float]  # RGB
    blur: float  # deviation in pixels
    noise: float  # grey levels
    quality: int  # of the JPEG
    gray: bool
    background: np.ndarray = field(repr=False)  # (5, 5, 3) uint8
    clothes: Colour


def take(style: Style, rng: Generator) -> View:
    """Draw how one picture is taken."""
    angle, strength = rng.uniform(0, 2 * pi), rng.uniform(0.02, 0.3)
    exposure = rng.uniform(0.82, 1.15)
    base = rng.uniform(30, 225) + rng.normal(0, 22, 3)
    return View(
        side=int(rng.integers(style.sides[0], style.sides[1] + 1)),
        yaw=_bounded(rng, style.yaw, 2.5),
        pitch=_bounded(rng, style.pitch, 2.5),
        roll=_bounded(rng, style.roll, 2.5),
        zoom=1 + _bounded(rng, style.zoom, 2.5),
        shift=(_bounded(rng, style.shift, 2.5), _bounded(rng, style.shift, 2.5)),
        margin=style.margin,
        light=(strength * cos(angle), 0.7 * strength * sin(angle) - 0.05),
        gains=tuple((exposure * np.clip(rng.normal(1, 0.04, 3), 0.88, 1.12)).tolist()),
        blur=style.blur * min(1.4, rng.gamma(1.2, 0.35)),
        noise=style.blur * min(7.0, rng.gamma(1.5, 1.8)),
        quality=int(rng.integers(62, 96)),
        gray=bool(rng.random() < style.gray),
        background=np.clip(base + rng.normal(0, 30, (5, 5, 1)) + rng.normal(0, 12, (5, 5, 3)), 0, 255).astype(np.uint8),
        clothes=(rng.uniform(15, 240), rng.uniform(15, 240), rng.uniform(15, 240)),
    )


def _bounded(rng: Generator, deviation: float, limit: float) -> float:
    return deviation * min(limit, max(-limit, rng.normal()))


def similarity(source: Array, target: Array) -> Array:
    """The similarity transform (2, 3) that maps points (n, 2) onto others with the least squared error.

    As a complex number the transform is z -> a z + b.
    """
    z, w = source @ [1, 1j], target @ [1, 1j]
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def placement(five: Array, view: View) -> Array:
    """The transform (2, 3) from the posed face's lengths to the unit picture, given its five points (5, 2)."""
    fit = similarity(five, TEMPLATE)
    spin = view.zoom * np.exp(1j * radians(view.roll))
    turn = np.array([[spin.real, -spin.imag], [spin.imag, spin.real]])
    linear = turn @ fit[:, :2]
    offset = turn @ (fit[:, 2] - 0.5) + 0.5 + view.shift
    return np.column_stack([linear, offset + view.margin]) / (1 + 2 * view.margin)


def moved(matrix: Array, points: Array) -> Array:
    """Points (n, 2) through a transform (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]
