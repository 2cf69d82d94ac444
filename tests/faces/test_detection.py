"""Finders: attempts in their order, answers that make no face, detectors that fail."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from agecascade.archives import open_archives
from agecascade.datasets import fgnet
from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.detection import LONGEST, Finder, attempts, create_finder
from agecascade.faces.detectors import Annotation, Face
from agecascade.imaging import decode_image
from agecascade.params import Detection
from forms import WHOLE

Image = np.ndarray
NOTHING = Annotation()


class Fake:
    """Answers as `answer` says; remembers the shapes of each call."""

    def __init__(self, answer: Callable[[Image], list[Face]], batch: int = 1) -> None:
        self.answer, self.batch = answer, batch
        self.calls: list[list[tuple[int, ...]]] = []

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        assert len(images) == len(annotations)
        self.calls.append([image.shape[:2] for image in images])
        return [self.answer(image) for image in images]


def square(left: float, top: float, side: float, score: float | None = 0.9) -> Face:
    box = np.array([left, top, left + side, top + side])
    return Face(box, box[:2] + side * np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.4, 0.7], [0.6, 0.7]]), score)


def blank(height: int = 100, width: int = 200) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def test_attempts_go_over_scales_then_rotations_at_each_scale() -> None:
    detection = Detection(rotations=[90.0, -90.0], scales=[0.5, 2.0])
    assert [attempt.name for attempt in attempts(detection)] == [
        "first",
        "scale 0.5",
        "scale 2",
        "rotation 90",
        "rotation 90, scale 0.5",
        "rotation 90, scale 2",
        "rotation -90",
        "rotation -90, scale 0.5",
        "rotation -90, scale 2",
    ]


def test_no_attempt_is_made_twice() -> None:
    names = [attempt.name for attempt in attempts(Detection(rotations=[0.0, 90.0, -270.0, 360.0], scales=[1.0, 2.0, 2.0]))]
    assert names == ["first", "scale 2", "rotation 90", "rotation 90, scale 2"]


def test_without_further_settings_there_is_one_attempt() -> None:
    fake = Fake(lambda image: [])
    (finding,) = Finder(fake, Detection())([blank()], [NOTHING])
    assert (finding.faces, finding.attempt, finding.unsound, finding.fault) == ([], "first", None, "")
    assert len(fake.calls) == 1


def test_a_long_picture_is_reduced_for_the_detector_and_its_faces_are_not() -> None:
    fake = Fake(lambda image: [square(10, 20, 50)])
    (finding,) = Finder(fake, Detection(max_side=100))([blank(200, 400)], [NOTHING])
    assert fake.calls == [[(50, 100)]]
    np.testing.assert_allclose(finding.faces[0].box, [40, 80, 240, 280])
    np.testing.assert_allclose(finding.faces[0].points, 4 * square(10, 20, 50).points)


def test_only_pictures_without_a_face_are_tried_again() -> None:
    fake = Fake(lambda image: [square(10, 10, 20)] if image.shape[0] in (100, 300) else [])
    images = [blank(100), blank(150), blank(70), blank(100)]
    findings = Finder(fake, Detection(scales=[2.0]))(images, [NOTHING] * 4)
    assert [finding.attempt for finding in findings] == ["first", "scale 2", "scale 2", "first"]
    assert [len(finding.faces) for finding in findings] == [1, 1, 0, 1]
    assert fake.calls == [[(100, 200)], [(150, 200)], [(70, 200)], [(100, 200)], [(300, 400)], [(140, 400)]]
    np.testing.assert_allclose(findings[1].faces[0].box, [5, 5, 15, 15])


def test_each_attempt_goes_in_batches_of_the_size_that_the_detector_likes() -> None:
    fake = Fake(lambda image: [square(5, 5, 20)] if image.shape[0] == 100 else [], batch=3)
    images = [blank(100 if i % 2 else 50) for i in range(8)]
    finders = Finder(fake, Detection(rotations=[180.0]))
    assert finders.batch == 3
    findings = finders(images, [NOTHING] * 8)
    assert [len(call) for call in fake.calls] == [3, 3, 2, 3, 1]
    assert [bool(finding.faces) for finding in findings] == [False, True] * 4


@pytest.mark.parametrize("rotation", [90.0, 180.0, -90.0, 30.0, -45.0])
def test_a_turned_face_is_found_at_its_place(rotation: float) -> None:
    """A detector that knows only one spot, which stands where it looks once the picture is turned."""
    picture = blank(120, 160)
    cv2.circle(picture, (40, 30), 6, (255, 255, 255), -1)

    def answer(image: Image) -> list[Face]:
        if image.shape == picture.shape and (image == picture).all():
            return []
        rows, columns = np.nonzero(image[:, :, 0] > 127)
        return [square(columns.mean() + 0.5 - 10, rows.mean() + 0.5 - 10, 20)]

    (finding,) = Finder(Fake(answer), Detection(rotations=[rotation]))([picture], [NOTHING])
    assert finding.attempt == f"rotation {rotation:g}"
    np.testing.assert_allclose(finding.faces[0].centre, [40.5, 30.5], atol=0.4)
    eyes = finding.faces[0].points
    assert eyes is not None
    along = eyes[1] - eyes[0]  # turned back, against the clock
    assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx((-rotation + 180) % 360 - 180, abs=1e-6) or rotation == 180


UNSOUND = {
    "nan box": Face(np.array([np.nan, 0, 10, 10]), None, 0.9),
    "infinite box": Face(np.array([0, 0, np.inf, 10]), None, 0.9),
    "nan point": Face(np.array([0.0, 0, 10, 10]), np.where(np.arange(10).reshape(5, 2) == 3, np.nan, 5.0), 0.9),
    "nan score": square(10, 10, 30, score=float("nan")),
    "no width": Face(np.array([10.0, 0, 10, 10])),
    "turned inside out": Face(np.array([30.0, 30, 10, 10])),
    "outside": square(300, 10, 40),
    "above": square(10, -60, 40),
    "points elsewhere": Face(np.array([10.0, 10, 40, 40]), square(900, 0, 30).points),
}


@pytest.mark.parametrize("face", UNSOUND.values(), ids=UNSOUND)
def test_an_answer_that_makes_no_face_is_told_and_tried_again(face: Face) -> None:
    fake = Fake(lambda image: [face])
    (finding,) = Finder(fake, Detection(scales=[0.5]))([blank()], [NOTHING])
    assert finding.faces == []
    assert finding.unsound is not None
    assert len(fake.calls) == 2


def test_among_sound_faces_unsound_ones_are_dropped_and_the_largest_comes_first() -> None:
    answer = [square(10, 10, 20), UNSOUND["nan box"], square(50, 10, 60), UNSOUND["outside"], square(0, 0, 30)]
    (finding,) = Finder(Fake(lambda image: answer), Detection())([blank()], [NOTHING])
    assert [face.box[2] - face.box[0] for face in finding.faces] == [60, 30, 20]
    assert finding.unsound is None


def test_a_face_that_reaches_beyond_the_picture_is_sound() -> None:
    (finding,) = Finder(Fake(lambda image: [square(-30, -20, 80)]), Detection())([blank()], [NOTHING])
    assert len(finding.faces) == 1


@pytest.mark.parametrize("error", [cv2.error("bad\nsize"), RuntimeError("CUDA error: out of memory")])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_detector_that_fails_on_a_picture_loses_that_one_alone(error: Exception, batch: int) -> None:
    def answer(image: Image) -> list[Face]:
        if image.shape[0] == 60:
            raise error
        return [square(10, 10, 30)]

    fake = Fake(answer, batch)
    findings = Finder(fake, Detection(scales=[2.0, 3.0]))([blank(), blank(60), blank()], [NOTHING] * 3)
    assert [len(finding.faces) for finding in findings] == [1, 0, 1]
    assert findings[1].fault == " ".join(str(error).split())
    assert findings[0].fault == findings[2].fault == ""
    assert sum(shape == (60, 200) for call in fake.calls for shape in call) == (1 if batch == 1 else 2)
    assert all(shape[0] in (60, 100) for call in fake.calls for shape in call)  # it is not tried again


def test_a_fault_in_a_later_attempt_is_told() -> None:
    def answer(image: Image) -> list[Face]:
        if image.shape[0] == 200:
            raise cv2.error("too large")
        return []

    (finding,) = Finder(Fake(answer), Detection(scales=[2.0, 3.0]))([blank()], [NOTHING])
    assert (finding.fault, finding.attempt) == ("too large", "scale 2")


def test_other_errors_of_a_detector_are_no_fault_of_the_picture() -> None:
    def answer(image: Image) -> list[Face]:
        raise FaceError("the model is gone")

    with pytest.raises(FaceError):
        Finder(Fake(answer), Detection())([blank()], [NOTHING])


def test_a_picture_that_opencv_cannot_warp_is_a_fault() -> None:
    fake = Fake(lambda image: [square(1, 1, 5)])
    (finding,) = Finder(fake, Detection())([np.zeros((2, LONGEST + 1, 3), np.uint8)], [NOTHING])
    assert finding.fault == "a side of 32767 pixels is longer than the 32766 that OpenCV takes"
    assert fake.calls == []
    assert cv2.warpAffine(np.zeros((2, LONGEST, 3), np.uint8), np.eye(2, 3), (8, 8)).shape == (8, 8, 3)


def test_a_picture_beyond_what_opencv_addresses_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agecascade.faces.detection.MOST_BYTES", 100 * 100 * 3)
    largest, larger = create_finder("whole", Detection())([blank(100, 100), blank(101, 100)], [NOTHING, NOTHING])
    assert not largest.fault
    assert larger.fault == "30,300 bytes of pixels are more than OpenCV's warp can address"


def test_no_pictures_have_no_findings() -> None:
    assert Finder(Fake(lambda image: []), Detection(scales=[2.0]))([], []) == []


@pytest.mark.parametrize("name", ["annotation", "whole"])
def test_who_looks_at_no_pixels_has_one_attempt_on_the_picture_itself(name: str) -> None:
    find = create_finder(name, Detection(max_side=64, rotations=[90.0], scales=[2.0]))
    annotation = Annotation(square(100, 20, 50).points, square(100, 20, 50).box)
    large = blank(300, 500)
    (finding,) = find([large], [annotation])
    np.testing.assert_array_equal(finding.faces[0].box, annotation.box if name == "annotation" else [0, 0, 500, 300])
    assert finding.attempt == "first"
    if name == "annotation":
        assert find([large], [NOTHING])[0].faces == []


def test_an_unknown_detector_is_named() -> None:
    with pytest.raises(FaceError, match="unknown detector 'yunnet'"):
        create_finder("yunnet", Detection())


@pytest.fixture(scope="module")
def portraits(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Image, np.ndarray]]:
    """All FG-NET pictures with the centres of their eyes (2, 2), as the reader tells them."""
    folder = tmp_path_factory.mktemp("fgnet")
    (folder / "FGNET.zip").symlink_to((mirror / "FGNET.zip").resolve())
    with open_archives(folder) as archive:
        eyes = {row.member: np.reshape(row.landmarks or (), (-1, 2))[:2] for row in fgnet.rows(archive, {}) if hasattr(row, "landmarks")}
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        return [(decode_image(archive.read(name)), points) for name, points in eyes.items()]


@pytest.fixture
def fresh_yunet(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())


def error(face: Face, eyes: np.ndarray) -> float:
    assert face.points is not None
    return float(np.linalg.norm(face.points[:2] - eyes, axis=1).mean() / np.linalg.norm(eyes[0] - eyes[1]))


@pytest.mark.usefixtures("fresh_yunet")
def test_yunet_finds_the_faces_of_fgnet_at_their_places(portraits: list[tuple[Image, np.ndarray]]) -> None:
    find = create_finder("yunet", Detection(scales=[0.5, 0.35]))
    errors, further = [], 0
    seen = portraits if WHOLE else portraits[::3]
    for image, eyes in seen:
        (finding,) = find([image], [NOTHING])
        further += finding.attempt != "first" and bool(finding.faces)
        errors += [error(finding.faces[0], eyes)] if finding.faces else []
    assert len(portraits) == 1002
    assert further > 0
    assert len(errors) >= 0.98 * len(seen)
    assert np.mean(errors) < 0.08


@pytest.mark.usefixtures("fresh_yunet")
@pytest.mark.parametrize(("turn", "rotation"), [(cv2.ROTATE_90_CLOCKWISE, -90.0), (cv2.ROTATE_90_COUNTERCLOCKWISE, 90.0)])
def test_a_photo_on_its_side_is_found_by_a_rotation(portraits: list[tuple[Image, np.ndarray]], turn: int, rotation: float) -> None:
    result = 0
    for image, eyes in portraits[::40]:
        upright = create_finder("yunet", Detection())([image], [NOTHING])[0]
        lying, height = cv2.rotate(image, turn), image.shape[0]
        turned = np.column_stack([height - eyes[:, 1], eyes[:, 0]] if rotation == -90 else [eyes[:, 1], image.shape[1] - eyes[:, 0]])
        (finding,) = create_finder("yunet", Detection(rotations=[rotation]))([lying], [NOTHING])
        if finding.attempt == f"rotation {rotation:g}" and finding.faces:
            result += 1
            assert error(finding.faces[0], turned) == pytest.approx(error(upright.faces[0], eyes), abs=1e-3)
    assert result >= 3
