"""Detectors: what they answer, and what they say when they cannot."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.detectors import Annotation, Face
from agecascade.faces.detectors.weights import YUNET
from agecascade.faces.detectors.yunet import YuNet
from agecascade.faces.face import is_sound
from agecascade.imaging import decode_image
from agecascade.params import Detection

BLANK = np.zeros((40, 60, 3), np.uint8)
BOX = np.array([1.0, 2, 30, 40])


def first(name: str, image: np.ndarray, annotation: Annotation) -> list[Face]:
    return detectors.create_detector(name)([image], [annotation])[0]


@pytest.fixture(scope="module")
def yunet(mirror: Path) -> YuNet:
    return YuNet(0.7, mirror / YUNET.file)


@pytest.fixture(scope="module")
def portraits(mirror: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every fiftieth FG-NET picture with the centres of its eyes (2, 2): points 31 and 36 of the publisher's 68."""
    result = []
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::50]:
            text = archive.read(f"FGNET/points/{Path(name).stem.lower()}.pts").decode()
            points = np.array(text.split("{")[1].split("}")[0].split(), dtype=float).reshape(-1, 2)
            result.append((decode_image(archive.read(name)), points[[31, 36]]))
    return result


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


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(FaceError, match=r"model\.onnx: OpenCV cannot read it as a YuNet model"):
        YuNet(0.7, tmp_path / "model.onnx")


def test_yunet_finds_real_faces_at_the_right_place(yunet: YuNet, portraits: list[tuple[np.ndarray, np.ndarray]]) -> None:
    errors = []
    for image, eyes in portraits:
        for face in yunet([image], [Annotation()])[0][:1]:
            assert face.points is not None
            errors.append(np.linalg.norm(face.points[:2] - eyes, axis=1).mean() / np.linalg.norm(eyes[0] - eyes[1]))
    assert len(errors) >= 0.95 * len(portraits)
    assert np.median(errors) < 0.08
    assert max(errors) < 0.3


def test_yunet_answers_pictures_of_all_sizes_as_if_they_were_alone(yunet: YuNet, portraits: list[tuple[np.ndarray, np.ndarray]]) -> None:
    images = [image for image, _ in portraits[:4]]
    images[2] = np.ascontiguousarray(images[2][:, ::-1])
    together = yunet(images, [Annotation()] * 4)
    for image, faces in zip(images, together, strict=True):
        (alone,) = yunet([image], [Annotation()])
        assert len(alone) == len(faces) > 0
        np.testing.assert_array_equal(alone[0].box, faces[0].box)
        assert faces[0].score is not None
        assert 0.7 <= faces[0].score <= 1.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (640, 1), (3, 5), (905, 7), (33, 31)])
def test_yunet_takes_pictures_of_any_shape(yunet: YuNet, shape: tuple[int, int]) -> None:
    (faces,) = yunet([np.full((*shape, 3), 99, np.uint8)], [Annotation()])
    assert not [face for face in faces if is_sound(face, shape)]  # OpenCV 4.13 gives numbers that are none, which the finder drops


def test_yunet_finds_nothing_in_noise(yunet: YuNet) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert yunet([noise], [Annotation()]) == [[]]


def test_yunet_keeps_to_its_score(mirror: Path, portraits: list[tuple[np.ndarray, np.ndarray]]) -> None:
    images = [image for image, _ in portraits]
    strict, lenient = (YuNet(score, mirror / YUNET.file)(images, [Annotation()] * len(images)) for score in (0.9, 0.3))
    assert sum(map(len, strict)) < sum(map(len, lenient))
    assert all(face.score is not None and face.score >= 0.9 for faces in strict for face in faces)
