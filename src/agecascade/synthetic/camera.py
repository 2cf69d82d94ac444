"""How a picture is taken: pose, light, place of the face in the frame, faults of the camera, and the publisher's JPEG."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi, radians, sin

import cv2
import numpy as np
from numpy.random import Generator

from agecascade.synthetic.curves import Array, similarity
from agecascade.synthetic.people import Colour

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
class Viewpoint:
    """Viewpoint and settings of the camera in one picture."""

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


def take(style: Style, rng: Generator) -> Viewpoint:
    """Draw how one picture is taken."""
    angle, strength = rng.uniform(0, 2 * pi), rng.uniform(0.02, 0.3)
    exposure = rng.uniform(0.82, 1.15)
    base = rng.uniform(30, 225) + rng.normal(0, 22, 3)
    return Viewpoint(
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


def placement(five: Array, view: Viewpoint) -> Array:
    """The transform (2, 3) from the posed face's lengths to the unit picture, given its five points (5, 2)."""
    fit = similarity(five, TEMPLATE)
    spin = view.zoom * np.exp(1j * radians(view.roll))
    turn = np.array([[spin.real, -spin.imag], [spin.imag, spin.real]])
    linear = turn @ fit[:, :2]
    offset = turn @ (fit[:, 2] - 0.5) + 0.5 + view.shift
    return np.column_stack([linear, offset + view.margin]) / (1 + 2 * view.margin)


def develop(drawing: np.ndarray, view: Viewpoint, rng: Generator) -> np.ndarray:
    """The drawing (any side, RGB) as a picture of `view.side` pixels: blurred, reduced, noisy. Returns (side, side, 3) RGB."""
    image = cv2.resize(drawing, (view.side, view.side), interpolation=cv2.INTER_AREA)
    if view.blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), view.blur)
    if view.gray:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # one random byte a channel: after the JPEG nobody tells uniform noise from normal, and it costs a tenth
    grain = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)  # deviation 74
    return cv2.addWeighted(image, 1.0, grain, view.noise / 74, -127.5 * view.noise / 74)


def encode(image: np.ndarray, quality: int) -> bytes:
    """RGB picture as JPEG."""
    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
