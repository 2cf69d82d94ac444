"""YuNet (Wu et al. 2023) as OpenCV runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from agecascade.errors import FaceError
from agecascade.faces.detectors.weights import YUNET, yunet_file
from agecascade.faces.face import Annotation, Face, Image, Points

_CREATING = Lock()  # the level of OpenCV's log is that of all threads: one would restore it while another creates
OVERLAP = 0.3  # of the boxes of one face, in non-maximum suppression


class YuNet:
    """OpenCV's YuNet: box, five points and score of each face.

    Raises FaceError where the model file is missing or is no YuNet model.
    """

    batch = 1

    def __init__(self, min_score: float, model: Path | None = None) -> None:
        model = model or yunet_file()
        with _CREATING:
            level = cv2.utils.logging.getLogLevel()
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a target that is not used
            try:
                self._network = cv2.FaceDetectorYN.create(str(model), "", (640, 640), min_score, OVERLAP)
            except cv2.error:
                raise FaceError(f"{model}: OpenCV cannot read it as a YuNet model; replace it by {YUNET.url}") from None
            finally:
                cv2.utils.logging.setLogLevel(level)

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [self._faces(image) for image in images]

    def _faces(self, image: Image) -> list[Face]:
        self._network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [face_of(row.astype(np.float64)) for row in rows]


def face_of(row: Points) -> Face:
    """One row (15,) of OpenCV's result: left, top, width, height, five points, score."""
    return Face(np.concatenate([row[:2], row[:2] + row[2:4]]), row[4:14].reshape(5, 2), float(row[14]))
