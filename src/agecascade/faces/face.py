"""A face in a picture before it is cropped: the annotation by the data set, and the detection by a detector.

Coordinates are continuous: pixel i covers i to i + 1, so that scaling a picture scales its points by the same factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Annotation:
    """The face in a picture by its data set: landmarks (>= 5, 2), the first five in the template's order; box (4,)."""

    landmarks: Points | None = None
    box: Points | None = None


@dataclass(frozen=True, eq=False)
class Face:
    """One face: points (5, 2) in the template's order or None; box (4,) left, top, right, bottom; pixels of the picture."""

    box: Points
    points: Points | None = None
    score: float | None = None

    @property
    def area(self) -> float:
        """Area of the box in square pixels; zero or negative where the box is degenerate."""
        width, height = self.box[2:] - self.box[:2]
        return float(min(width, height) * max(width, height, 0.0))

    @property
    def centre(self) -> Points:
        """Centre (2,) of the box."""
        return (self.box[:2] + self.box[2:]) / 2


def bounds(points: Points) -> Points:
    """The box (4,) around points (N, 2)."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def is_sound(face: Face, shape: tuple[int, ...]) -> bool:
    """Whether a face is finite, its box has an area, and the centres of box and points lie inside a picture (H, W, ...)."""
    points = np.empty((0, 2)) if face.points is None else face.points
    score = 0.0 if face.score is None else face.score
    if not np.isfinite([*face.box, *points.ravel(), score]).all() or face.area <= 0:
        return False
    centres = [face.centre] if face.points is None else [face.centre, face.points.mean(axis=0)]
    return all(0 <= x <= shape[1] and 0 <= y <= shape[0] for x, y in centres)
