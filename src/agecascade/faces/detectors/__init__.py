"""Where the faces of a picture are: from the data set's annotation, the whole picture, YuNet or RetinaFace.

A new detector is one file here and one line in `DETECTORS`. `faces.finding` calls them: it reduces the pictures, tries again
where nothing is found, and drops answers that make no face.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from agecascade.errors import FaceError, unknown_name
from agecascade.faces.detectors.base import Detector
from agecascade.faces.detectors.published import FromAnnotation, Whole
from agecascade.faces.detectors.retinaface import RetinaFace
from agecascade.faces.detectors.yunet import YuNet
from agecascade.faces.face import Annotation, Face
from agecascade.params import Detection

__all__ = ["BLIND", "DETECTORS", "Annotation", "Detector", "Face", "create"]

DETECTORS: dict[str, Callable[[Detection], Detector]] = {
    "annotation": lambda detection: FromAnnotation(),
    "whole": lambda detection: Whole(),
    "yunet": lambda detection: YuNet(detection.min_score),
    "retinaface": lambda detection: RetinaFace(detection.min_score, detection.max_side),
}
BLIND = frozenset({"annotation", "whole"})  # look at no pixels: turning or scaling the picture changes nothing

_made = threading.local()


def create(name: str, detection: Detection | None = None) -> Detector:
    """The detector of this name, made once in each thread; raises FaceError where there is none or it cannot run."""
    if name not in DETECTORS:
        raise FaceError(unknown_name("detector", name, DETECTORS))
    make, detection = DETECTORS[name], detection or Detection()
    made = _made.__dict__.setdefault("detectors", {})
    key = (make, detection.min_score, detection.max_side)
    if key not in made:
        made[key] = make(detection)
    return made[key]
