"""From pictures to the faces in them: a detector, further attempts where it finds nothing, and no answer that makes no face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from agecascade.faces import detectors
from agecascade.faces.detectors.base import Detector
from agecascade.faces.face import Annotation, Face, Image, is_sound
from agecascade.faces.views import Attempt, View, view
from agecascade.params import Detection

LONGEST = 32_766  # pixels; OpenCV warps no longer picture


@dataclass(frozen=True, eq=False)
class Finding:
    """What was found in one picture: sound faces only, the largest box first, in the picture's pixels."""

    faces: list[Face]
    attempt: str = "first"  # as Attempt.name
    unsound: Face | None = None  # an answer that makes no face (NaN, no area, outside), where there is no sound one
    fault: str = ""  # what the detector said when it failed on this picture


class Finder:
    """A detector with its further attempts; holds the detector of one thread.

    The order of attempts: the picture as it is; at each further scale; then, for each rotation, as it is turned, and turned at each
    further scale. A picture leaves the row as soon as something sound is found in it, or the detector fails on it.
    """

    def __init__(self, detector: Detector, detection: Detection | None) -> None:
        """detection: None for a detector that looks at no pixels; then there is one attempt, on the picture itself."""
        self._detector = detector
        self._longest = detection.max_side if detection else None
        self._attempts = attempts(detection) if detection else [Attempt()]

    @property
    def batch(self) -> int:
        """Pictures that the detector likes at once."""
        return self._detector.batch

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[Finding]:
        """What is found in RGB pictures (H, W, 3) uint8, of which there may be any number."""
        findings = [Finding([], fault=_too_long(image)) for image in images]
        for attempt in self._attempts:
            left = [i for i, finding in enumerate(findings) if not finding.faces and not finding.fault]
            for start in range(0, len(left), self.batch):
                chosen = left[start : start + self.batch]
                found = self._attempt([images[i] for i in chosen], [annotations[i] for i in chosen], attempt)
                for i, finding in zip(chosen, found, strict=True):
                    findings[i] = finding if finding.faces else replace(finding, unsound=findings[i].unsound or finding.unsound)
        return findings

    def _attempt(self, images: Sequence[Image], annotations: Sequence[Annotation], attempt: Attempt) -> list[Finding]:
        """One attempt at pictures; where it fails, at each by itself, so that only those at fault are lost."""
        try:
            views = [View(image, np.ones(2)) if self._longest is None else view(image, self._longest, attempt) for image in images]
            answers = self._detector([shown.image for shown in views], annotations)
        except (cv2.error, RuntimeError) as error:
            if len(images) == 1:
                return [Finding([], attempt.name, fault=_line(error))]
            return [self._attempt([images[i]], [annotations[i]], attempt)[0] for i in range(len(images))]
        return [
            _finding([shown.back(face) for face in faces], image, attempt)
            for shown, faces, image in zip(views, answers, images, strict=True)
        ]


def finder(detector: str, detection: Detection) -> Finder:
    """A finder with this thread's detector of that name; raises FaceError where there is none or it cannot run."""
    return Finder(detectors.create(detector, detection), None if detector in detectors.BLIND else detection)


def attempts(detection: Detection) -> list[Attempt]:
    """Every rotation at every scale, none twice, in the order in which they are tried; the first is the picture as it is."""
    every: dict[tuple[float, float], Attempt] = {}
    for rotation in (0.0, *detection.rotations):
        for scale in (1.0, *detection.scales):
            every.setdefault((rotation % 360, scale), Attempt(rotation, scale))
    return list(every.values())


def _finding(faces: list[Face], image: Image, attempt: Attempt) -> Finding:
    sound = [face for face in faces if is_sound(face, image.shape)]
    unsound = None if sound or not faces else faces[0]
    return Finding(sorted(sound, key=lambda face: face.area, reverse=True), attempt.name, unsound)


def _too_long(image: Image) -> str:
    height, width = image.shape[:2]
    return f"a side of {max(height, width)} pixels is longer than the {LONGEST} that OpenCV takes" if max(height, width) > LONGEST else ""


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
