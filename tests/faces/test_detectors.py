"""Detectors: what they answer, and what they say when they cannot."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.detectors import Annotation, Face
from agecascade.params import Detection

BLANK = np.zeros((40, 60, 3), np.uint8)
BOX = np.array([1.0, 2, 30, 40])


def first(name: str, image: np.ndarray, annotation: Annotation) -> list[Face]:
    return detectors.create_detector(name)([image], [annotation])[0]


def test_annotation_takes_the_landmarks_before_the_box() -> None:
    landmarks = np.arange(136.0).reshape(68, 2)
    (face,) = first("annotation", BLANK, Annotation(landmarks, BOX))
    assert face.points is not None
    np.testing.assert_array_equal(face.points, landmarks[:5])
    np.testing.assert_array_equal(face.box, BOX)


@pytest.mark.parametrize("box", [None, [np.nan] * 4, [5, 5, 5, 9], [500, 0, 600, 90]], ids=["none", "nan", "flat", "of another picture"])
def test_landmarks_without_a_sound_box_have_that_around_all_of_them(box: list[float] | None) -> None:
    landmarks = np.array([[10.0, 10], [20, 11], [15, 15], [11, 20], [19, 21], [3, 30], [25, 4]])
    annotation = Annotation(landmarks, None if box is None else np.array(box, dtype=float))
    np.testing.assert_array_equal(first("annotation", BLANK, annotation)[0].box, [3, 4, 25, 30])
    landmarks[6] = np.nan
    np.testing.assert_array_equal(first("annotation", BLANK, annotation)[0].box, [10, 10, 20, 21])


@pytest.mark.parametrize("landmarks", [None, np.ones((4, 2))])
def test_annotation_takes_the_box_where_there_are_no_landmarks(landmarks: np.ndarray | None) -> None:
    (face,) = first("annotation", BLANK, Annotation(landmarks, BOX))
    assert face.points is None
    np.testing.assert_array_equal(face.box, BOX)


def test_annotation_finds_nothing_where_the_data_set_says_nothing() -> None:
    assert first("annotation", BLANK, Annotation()) == []


def test_whole_is_the_picture_itself() -> None:
    (face,) = first("whole", BLANK, Annotation(None, BOX))
    np.testing.assert_array_equal(face.box, [0, 0, 60, 40])


@pytest.mark.parametrize("name", ["annotation", "whole"])
def test_each_picture_has_its_own_answer(name: str) -> None:
    images = [BLANK, BLANK[:10, :20], BLANK[:, :5]]
    annotations = [Annotation(box=BOX + i) for i in range(3)]
    together = detectors.create_detector(name)(images, annotations)
    for answer, image, annotation in zip(together, images, annotations, strict=True):
        np.testing.assert_array_equal(answer[0].box, first(name, image, annotation)[0].box)


def test_an_unknown_detector_is_named_with_the_nearest() -> None:
    with pytest.raises(FaceError, match=r"unknown detector 'yunnet'; did you mean yunet\?"):
        detectors.create_detector("yunnet")


def test_a_detector_is_made_once_in_each_thread_for_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(detection: Detection) -> detectors.Detector:
        made.append((threading.get_ident(), detection.min_score))
        return detectors.DETECTORS["whole"](detection)

    monkeypatch.setitem(detectors.DETECTORS, "fake", make)
    settings = [Detection(min_score=0.5), Detection(min_score=0.6), Detection(min_score=0.5, scales=[2.0])]

    def work() -> None:
        for detection in settings:
            detectors.create_detector("fake", detection)

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(made) == len(set(made)) == 4
