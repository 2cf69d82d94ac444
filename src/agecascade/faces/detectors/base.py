"""What a detector is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agecascade.faces.face import Annotation, Face, Image


class Detector(Protocol):
    """Finds the faces of RGB pictures (H, W, 3) uint8, at the size that they have.

    Answers for each picture in its pixels, in any order, whatever stands beside it in the call. It may hold a network: one object
    per thread. Raises cv2.error or RuntimeError where it fails on a picture.
    """

    batch: int  # pictures that it likes at once; it takes any number

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]: ...
