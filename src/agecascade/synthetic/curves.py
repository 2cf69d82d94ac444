"""Curves in the plane and in space: smoothed, mirrored, transformed all at once, seen by a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
