"""Detectors: what they answer, and what they say when they cannot."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pooch
import pytest

from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.crops import decode_image
from agecascade.faces.detectors import Annotation, YuNet

BLANK = np.zeros((40, 60, 3), np.uint8)
BOX = np.array([1.0, 2, 30, 40])


@pytest.fixture(scope="module")
def yunet(mirror: Path) -> YuNet:
    return YuNet(mirror / detectors.YUNET_FILE)


@pytest.fixture(scope="module")
def portraits(mirror: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every fiftieth FG-NET picture with the centres of its eyes (2, 2): points 31 and 36 of the publisher's 68."""
    found = []
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::50]:
            text = archive.read(f"FGNET/points/{Path(name).stem.lower()}.pts").decode()
            points = np.array(text.split("{")[1].split("}")[0].split(), dtype=float).reshape(-1, 2)
            found.append((decode_image(archive.read(name)), points[[31, 36]]))
    return found


def test_annotation_takes_the_landmarks_before_the_box() -> None:
    landmarks = np.arange(136.0).reshape(68, 2)
    (face,) = detectors.create("annotation")(BLANK, Annotation(landmarks, BOX))
    assert face.points is not None
    np.testing.assert_array_equal(face.points, landmarks[:5])


def test_annotation_takes_the_box_where_there_are_no_landmarks() -> None:
    (face,) = detectors.create("annotation")(BLANK, Annotation(None, BOX))
    assert face.points is None
    np.testing.assert_array_equal(face.box, BOX)


def test_annotation_finds_nothing_where_the_data_set_says_nothing() -> None:
    assert detectors.create("annotation")(BLANK, Annotation()) == []


def test_whole_is_the_picture_itself() -> None:
    (face,) = detectors.create("whole")(BLANK, Annotation(None, BOX))
    np.testing.assert_array_equal(face.box, [0, 0, 60, 40])


def test_an_unknown_detector_is_named_with_the_nearest() -> None:
    with pytest.raises(FaceError, match=r"unknown detector 'yunnet'; did you mean yunet\?"):
        detectors.create("yunnet")


def test_a_missing_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("name or service not known")

    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(FaceError, match=r"face_detection_yunet\.onnx is missing .*AGECASCADE_MIRROR.*download https://"):
        detectors.yunet_model()


def test_the_mirror_is_looked_into_first_and_counts_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / detectors.YUNET_FILE).write_bytes(b"")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("AGECASCADE_MIRROR", "mirror")
    assert detectors.yunet_model() == tmp_path / "mirror" / detectors.YUNET_FILE


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(FaceError, match=r"model\.onnx: OpenCV cannot read it as a YuNet model"):
        YuNet(tmp_path / "model.onnx")


def test_yunet_finds_real_faces_at_the_right_place(yunet: YuNet, portraits: list[tuple[np.ndarray, np.ndarray]]) -> None:
    errors = []
    for image, eyes in portraits:
        for face in yunet(image, Annotation())[:1]:
            assert face.points is not None
            errors.append(np.linalg.norm(face.points[:2] - eyes, axis=1).mean() / np.linalg.norm(eyes[0] - eyes[1]))
    assert len(errors) >= 0.95 * len(portraits)
    assert np.median(errors) < 0.08
    assert max(errors) < 0.3


def test_yunet_gives_the_pixels_of_the_picture_and_not_of_the_reduced_one(
    yunet: YuNet, portraits: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    image, eyes = portraits[0]
    large = np.repeat(np.repeat(image, 4, axis=0), 4, axis=1)
    face = yunet(large, Annotation())[0]
    assert face.points is not None
    assert np.linalg.norm(face.points[:2] - 4 * eyes, axis=1).mean() < 0.15 * 4 * np.linalg.norm(eyes[0] - eyes[1])


def test_the_largest_face_comes_first(yunet: YuNet, portraits: list[tuple[np.ndarray, np.ndarray]]) -> None:
    image = portraits[0][0]
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.zeros((image.shape[0], small.shape[1] + image.shape[1], 3), np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = image
    faces = yunet(both, Annotation())
    assert len(faces) == 2
    assert faces[0].box[0] > small.shape[1] > faces[1].box[2]
    assert all(face.score is not None and 0.7 <= face.score <= 1.01 for face in faces)


def test_yunet_finds_nothing_in_noise(yunet: YuNet) -> None:
    assert yunet(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8), Annotation()) == []
