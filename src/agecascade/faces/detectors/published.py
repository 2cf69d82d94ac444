"""Detectors that look at no pixels: the data set has said, or its pictures are faces already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agecascade.faces.alignment import whole_face
from agecascade.faces.face import Annotation, Face, Image, bounds, is_sound


class FromAnnotation:
    """The data set's own landmarks, else its box; no face where it has neither.

    Beside landmarks stands the data set's box, or that around all of them where it has none or one that is none.
    """

    batch = 1

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [_annotated(image, annotation) for image, annotation in zip(images, annotations, strict=True)]


class Whole:
    """The picture itself is the face square, as in sets that publish crops."""

    batch = 1

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [[whole_face(image)] for image in images]


def _annotated(image: Image, annotation: Annotation) -> list[Face]:
    box = None if annotation.box is None else np.asarray(annotation.box, dtype=np.float64)
    if annotation.landmarks is None or len(annotation.landmarks) < 5:
        return [] if box is None else [Face(box)]
    landmarks = np.asarray(annotation.landmarks, dtype=np.float64)
    points = landmarks[:5]
    if box is None or not is_sound(Face(box), image.shape):
        box = bounds(landmarks if np.isfinite(landmarks).all() else points)
    return [Face(box, points)]
