"""Curves in the plane and in space: smoothed, mirrored, transformed all at once, seen by a camera, and drawn on a canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import cos, hypot, radians, sin

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agecascade.synthetic.people import Colour

Array = NDArray[np.float64]

_NECK_PIVOT = 0.5  # y about which the head nods


@dataclass(frozen=True)
class Curves:
    """Named curves that lie in one array, so that all are transformed at once."""

    points: NDArray[np.generic]  # (N, d)
    spans: dict[str, slice]

    @staticmethod
    def of(named: dict[str, Array]) -> Curves:
        """From curves (n, d)."""
        ends = np.cumsum([len(points) for points in named.values()]).tolist()
        spans = {name: slice(end - len(points), end) for (name, points), end in zip(named.items(), ends, strict=True)}
        return Curves(np.concatenate(list(named.values())), spans)

    def __getitem__(self, name: str) -> NDArray:
        return self.points[self.spans[name]]

    def through(self, transform: Callable[[NDArray], NDArray]) -> Curves:
        """The same curves after `transform` of all points."""
        return Curves(transform(self.points), self.spans)


@lru_cache
def _spline(controls: int, samples: int, closed: bool) -> Array:
    """(samples, controls): what a cubic spline through the controls makes of them; closed curves repeat no point."""
    from scipy.interpolate import CubicSpline

    knots = np.eye(controls)
    if closed:
        knots = np.vstack([knots, knots[:1]])
    spline = CubicSpline(np.arange(len(knots)), knots, bc_type="periodic" if closed else "natural")
    basis: Array = spline(np.linspace(0, len(knots) - 1, samples, endpoint=not closed))
    return basis


def smooth(controls: ArrayLike, samples: int, closed: bool = False) -> Array:
    """A smooth curve (samples, d) through the controls (n, d)."""
    through = np.asarray(controls, float)
    return _spline(len(through), samples, closed) @ through


def columns(*columns: ArrayLike) -> Array:
    """Columns side by side, single numbers repeated: (n, d); np.column_stack takes four times as long."""
    joined = np.empty((len(np.asarray(columns[0])), len(columns)))
    for i, column in enumerate(columns):
        joined[:, i] = column
    return joined


def mirror(half: ArrayLike) -> Array:
    """The same points on the other side of the face, in the opposite order."""
    return np.asarray(half, float)[::-1] * [-1, 1]


def pose(points: NDArray, yaw: float, pitch: float) -> Array:
    """Points (n, 3) seen by a camera far away, after turning the head; degrees. Returns (n, 2)."""
    x, y, z = points.T
    turn, nod = radians(yaw), radians(pitch)
    depth = z * cos(turn) - x * sin(turn)
    seen = np.empty((len(points), 2))
    seen[:, 0] = x * cos(turn) + z * sin(turn)
    seen[:, 1] = (y - _NECK_PIVOT) * cos(nod) + depth * sin(nod) + _NECK_PIVOT
    return seen


def similarity(source: Array, target: Array) -> Array:
    """The similarity transform (2, 3) that maps points (n, 2) onto others with the least squared error.

    As a complex number the transform is z -> a z + b.
    """
    z, w = source @ [1, 1j], target @ [1, 1j]
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def moved(matrix: Array, points: Array) -> Array:
    """Points (n, 2) through a transform (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


FRACTION = 4  # bits behind the point in the coordinates given to OpenCV


def fixed(points: Array) -> np.ndarray:
    """Points (n, 2) in pixels as OpenCV's fixed-point polygon (n, 1, 2); its pixel centres lie at whole numbers."""
    return np.rint((points - 0.5) * (1 << FRACTION)).astype(np.int32)[:, None]


@dataclass
class Canvas:
    """The picture, the posed curves, and the transform (2, 3) that brings them from eye distances to pixels."""

    image: np.ndarray  # (side, side, 3) RGB uint8
    seen: Curves
    to_pixels: Array

    @property
    def side(self) -> int:
        """Pixels."""
        return len(self.image)

    @cached_property
    def unit(self) -> float:
        """Pixels in an eye distance."""
        return hypot(*self.to_pixels[:, 0])

    @cached_property
    def pixels(self) -> Curves:
        """All curves as fixed-point polygons (n, 1, 2)."""
        return self.seen.through(lambda points: fixed(moved(self.to_pixels, points)))

    def area(self, *names: str) -> tuple[slice, slice]:
        """The rows and columns around some curves."""
        x, y, w, h = cv2.boundingRect(np.concatenate([self.pixels[name] for name in names]) >> FRACTION)
        return slice(max(0, y - 2), max(0, y + h + 3)), slice(max(0, x - 2), max(0, x + w + 3))

    def fill(self, name: str, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a closed curve."""
        area = self.area(name) if alpha < 1 else None
        below = self.image[area].copy() if area else None
        cv2.fillPoly(self.image, [self.pixels[name]], colour, cv2.LINE_AA, FRACTION)
        if area is not None and below is not None and below.size:
            self.image[area] = cv2.addWeighted(self.image[area], alpha, below, 1 - alpha, 0)

    def line(self, name: str, colour: Colour, width: float, closed: bool = False) -> None:
        """Draw along a curve; `width` in eye distances."""
        self.strokes([self.pixels[name]], colour, width, closed)

    def strokes(self, polygons: list[np.ndarray], colour: Colour, width: float, closed: bool = False) -> None:
        """Draw along fixed-point polygons; `width` in eye distances."""
        cv2.polylines(self.image, polygons, closed, colour, max(1, round(width * self.unit)), cv2.LINE_AA, FRACTION)

    def dot(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """Fill a circle around a fixed-point place (2,); `radius` in eye distances."""
        cv2.circle(self.image, centre.tolist(), int(radius * self.unit * (1 << FRACTION)), colour, -1, cv2.LINE_AA, FRACTION)
