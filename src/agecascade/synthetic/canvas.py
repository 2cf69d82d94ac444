"""A picture being drawn with OpenCV's antialiased shapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import hypot

import cv2
import numpy as np

from agecascade.synthetic.curves import Array, Curves
from agecascade.synthetic.identity import Colour
from agecascade.synthetic.view import moved

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
