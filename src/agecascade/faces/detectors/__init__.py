"""Detectors of faces: the data set's annotation, the whole picture, YuNet, RetinaFace.

A new detector is one file here and one line in `DETECTORS`. `faces.detection` calls them: it reduces the pictures, tries again
where no face is found, and drops detections that are no plausible face.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from agecascade.errors import FaceError, unknown_name
from agecascade.faces.crops import whole_face
from agecascade.faces.detectors.retinaface import RetinaFace
from agecascade.faces.detectors.yunet import YuNet
from agecascade.faces.detectors.yunet_onnx import YuNetOnnx
from agecascade.faces.face import Annotation, Face, Image, bounds, is_sound
from agecascade.params import Detection

__all__ = ["BLIND", "DETECTORS", "Annotation", "Detector", "Face", "create_detector"]


class Detector(Protocol):
    """Detects the faces of RGB pictures (H, W, 3) uint8, at the size that they have.

    Returns the faces of each picture in its pixels, in any order, independent of the other pictures of the call. It may hold a
    network, so that each thread needs its own. Raises cv2.error or RuntimeError where it fails on a picture.
    """

    batch: int  # the number of pictures that it takes best at once; it accepts any number

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]: ...


class FromAnnotation:
    """The face of the data set's annotation: its landmarks, else its box; no face where it has neither.

    A face with landmarks has the data set's box, or where that is missing or not sound, the box around all landmarks.
    """

    batch = 1

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [_annotated(image, annotation) for image, annotation in zip(images, annotations, strict=True)]


class Whole:
    """The whole picture as the face square, for data sets that publish crops."""

    batch = 1

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [[whole_face(image)] for image in images]


YUNETS: dict[str, type[YuNet] | type[YuNetOnnx]] = {"opencv": YuNet, "onnxruntime": YuNetOnnx}
DETECTORS: dict[str, Callable[[Detection], Detector]] = {
    "annotation": lambda detection: FromAnnotation(),
    "whole": lambda detection: Whole(),
    "yunet": lambda detection: YUNETS[detection.runtime](detection.min_score),
    "retinaface": lambda detection: RetinaFace(detection.min_score, detection.max_side, network=detection.network),
}
BLIND = frozenset({"annotation", "whole"})  # read no pixels: rotating or scaling the picture changes nothing

_per_thread = threading.local()


def create_detector(name: str, detection: Detection | None = None) -> Detector:
    """The detector of this name, created once in each thread; raises FaceError where there is none or it cannot run."""
    if name not in DETECTORS:
        raise FaceError(unknown_name("detector", name, DETECTORS))
    factory, detection = DETECTORS[name], detection or Detection()
    created = _per_thread.__dict__.setdefault("detectors", {})
    key = (factory, detection.min_score, detection.max_side, detection.network, detection.runtime)
    if key not in created:
        created[key] = factory(detection)
    return created[key]


def _annotated(image: Image, annotation: Annotation) -> list[Face]:
    box = None if annotation.box is None else np.asarray(annotation.box, dtype=np.float64)
    if annotation.landmarks is None or len(annotation.landmarks) < 5:
        return [] if box is None else [Face(box)]
    landmarks = np.asarray(annotation.landmarks, dtype=np.float64)
    points = landmarks[:5]
    if box is None or not is_sound(Face(box), image.shape):
        box = bounds(landmarks if np.isfinite(landmarks).all() else points)
    return [Face(box, points)]
