"""Which of several faces is taken, and what is said where none is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.faces.detection import DetectionResult, NoFace, annotated_centre, choose_face
from agecascade.faces.face import Annotation, Face
from agecascade.params import Align

SHAPE = (200, 300, 3)
LARGE, MIDDLE, SMALL = (Face(np.array(box, dtype=float)) for box in ([0, 0, 120, 120], [110, 60, 190, 140], [240, 20, 280, 60]))
FACES = [LARGE, MIDDLE, SMALL]  # as a DetectionResult has them


def chosen(annotation: Annotation | None = None, finding: DetectionResult | None = None, **changes: Any) -> Face | NoFace:
    return choose_face(finding or DetectionResult(FACES), SHAPE, annotation or Annotation(), "yunet", Align(**changes))


def five(x: float, y: float) -> np.ndarray:
    """Landmarks about a point, and a sixth far off, which is none of the five."""
    return np.array([[x - 2, y], [x + 2, y], [x, y], [x, y - 3], [x, y + 3], [9e3, 9e3]])


def test_the_largest_is_the_first() -> None:
    assert chosen() is LARGE


def test_the_most_central_is_that_whose_box_is() -> None:
    assert chosen(choose="central") is MIDDLE


@pytest.mark.parametrize(
    ("annotation", "face"),
    [
        (Annotation(five(50, 50)), LARGE),
        (Annotation(five(260, 40)), SMALL),
        (Annotation(box=np.array([245.0, 25, 275, 55])), SMALL),
        (Annotation(five(260, 40), np.array([0.0, 0, 100, 100])), SMALL),  # landmarks say more than a box
        (Annotation(np.full((5, 2), np.nan), np.array([0.0, 0, 100, 100])), LARGE),
        (Annotation(five(115, 80)), MIDDLE),  # in two boxes: nearer to the centre (150, 100) than to (60, 60)
        (Annotation(five(112, 62)), LARGE),
    ],
)
def test_the_annotated_one_holds_the_annotations_centre(annotation: Annotation, face: Face) -> None:
    assert chosen(annotation, choose="annotated") is face


def test_of_two_that_hold_the_centre_the_nearer_is_taken() -> None:
    inner = Face(np.array([40.0, 40, 60, 60]))
    outer = Face(np.array([0.0, 0, 90, 90]))
    assert chosen(Annotation(five(48, 48)), DetectionResult([outer, inner]), choose="annotated") is inner
    assert chosen(Annotation(five(45.5, 45.5)), DetectionResult([outer, inner]), choose="annotated") is outer


def test_an_annotation_that_no_face_holds_is_a_reject() -> None:
    result = chosen(Annotation(five(295, 190)), choose="annotated")
    assert result == NoFace("no_annotated_face", "none of yunet's 3 faces holds the annotated 295 190")


@pytest.mark.parametrize("annotation", [Annotation(), Annotation(np.ones((4, 2))), Annotation(np.full((5, 2), np.nan))])
def test_without_an_annotation_there_is_no_annotated_face(annotation: Annotation) -> None:
    result = chosen(annotation, choose="annotated")
    assert result == NoFace("no_annotated_face", "yunet has 3 faces, and the data set does not tell which it means")
    assert annotated_centre(annotation) is None


@pytest.mark.parametrize("choice", ["largest", "central", "annotated"])
def test_more_faces_than_allowed_are_a_reject(choice: str) -> None:
    result = chosen(Annotation(five(50, 50)), choose=choice, max_faces=2)
    assert result == NoFace("many_faces", "yunet has 3 faces, more than align.max_faces = 2")
    assert isinstance(chosen(Annotation(five(50, 50)), choose=choice, max_faces=3), Face)


@pytest.mark.parametrize("choice", ["largest", "central", "annotated"])
@pytest.mark.parametrize(
    ("finding", "reason", "detail"),
    [
        (DetectionResult([]), "no_face", "yunet has no face in a picture of 300x200"),
        (DetectionResult([], unsound=Face(np.array([np.nan, 0, 1, 2]))), "bad_landmarks", "yunet: box nan 0 1 2 make no face in 300x200"),
        (DetectionResult([], fault="too large"), "detector_failed", "yunet failed on a picture of 300x200: too large"),
        (DetectionResult([], unsound=LARGE, fault="too large"), "detector_failed", "yunet failed on a picture of 300x200: too large"),
    ],
)
def test_no_face_has_its_reason(choice: str, finding: DetectionResult, reason: str, detail: str) -> None:
    assert chosen(finding=finding, choose=choice) == NoFace(reason, detail)


def test_bad_landmarks_are_shown() -> None:
    result = chosen(finding=DetectionResult([], unsound=Face(LARGE.box, np.full((5, 2), 30.0))))
    assert isinstance(result, NoFace)
    assert result.detail == "yunet: points 30 30 30 30 30 30 30 30 30 30 make no face in 300x200"


boxes = st.tuples(st.floats(0, 250), st.floats(0, 150), st.floats(5, 100)).map(
    lambda box: np.array([*box[:2], box[0] + box[2], box[1] + box[2]])
)


@given(st.lists(boxes, min_size=1, max_size=6), st.sampled_from(["largest", "central", "annotated"]), st.floats(0, 300), st.floats(0, 200))
def test_whatever_is_chosen_is_one_of_the_faces_and_the_nearest_of_those_allowed(
    result: list[np.ndarray], choice: str, x: float, y: float
) -> None:
    faces = sorted(map(Face, result), key=lambda face: face.area, reverse=True)
    face = chosen(Annotation(five(x, y)), DetectionResult(faces), choose=choice)
    if choice == "largest":
        assert face is faces[0]
    target = np.array([150.0, 100]) if choice == "central" else five(x, y)[:5].mean(axis=0)
    allowed = faces if choice != "annotated" else [f for f in faces if (f.box[:2] <= target).all() and (target <= f.box[2:]).all()]
    assert isinstance(face, Face) == bool(allowed)
    if choice != "largest" and isinstance(face, Face):
        assert np.hypot(*(face.centre - target)) == min(np.hypot(*(other.centre - target)) for other in allowed)
