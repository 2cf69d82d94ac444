"""Which of the faces found in a picture is the one that the data set means, or why none is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agecascade.faces.face import Annotation, Face, Points
from agecascade.faces.finding import Finding
from agecascade.params import Align


@dataclass(frozen=True)
class NoFace:
    """Why a picture has no face to crop; the detail is for a person."""

    reason: str  # no_face, bad_landmarks, detector_failed, many_faces, no_annotated_face
    detail: str


def choose(finding: Finding, image_shape: tuple[int, ...], annotation: Annotation, detector: str, settings: Align) -> Face | NoFace:
    """The face that `settings.choose` means, in a picture (H, W, ...), unless there are more than `settings.max_faces`.

    largest: of the largest box. central: whose box has its centre nearest to the picture's. annotated: of those whose box holds the
    centre of the data set's annotation (the mean of its five points, else its box's centre) the one whose centre is nearest to it.
    """
    size = f"{image_shape[1]}x{image_shape[0]}"
    if finding.fault:
        return NoFace("detector_failed", f"{detector} failed on a picture of {size}: {finding.fault}")
    if not finding.faces and finding.unsound is not None:
        return NoFace("bad_landmarks", f"{detector}: {shown(finding.unsound)} make no face in {size}")
    if not finding.faces:
        return NoFace("no_face", f"{detector} has no face in a picture of {size}")
    if settings.max_faces is not None and len(finding.faces) > settings.max_faces:
        return NoFace("many_faces", f"{detector} has {len(finding.faces)} faces, more than align.max_faces = {settings.max_faces}")
    if settings.choose == "annotated":
        return _annotated(finding.faces, annotation, detector)
    if settings.choose == "central":
        return _nearest(finding.faces, np.array([image_shape[1], image_shape[0]]) / 2)
    return finding.faces[0]


def shown(face: Face) -> str:
    """The points of a face, or its box, for a person."""
    name, values = ("box", face.box) if face.points is None else ("points", face.points.ravel())
    return f"{name} {' '.join(f'{value:g}' for value in values)}"


def annotated_centre(annotation: Annotation) -> Points | None:
    """(2,) the mean of the data set's first five points, else the centre of its box; None where it tells neither."""
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
