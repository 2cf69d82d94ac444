"""Where the faces of a picture are: from the data set's annotation, the whole picture, or YuNet.

A new detector is one class here and one line in `DETECTORS`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from agecascade.errors import FaceError, unknown_name
from agecascade.faces.alignment import Image, Points

YUNET_FILE = "face_detection_yunet.onnx"  # in the mirror
YUNET_URL = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_SIDE = 640  # pixels; longer pictures are reduced for detection, as YuNet was trained on faces of 10 to 300 pixels
YUNET_SCORE = 0.7
YUNET_OVERLAP = 0.3  # of the boxes of one face, in non-maximum suppression


@dataclass(frozen=True, eq=False)
class Annotation:
    """What the data set says of a picture: landmarks (>= 5, 2), the first five in the template's order; box (4,)."""

    landmarks: Points | None = None
    box: Points | None = None


@dataclass(frozen=True, eq=False)
class Face:
    """One face: points (5, 2) in the template's order or None; box (4,) left, top, right, bottom; pixels of the picture."""

    box: Points
    points: Points | None = None
    score: float | None = None


class Detector(Protocol):
    """Finds the faces of an RGB picture (H, W, 3) uint8, the largest first."""

    def __call__(self, image: Image, annotation: Annotation) -> list[Face]: ...


class FromAnnotation:
    """The data set's own landmarks, else its box; no face where it has neither."""

    def __call__(self, image: Image, annotation: Annotation) -> list[Face]:
        points = annotation.landmarks
        if points is not None and len(points) >= 5:
            points = np.asarray(points[:5], dtype=np.float64)
            return [Face(np.concatenate([points.min(axis=0), points.max(axis=0)]), points)]
        return [] if annotation.box is None else [Face(np.asarray(annotation.box, dtype=np.float64))]


class Whole:
    """The picture itself is the face square, as in sets that publish crops."""

    def __call__(self, image: Image, annotation: Annotation) -> list[Face]:
        height, width = image.shape[:2]
        return [Face(np.array([0.0, 0.0, width, height]))]


class YuNet:
    """OpenCV's YuNet (Wu et al. 2023): box, five points and score. Holds a network: one object per thread.

    Raises FaceError where the model is missing or is none.
    """

    def __init__(self, model: Path | None = None) -> None:
        model = model or yunet_model()
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a target that nobody asked for
        try:
            side = (YUNET_SIDE, YUNET_SIDE)
            self._network = cv2.FaceDetectorYN.create(str(model), "", side, YUNET_SCORE, YUNET_OVERLAP)
        except cv2.error:
            raise FaceError(f"{model}: OpenCV cannot read it as a YuNet model; replace it by {YUNET_URL}") from None
        finally:
            cv2.utils.logging.setLogLevel(level)

    def __call__(self, image: Image, annotation: Annotation) -> list[Face]:
        scale = min(1.0, YUNET_SIDE / max(image.shape[:2]))
        width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
        small = image if scale == 1 else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        self._network.setInputSize((width, height))
        _, found = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if found is None:
            return []
        back = np.array([image.shape[1] / width, image.shape[0] / height])
        faces = [self._face(row.astype(np.float64), back) for row in found]
        return sorted(faces, key=_area, reverse=True)

    @staticmethod
    def _face(row: Points, back: Points) -> Face:
        """One row (15,) of OpenCV's answer: left, top, width, height, five points, score."""
        corners = np.stack([row[:2], row[:2] + row[2:4]]) * back  # (2, 2)
        return Face(corners.ravel(), row[4:14].reshape(5, 2) * back, float(row[14]))


def _area(face: Face) -> float:
    return float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))


DETECTORS: dict[str, Callable[[], Detector]] = {"annotation": FromAnnotation, "whole": Whole, "yunet": YuNet}


_made = threading.local()


def create(name: str) -> Detector:
    """The detector of this name, made once in each thread; raises FaceError where there is none or it cannot run."""
    if name not in DETECTORS:
        raise FaceError(unknown_name("detector", name, DETECTORS))
    detectors = _made.__dict__
    if name not in detectors:
        detectors[name] = DETECTORS[name]()
    return detectors[name]


def yunet_model() -> Path:
    """The model file: from the mirror or archives/, else from the user's cache, fetched into it the first time (227 KiB).

    Raises FaceError where it cannot be had.
    """
    import pooch

    from agecascade.fetch import repository_root

    for place in filter(None, [os.environ.get("AGECASCADE_MIRROR"), "archives"]):
        file = repository_root() / place / YUNET_FILE  # an absolute mirror stays as it is
        if file.is_file():
            return file
    folder = Path(pooch.os_cache("agecascade"))
    try:
        return Path(pooch.retrieve(YUNET_URL, f"sha256:{YUNET_SHA256}", fname=Path(YUNET_URL).name, path=folder))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: another checksum
        reason = str(error).splitlines()[0][:120]
        raise FaceError(
            f"the face detector {YUNET_FILE} is missing and could not be fetched ({reason}); "
            f"put it into archives/ or the folder that AGECASCADE_MIRROR names, or download {YUNET_URL} to {folder}"
        ) from None
