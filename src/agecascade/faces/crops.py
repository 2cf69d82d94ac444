"""From a picture to an upright crop: similarity alignment and one warp.

The align stage and the Estimator call the same `cut`, whatever detector the face is from.
Coordinates are continuous: pixel i covers i to i + 1, so that scaling a picture scales its points by the same factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from agecascade.faces.face import Annotation, Face, Image, Points, bounds

# Right eye, left eye (the subject's own), nose, right and left mouth corner in the unit square, "the face square": the mean
# framing of the published UTKFace crops as YuNet sees them, so that those crops taken whole agree with aligned faces of other sets.
TEMPLATE = ((0.30, 0.30), (0.70, 0.30), (0.50, 0.56), (0.345, 0.705), (0.655, 0.705))

SMALLEST_SIDE = 4.0  # pixels of a face square; a smaller one is a collapsed annotation, not a face
LARGEST_SIDE = 4.0  # of a face square, in longer sides of its picture; a larger one would show almost nothing but border
LARGEST_CANVAS = 8192  # pixels; OpenCV warps nothing beyond 32,767
PADDED_SHARE = 4  # picture pixels per canvas pixel up to which adding a fourth channel saves time


@dataclass(frozen=True, eq=False)
class Cut:
    """A crop (S, S, 3) and the (2, 3) transform from the picture to it."""

    image: Image
    matrix: Points


@dataclass(frozen=True)
class Frame:
    """How a face square is cropped: the crop's side in pixels, and the margin on each side as a share of the square.

    crop: how the face square is defined. similarity: the points fit the template, so that the face is upright; without points, the
    square around the box. box: the square around the box, not turned. hull: the square around all landmarks, not turned.
    """

    size: int
    margin: float = 0.0
    crop: str = "similarity"
    template: tuple[tuple[float, float], ...] = TEMPLATE

    @property
    def points(self) -> Points:
        """(5, 2) pixels at which the template's points stand in the crop."""
        return (np.array(self.template) + self.margin) / (1 + 2 * self.margin) * self.size


def fit_similarity(points: Points, target: Points) -> Points:
    """The (2, 3) rotation, scale and shift that takes `points` nearest to `target` in least squares (Umeyama 1991, no reflection).

    points, target: (N, 2). As complex numbers, a similarity of the plane is z -> a z + b, and the least squares are linear.
    Points that coincide give infinities or NaN, which `usable` rejects.
    """
    plane = np.array([1, 1j])
    with np.errstate(all="ignore"):
        source, goal = points @ plane, target @ plane  # (N,)
        centred = source - source.mean()
        a = np.vdot(centred, goal - goal.mean()) / np.vdot(centred, centred).real
        b = goal.mean() - a * source.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])  # (2, 3)


def box_similarity(box: Points, frame: Frame) -> Points:
    """The (2, 3) scale and shift that crop a square at the centre of a box, with the longer side of the box.

    box: (4,) left, top, right, bottom in pixels.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    side = max(right - left, bottom - top)
    scale = frame.size / ((1 + 2 * frame.margin) * side) if side > 0 else math.nan
    x, y = (left + right) / 2, (top + bottom) / 2
    return np.array([[scale, 0.0, frame.size / 2 - scale * x], [0.0, scale, frame.size / 2 - scale * y]])


def transform(face: Face, annotation: Annotation, frame: Frame) -> Points:
    """The (2, 3) similarity from the picture to the crop, as `frame.crop` says.

    The hull is that of the data set's landmarks where the face has its points from there, else that of the detector's five.
    """
    if face.points is None or frame.crop == "box":
        return box_similarity(np.asarray(face.box, dtype=np.float64), frame)
    if frame.crop == "hull":
        return box_similarity(bounds(_landmarks(face.points, annotation)), frame)
    return fit_similarity(np.asarray(face.points, dtype=np.float64), frame.points)


def whole_face(image: Image) -> Face:
    """A face whose box is the whole picture (H, W, 3)."""
    height, width = image.shape[:2]
    return Face(np.array([0.0, 0.0, width, height]))


def cut(image: Image, face: Face, annotation: Annotation, frame: Frame) -> Cut | None:
    """The crop of one face of an RGB picture (H, W, 3); None where its points or its box are no plausible face (`usable`)."""
    matrix = transform(face, annotation, frame)
    return Cut(warp(image, matrix, frame.size), matrix) if usable(matrix, image.shape, frame) else None


def scale_of(matrix: Points) -> float:
    """Crop pixels per picture pixel."""
    return math.hypot(matrix[0, 0], matrix[1, 0])


def roll(matrix: Points) -> float:
    """Degrees by which the picture was rotated clockwise to make the face upright: -180 to 180."""
    return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def face_size(matrix: Points, frame: Frame) -> float:
    """Side of the face square, without margin, in the picture's pixels."""
    return frame.size / (1 + 2 * frame.margin) / scale_of(matrix)


def usable(matrix: Points, shape: tuple[int, ...], frame: Frame) -> bool:
    """Whether the crop is a finite, reasonably sized square centred inside a picture of this shape (H, W, ...)."""
    scale = scale_of(matrix)
    if not (np.isfinite(matrix).all() and scale > 0):
        return False
    side = face_size(matrix, frame)
    x, y = np.linalg.solve(matrix[:, :2], frame.size / 2 - matrix[:, 2])  # the crop's centre in the picture
    inside = bool(0 <= x <= shape[1] and 0 <= y <= shape[0])
    return inside and SMALLEST_SIDE <= side <= LARGEST_SIDE * max(shape[:2])


def _landmarks(points: Points, annotation: Annotation) -> Points:
    """All landmarks of the data set where its first five are `points`, else `points` alone."""
    published = annotation.landmarks
    return np.asarray(points if published is None or not np.array_equal(points, published[:5]) else published, dtype=np.float64)


def transform_points(points: Points, matrix: Points) -> Points:
    """Points (N, 2) under a (2, 3) transform."""
    return points @ matrix[:, :2].T + matrix[:, 2]  # (N, 2)


def warp(image: Image, matrix: Points, size: int) -> Image:
    """The crop (size, size, 3) of an RGB picture (H, W, 3) under a (2, 3) transform; the picture's edge pixels are repeated outside.

    The picture is sampled once, at least as densely as its own pixels, and each block of samples is averaged into one pixel of
    the crop: a strong reduction shows no aliasing, and a picture that already is the crop stays the same bit for bit.
    """
    dense = math.ceil(1 / scale_of(matrix) - 1e-6)
    dense = max(1, min(dense, LARGEST_CANVAS // size))
    # in OpenCV, whole numbers are the centres of pixels
    sampled = matrix * dense
    sampled[:, 2] += 0.5 * (sampled[:, 0] + sampled[:, 1]) - 0.5
    crop = _interpolate(image, sampled, size * dense)
    return crop if dense == 1 else np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _interpolate(image: Image, matrix: Points, side: int) -> Image:
    """An RGB picture (H, W, 3) warped to (side, side, 3) by linear interpolation."""
    # OpenCV takes half the time for four channels and gives the same bits; copying a large picture would cost more than that
    padded = image.shape[0] * image.shape[1] <= PADDED_SHARE * side**2
    source = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) if padded else image
    crop: Any = cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB) if padded else crop
