"""Large photos: small faces are found in finer levels of a pyramid, and a face that several levels have is one face."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.faces import detectors
from agecascade.faces.detection import Finder, create_finder, merged
from agecascade.faces.detectors import Annotation, Face
from agecascade.faces.face import Image
from agecascade.imaging import decode_image
from agecascade.params import Detection

LARGE, ACROSS = 4000, 6000


class Sharp:
    """Finds white squares of 20 to 300 pixels as it sees them; larger ones with the higher score."""

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.calls: list[list[tuple[int, int]]] = []
        self.broken = 0  # pixels; a longer picture fails

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        self.calls.append([(image.shape[0], image.shape[1]) for image in images])
        if self.broken and any(max(image.shape[:2]) > self.broken for image in images):
            raise cv2.error("no memory")
        return [self._faces(image) for image in images]

    @staticmethod
    def _faces(image: Image) -> list[Face]:
        _, _, boxes, _ = cv2.connectedComponentsWithStats((image[:, :, 0] > 127).astype(np.uint8))
        return [
            Face(np.array([x, y, x + w, y + h], dtype=np.float64), None, min(0.99, 0.7 + w / 1000))
            for x, y, w, h, _ in boxes[1:]
            if 20 <= w <= 300
        ]


def photo(*squares: tuple[int, int, int], height: int = 1200, width: int = 1600) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    for left, top, side in squares:
        image[top : top + side, left : left + side] = 255
    return image


def find(detector: Sharp, *images: Image, **detection: int) -> list[list[list[int]]]:
    results = Finder(detector, Detection.model_validate({"max_side": 200, **detection}))(images, [Annotation()] * len(images))
    return [[[round(float(edge)) for edge in face.box] for face in result.faces] for result in results]


def test_without_a_pyramid_small_faces_are_lost_and_with_one_they_are_not() -> None:
    image = photo((96, 96, 400), (800, 200, 80), (1200, 800, 40))
    large, middle, small = [96, 96, 496, 496], [800, 200, 880, 280], [1200, 800, 1240, 840]
    assert find(Sharp(), image) == [[large]]
    assert find(Sharp(), image, pyramid=1) == [[large, middle]]
    assert find(Sharp(), image, pyramid=2) == [[large, middle, small]]


def test_no_level_is_finer_than_the_picture_and_a_small_picture_has_none() -> None:
    detector = Sharp()
    find(detector, photo(height=150, width=190), photo(height=150, width=300), pyramid=4)
    assert detector.calls == [[(150, 190)], [(100, 200)], [(150, 300)]]


def test_levels_go_in_batches_and_a_level_that_fails_loses_nothing() -> None:
    detector = Sharp(batch=2)
    detector.broken = 400
    faces = find(detector, photo((96, 96, 400)), photo((96, 96, 400), (800, 200, 80)), pyramid=2)
    assert faces == [[[96, 96, 496, 496]], [[96, 96, 496, 496], [800, 200, 880, 280]]]
    assert detector.calls[:2] == [[(150, 200)] * 2, [(300, 400)] * 2]
    assert [len(call) for call in detector.calls[2:]] == [2, 1, 1]  # together, then each alone


def test_a_failure_is_told_where_nothing_else_was_found() -> None:
    detector = Sharp()
    detector.broken = 200
    (result,) = Finder(detector, Detection(max_side=200, pyramid=1))([photo()], [Annotation()])
    assert result.fault == "no memory"


def face(left: float, top: float, side: float, score: float) -> Face:
    return Face(np.array([left, top, left + side, top + side]), None, score)


def test_of_a_large_face_the_first_look_stays_and_of_a_small_one_the_better() -> None:
    coarse = [face(0, 0, 100, 0.8), face(300, 0, 30, 0.8), face(500, 0, 30, 0.8)]
    fine = [face(2, 2, 100, 0.9), face(301, 1, 30, 0.9), face(501, 1, 30, 0.7), face(700, 0, 20, 0.75)]
    faces = merged(coarse, fine, blurred=50)
    assert sorted(faces, key=lambda each: float(each.box[0])) == [coarse[0], fine[1], coarse[2], fine[3]]
    assert faces[0] is coarse[0]


def test_a_pattern_on_a_face_is_none() -> None:
    coarse = [face(0, 0, 100, 0.75)]
    assert merged(coarse, [face(20, 20, 30, 0.95)], blurred=200) == coarse


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 11), st.integers(20, 90)), max_size=12, unique_by=lambda each: each[:2]))
def test_faces_side_by_side_are_each_found_once(places: list[tuple[int, int, int]]) -> None:
    squares = [(100 * x + 2, 100 * y + 2, side) for x, y, side in places]
    (faces,) = find(Sharp(), photo(*squares), pyramid=4)
    assert sorted(faces) == sorted([left, top, left + side, top + side] for left, top, side in squares)


@pytest.fixture(scope="module")
def group(mirror: Path) -> tuple[Image, list[tuple[int, int, int, int]]]:
    """Twenty FG-NET pictures of 200 pixels' height on a canvas of 6,000 x 4,000, and their places."""
    canvas = np.full((LARGE, ACROSS, 3), 128, np.uint8)
    places = []
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::50][:20]
        for number, name in enumerate(names):
            image = decode_image(archive.read(name))
            image = cv2.resize(image, (round(image.shape[1] * 200 / image.shape[0]), 200), interpolation=cv2.INTER_AREA)
            left, top = number % 5 * 1200 + 400, number // 5 * 1000 + 300
            canvas[top : top + 200, left : left + image.shape[1]] = image
            places.append((left, top, left + image.shape[1], top + 200))
    return canvas, places


def test_the_faces_of_a_large_group_photo_are_found(
    mirror: Path, group: tuple[Image, list[tuple[int, int, int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())
    canvas, places = group

    def seen(pyramid: int) -> tuple[int, int]:
        """(people whose face is found, faces)."""
        (result,) = create_finder("yunet", Detection(pyramid=pyramid))([canvas], [Annotation()])
        centres = [face.centre for face in result.faces]
        people = [any(left < x < right and top < y < bottom for x, y in centres) for left, top, right, bottom in places]
        return sum(people), len(centres)

    before, _ = seen(0)
    assert before < 20
    assert seen(2) == (20, 20)
