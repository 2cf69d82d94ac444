"""The faces of a picture: a detector, further attempts at other scales and rotations, and the choice of one face."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from agecascade.faces import detectors
from agecascade.faces.crops import transform_points
from agecascade.faces.detectors import Detector
from agecascade.faces.face import Annotation, Face, Image, Points, bounds, is_sound
from agecascade.params import Align, Detection

LONGEST = 32_766  # pixels; OpenCV warps no longer picture
MOST_BYTES = 2**31 - 1  # of a picture's pixels; OpenCV's warp addresses no more
SAME_FACE = 0.5  # share of the smaller box in the larger one from which two detections are one face
BLURRED = 48  # pixels of a face as the detector sees it; the points of a smaller one are inexact


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """The faces of one picture: sound ones only, the largest box first, in the picture's pixels."""

    faces: list[Face]
    attempt: str = "first"  # as Attempt.name
    unsound: Face | None = None  # a detection that is no plausible face (NaN, no area, outside), where there is no sound one
    fault: str = ""  # the detector's error message, where it failed on this picture


class Finder:
    """A detector that tries a picture again, rescaled and rotated, while no face is found; belongs to one thread.

    The order of attempts: the picture as it is; at each further scale; then, for each rotation, the rotated picture at the
    first and each further scale. A picture is done as soon as an attempt gives a sound face, or the detector fails on it.
    With a pyramid, a picture longer than `max_side` is looked at in finer levels before that, and the faces of all levels are merged.
    """

    def __init__(self, detector: Detector, detection: Detection | None) -> None:
        """detection: None for a detector that reads no pixels; then there is one attempt, on the picture itself."""
        self._detector = detector
        self._longest = detection.max_side if detection else None
        self._attempts = attempts(detection) if detection else [Attempt()]
        self._levels = [detection.max_side << level for level in range(1, detection.pyramid + 1)] if detection else []

    @property
    def batch(self) -> int:
        """The number of pictures that the detector takes best at once."""
        return self._detector.batch

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[DetectionResult]:
        """The result of each RGB picture (H, W, 3) uint8, of which there may be any number."""
        results = [DetectionResult([], fault=_too_large(image)) for image in images]
        for attempt in self._attempts:
            pending = [i for i, result in enumerate(results) if not result.faces and not result.fault]
            for i, result in self._look(pending, images, annotations, attempt, self._longest):
                results[i] = result if result.faces else replace(result, unsound=results[i].unsound or result.unsound)
            if attempt == self._attempts[0]:
                self._add_levels(results, images, annotations)
        return results

    def _look(
        self, rows: Sequence[int], images: Sequence[Image], annotations: Sequence[Annotation], attempt: Attempt, longest: int | None
    ) -> Iterator[tuple[int, DetectionResult]]:
        """(row, result) of one attempt at the pictures in these rows, in the detector's batches."""
        for start in range(0, len(rows), self.batch):
            batch = rows[start : start + self.batch]
            yield from zip(batch, self._try([images[i] for i in batch], [annotations[i] for i in batch], attempt, longest), strict=True)

    def _add_levels(self, results: list[DetectionResult], images: Sequence[Image], annotations: Sequence[Annotation]) -> None:
        """Merge the faces of finer levels into the results of the first attempt; no level is finer than the picture itself."""
        for longest in self._levels:
            sides = [max(image.shape[:2]) for image in images]
            larger = [i for i, side in enumerate(sides) if side > longest / 2 and not results[i].fault]
            for i, finer in self._look(larger, images, annotations, Attempt(), longest):
                if not finer.faces:
                    results[i] = results[i] if results[i].faces or not finer.fault else finer
                    continue
                blurred = BLURRED * sides[i] / self._levels[0] * 2
                results[i] = replace(results[i], faces=merged(results[i].faces, finer.faces, blurred))

    def _try(
        self, images: Sequence[Image], annotations: Sequence[Annotation], attempt: Attempt, longest: int | None
    ) -> list[DetectionResult]:
        """One attempt at some pictures; if it fails, one at each picture alone, so that only the faulty ones are lost."""
        try:
            inputs = [DetectorInput(image, np.ones(2)) if longest is None else detector_input(image, longest, attempt) for image in images]
            detections = self._detector([each.image for each in inputs], annotations)
        except (cv2.error, RuntimeError) as error:
            if len(images) == 1:
                return [DetectionResult([], attempt.name, fault=_one_line(error))]
            return [self._try([images[i]], [annotations[i]], attempt, longest)[0] for i in range(len(images))]
        return [
            _result([each.to_picture(face) for face in faces], image, attempt)
            for each, faces, image in zip(inputs, detections, images, strict=True)
        ]


def merged(coarse: list[Face], fine: list[Face], blurred: float) -> list[Face]:
    """The faces of two looks at one picture, each once, the largest first.

    Of one face that both have, the coarse look's stays, as in training; where its box is narrower than `blurred` pixels, so that its
    points are inexact, the one of the higher score does. What is much smaller than the face in which it lies is a pattern on it.
    """
    added: list[Face] = []
    for face in fine:
        rivals = [other for other in coarse if _overlap(face, other) > SAME_FACE]
        if all(min(other.box[2:] - other.box[:2]) < blurred and _replaces(face, other) for other in rivals):
            coarse = [other for other in coarse if all(other is not rival for rival in rivals)]
            added.append(face)
    return sorted([*coarse, *added], key=lambda face: face.area, reverse=True)


def _overlap(face: Face, other: Face) -> float:
    """The area in both boxes as a share of the smaller one's."""
    width, height = np.minimum(face.box[2:], other.box[2:]) - np.maximum(face.box[:2], other.box[:2])
    return float(max(width, 0) * max(height, 0) / min(face.area, other.area))


def _replaces(face: Face, other: Face) -> bool:
    return (face.score or 0.0) > (other.score or 0.0) and face.area > other.area / 4


def create_finder(detector: str, detection: Detection) -> Finder:
    """A finder with this thread's detector of that name; raises FaceError where there is none or it cannot run."""
    return Finder(detectors.create_detector(detector, detection), None if detector in detectors.BLIND else detection)


def filled_share(images: Sequence[Image], finder: Finder) -> float | None:
    """The median share of the shorter side that the largest face takes, near one in face crops; None where most pictures have no face."""
    shares = []
    for image, result in zip(images, finder(images, [Annotation()] * len(images)), strict=True):
        if result.faces:
            left, top, right, bottom = result.faces[0].box
            shares.append(max(right - left, bottom - top) / min(image.shape[:2]))
    return float(np.median(shares)) if 2 * len(shares) >= len(images) else None


def attempts(detection: Detection) -> list[Attempt]:
    """Every rotation at every scale, none twice, in the order in which they are tried; the first is the picture as it is."""
    distinct: dict[tuple[float, float], Attempt] = {}
    for rotation in (0.0, *detection.rotations):
        for scale in (1.0, *detection.scales):
            distinct.setdefault((rotation % 360, scale), Attempt(rotation, scale))
    return list(distinct.values())


def _result(faces: list[Face], image: Image, attempt: Attempt) -> DetectionResult:
    sound = [face for face in faces if is_sound(face, image.shape)]
    unsound = None if sound or not faces else faces[0]
    return DetectionResult(sorted(sound, key=lambda face: face.area, reverse=True), attempt.name, unsound)


def _too_large(image: Image) -> str:
    longest = max(image.shape[:2])
    if longest > LONGEST:
        return f"a side of {longest} pixels is longer than the {LONGEST} that OpenCV takes"
    return f"{image.nbytes:,} bytes of pixels are more than OpenCV's warp can address" if image.nbytes > MOST_BYTES else ""


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


@dataclass(frozen=True)
class Attempt:
    """How a picture is changed for the detector: rotated clockwise by degrees, scaled relative to its size within the longest side."""

    rotation: float = 0.0
    scale: float = 1.0

    @property
    def name(self) -> str:
        """As `attempt` of the aligned faces: first, rotation 90, scale 2, or "rotation 90, scale 2"."""
        parts = [f"rotation {self.rotation:g}"] * (self.rotation != 0) + [f"scale {self.scale:g}"] * (self.scale != 1)
        return ", ".join(parts) or "first"


@dataclass(frozen=True, eq=False)
class DetectorInput:
    """A picture as an attempt changes it. Detections are mapped back by `turn` to the unrotated picture, then by `scale`."""

    image: Image
    scale: Points  # (2,) pixels of the picture per pixel of the rescaled one, along x and y
    turn: Points | None = None  # (2, 3)
    quarter: bool = True  # rotated by multiples of 90 degrees, so that boxes stay boxes

    def to_picture(self, face: Face) -> Face:
        """A detected face in the picture's pixels.

        After a quarter turn the box is that around the rotated corners. After any other rotation it is a square at the same
        centre whose side is the longer one of the detected box: a box around the rotated corners would grow by up to 1.4.
        """
        points = None if face.points is None else self._map(face.points)
        corners = self._map(face.box.reshape(2, 2))  # (2, 2)
        if self.quarter:
            return Face(bounds(corners), points, face.score) if self.turn is not None else Face(corners.ravel(), points, face.score)
        half = (face.box[2:] - face.box[:2]).max() / 2 * math.sqrt(self.scale.prod())
        centre = corners.mean(axis=0)
        return Face(np.concatenate([centre - half, centre + half]), points, face.score)

    def _map(self, points: Points) -> Points:
        return (points if self.turn is None else transform_points(points, self.turn)) * self.scale


def detector_input(image: Image, longest: int, attempt: Attempt) -> DetectorInput:
    """An RGB picture (H, W, 3) changed for an attempt; its longer side, before rotation, is at most `longest` times the scale."""
    factor = min(1.0, longest / max(image.shape[:2])) * attempt.scale
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    scale = np.array([image.shape[1] / width, image.shape[0] / height])
    if (height, width) != image.shape[:2]:
        image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR), dtype=np.uint8
        )
    return _rotate(image, scale, attempt.rotation) if attempt.rotation % 360 else DetectorInput(image, scale)


def _rotate(image: Image, scale: Points, degrees: float) -> DetectorInput:
    """The picture rotated clockwise about its centre, on a canvas that holds all of it; its edge pixels are repeated outside."""
    quarters = degrees / 90
    if quarters.is_integer():
        canvas: Any = np.ascontiguousarray(np.rot90(image, -int(quarters)))
        forward = _rotation_matrix(image.shape, canvas.shape, *((1, 0), (0, 1), (-1, 0), (0, -1))[int(quarters) % 4])
    else:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        height, width = image.shape[:2]
        size = (math.ceil(abs(width * cosine) + abs(height * sine)), math.ceil(abs(width * sine) + abs(height * cosine)))
        forward = _rotation_matrix(image.shape, size[::-1], cosine, sine)
        centred = forward.copy()
        centred[:, 2] += 0.5 * (forward[:, 0] + forward[:, 1]) - 0.5  # in OpenCV, whole numbers are the centres of pixels
        canvas = cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return DetectorInput(canvas, scale, _inverse(forward), quarters.is_integer())


def _rotation_matrix(source: tuple[int, ...], target: tuple[int, ...], cosine: float, sine: float) -> Points:
    """The (2, 3) clockwise rotation that maps the centre of a picture (H, W, ...) to that of another."""
    turn = np.array([[cosine, -sine], [sine, cosine]], dtype=np.float64)
    shift = np.array([target[1], target[0]]) / 2 - turn @ np.array([source[1], source[0]]) / 2
    return np.column_stack([turn, shift])


def _inverse(forward: Points) -> Points:
    """The inverse (2, 3) of a rotation, whose linear part is inverted by transposing it."""
    return np.column_stack([forward[:, :2].T, -forward[:, :2].T @ forward[:, 2]])


@dataclass(frozen=True)
class NoFace:
    """Why a picture has no face to crop: a reason for counting and a detail for people."""

    reason: str  # no_face, bad_landmarks, detector_failed, many_faces, no_annotated_face
    detail: str


def choose_face(
    result: DetectionResult, image_shape: tuple[int, ...], annotation: Annotation, detector: str, settings: Align
) -> Face | NoFace:
    """The face of a picture (H, W, ...) that `settings.choose` selects, unless there are more than `settings.max_faces`.

    largest: the one with the largest box. central: the one whose box is nearest to the picture's centre. annotated: of the faces
    whose box holds the centre of the data set's annotation (the mean of its five points, else the centre of its box), the nearest.
    """
    size = f"{image_shape[1]}x{image_shape[0]}"
    if result.fault:
        return NoFace("detector_failed", f"{detector} failed on a picture of {size}: {result.fault}")
    if not result.faces and result.unsound is not None:
        return NoFace("bad_landmarks", f"{detector}: {describe_face(result.unsound)} make no face in {size}")
    if not result.faces:
        return NoFace("no_face", f"{detector} has no face in a picture of {size}")
    if settings.max_faces is not None and len(result.faces) > settings.max_faces:
        return NoFace("many_faces", f"{detector} has {len(result.faces)} faces, more than align.max_faces = {settings.max_faces}")
    if settings.choose == "annotated":
        return _annotated(result.faces, annotation, detector)
    if settings.choose == "central":
        return _nearest(result.faces, np.array([image_shape[1], image_shape[0]]) / 2)
    return result.faces[0]


def describe_face(face: Face) -> str:
    """The points of a face, or its box, as text for people."""
    name, values = ("box", face.box) if face.points is None else ("points", face.points.ravel())
    return f"{name} {' '.join(f'{value:g}' for value in values)}"


def annotated_centre(annotation: Annotation) -> Points | None:
    """(2,) the mean of the data set's first five points, else the centre of its box; None where it has neither."""
    landmarks, box = annotation.landmarks, annotation.box
    centres = [] if landmarks is None or len(landmarks) < 5 else [np.asarray(landmarks[:5], dtype=np.float64).mean(axis=0)]
    centres += [] if box is None else [Face(np.asarray(box, dtype=np.float64)).centre]
    return next((centre for centre in centres if np.isfinite(centre).all()), None)


def _annotated(faces: list[Face], annotation: Annotation, detector: str) -> Face | NoFace:
    centre = annotated_centre(annotation)
    if centre is None:
        return NoFace("no_annotated_face", f"{detector} has {len(faces)} faces, and the data set does not tell which it means")
    holding = [face for face in faces if (face.box[:2] <= centre).all() and (centre <= face.box[2:]).all()]
    if not holding:
        return NoFace("no_annotated_face", f"none of {detector}'s {len(faces)} faces holds the annotated {centre[0]:g} {centre[1]:g}")
    return _nearest(holding, centre)


def _nearest(faces: list[Face], place: Points) -> Face:
    """The first, and so the largest, of those whose box has its centre nearest to `place` (2,)."""
    return min(faces, key=lambda face: float(np.hypot(*(face.centre - place))))
