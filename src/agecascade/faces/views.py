"""A picture as one attempt shows it to a detector, reduced, enlarged or turned, and the way of what was found there back to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from agecascade.faces.alignment import place
from agecascade.faces.face import Face, Image, Points, bounds


@dataclass(frozen=True)
class Attempt:
    """How a picture is shown: turned by degrees, clockwise as seen, at a multiple of its size (that reduced to the longest side)."""

    rotation: float = 0.0
    scale: float = 1.0

    @property
    def name(self) -> str:
        """As `attempt` of the aligned faces: first, rotation 90, scale 2, or "rotation 90, scale 2"."""
        parts = [f"rotation {self.rotation:g}"] * (self.rotation != 0) + [f"scale {self.scale:g}"] * (self.scale != 1)
        return ", ".join(parts) or "first"


@dataclass(frozen=True, eq=False)
class View:
    """What the detector sees of a picture. Coordinates go back by `turn`, from the view to the reduced picture, then by `scale`."""

    image: Image
    scale: Points  # (2,) pixels of the picture per pixel of the reduced one, along x and y
    turn: Points | None = None  # (2, 3)
    quarter: bool = True  # turned by multiples of 90 degrees: boxes stay boxes

    def back(self, face: Face) -> Face:
        """A face of the view in the picture's pixels.

        The box of a turned face holds the corners of the box found only where they stand square. Elsewhere it is a square about
        the same centre whose side is the found box's longer one: a box around the turned corners would grow by up to 1.4.
        """
        points = None if face.points is None else self._back(face.points)
        corners = self._back(face.box.reshape(2, 2))  # (2, 2)
        if self.quarter:
            return Face(bounds(corners), points, face.score) if self.turn is not None else Face(corners.ravel(), points, face.score)
        half = (face.box[2:] - face.box[:2]).max() / 2 * math.sqrt(self.scale.prod())
        centre = corners.mean(axis=0)
        return Face(np.concatenate([centre - half, centre + half]), points, face.score)

    def _back(self, points: Points) -> Points:
        return (points if self.turn is None else place(points, self.turn)) * self.scale


def view(image: Image, longest: int, attempt: Attempt) -> View:
    """An RGB picture (H, W, 3) as `attempt` shows it; its longer side, before it is turned, is at most `longest` times the scale."""
    factor = min(1.0, longest / max(image.shape[:2])) * attempt.scale
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    scale = np.array([image.shape[1] / width, image.shape[0] / height])
    if (height, width) != image.shape[:2]:
        image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR), dtype=np.uint8
        )
    return _turned(image, scale, attempt.rotation) if attempt.rotation % 360 else View(image, scale)


def _turned(image: Image, scale: Points, degrees: float) -> View:
    """The whole picture turned clockwise about its centre, on a canvas that holds it, its border continued."""
    quarters = degrees / 90
    if quarters.is_integer():
        canvas: Any = np.ascontiguousarray(np.rot90(image, -int(quarters)))
        forth = _rotation(image.shape, canvas.shape, *((1, 0), (0, 1), (-1, 0), (0, -1))[int(quarters) % 4])
    else:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        height, width = image.shape[:2]
        size = (math.ceil(abs(width * cosine) + abs(height * sine)), math.ceil(abs(width * sine) + abs(height * cosine)))
        forth = _rotation(image.shape, size[::-1], cosine, sine)
        centred = forth.copy()
        centred[:, 2] += 0.5 * (forth[:, 0] + forth[:, 1]) - 0.5  # OpenCV counts from the centres of the pixels
        canvas = cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return View(canvas, scale, _inverse(forth), quarters.is_integer())


def _rotation(source: tuple[int, ...], target: tuple[int, ...], cosine: float, sine: float) -> Points:
    """The (2, 3) clockwise turn that takes the centre of a picture (H, W, ...) to that of another."""
    turn = np.array([[cosine, -sine], [sine, cosine]], dtype=np.float64)
    shift = np.array([target[1], target[0]]) / 2 - turn @ np.array([source[1], source[0]]) / 2
    return np.column_stack([turn, shift])


def _inverse(forth: Points) -> Points:
    """The (2, 3) way back of a turn, whose transpose is its inverse."""
    return np.column_stack([forth[:, :2].T, -forth[:, :2].T @ forth[:, 2]])
