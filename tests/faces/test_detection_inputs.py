"""What an attempt shows of a picture, and the way back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.faces.detection import Attempt, detector_input
from agecascade.faces.face import Face
from images import noise

angles = st.floats(-360, 360) | st.sampled_from([-270.0, -180.0, -90.0, 0.0, 90.0, 180.0, 270.0, 360.0])
sides = st.integers(1, 90)


def spotted(height: int, width: int, x: float, y: float) -> np.ndarray:
    """A black picture with a soft spot at (x, y)."""
    rows, columns = np.indices((height, width)) + 0.5
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4**2))
    return np.repeat((255 * spot).astype(np.uint8)[:, :, None], 3, axis=2)


def spot(image: np.ndarray) -> np.ndarray:
    """(2,) where the spot is."""
    weight = image[:, :, 0].astype(float)
    rows, columns = np.indices(weight.shape) + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def at(point: np.ndarray) -> Face:
    """A face all of whose points are one, in a box of 20 x 10 about it."""
    half = np.array([10.0, 5.0])
    return Face(np.concatenate([point - half, point + half]), np.tile(point, (5, 1)), 0.9)


@pytest.mark.parametrize("rotation", [0.0, 90, -90, 180, 270, 30, -30, 45, 123.4, -200])
@pytest.mark.parametrize(("longest", "scale"), [(1000, 1.0), (100, 1.0), (100, 2.0), (1000, 0.5)])
def test_what_is_found_in_a_view_stands_at_its_place_in_the_picture(rotation: float, longest: int, scale: float) -> None:
    picture = spotted(150, 220, 130.0, 60.0)
    turned = detector_input(picture, longest, Attempt(rotation, scale))
    face = turned.to_picture(at(spot(turned.image)))
    assert face.points is not None
    np.testing.assert_allclose(face.points, np.tile([130.0, 60.0], (5, 1)), atol=0.35)
    np.testing.assert_allclose(face.centre, [130.0, 60.0], atol=0.35)
    assert face.score == 0.9


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.integers(8, 120), angles, st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]))
def test_the_corners_of_the_picture_lie_on_the_canvas_and_come_back(
    height: int, width: int, longest: int, rotation: float, scale: float
) -> None:
    turned = detector_input(np.zeros((height, width, 3), np.uint8), longest, Attempt(rotation, scale))
    canvas = np.array(turned.image.shape[1::-1])
    assert turned.image.flags.c_contiguous
    assert turned.image.shape[2] == 3
    # the middle of the canvas is that of the picture, whatever was done
    middle = turned.to_picture(at(canvas / 2))
    assert middle.points is not None
    np.testing.assert_allclose(middle.points[0], [width / 2, height / 2], atol=1e-6)
    # back is a similarity up to rounded sides, and no corner of the picture lies beyond the canvas
    corners = np.array([[0.0, 0], [canvas[0], 0], [0, canvas[1]], canvas, canvas / 2])
    back = turned.to_picture(Face(np.array([0.0, 0, 1, 1]), corners)).points
    assert back is not None
    low, high = back.min(axis=0), back.max(axis=0)
    assert (low <= 1e-6).all()
    assert (high >= np.array([width, height]) - 1e-6).all()


@given(sides, sides, st.sampled_from([90.0, 180.0, 270.0, -90.0]), st.integers(0, 1000))
def test_a_quarter_turn_loses_nothing_and_keeps_boxes(height: int, width: int, rotation: float, seed: int) -> None:
    picture = noise(seed, height, width)
    turned = detector_input(picture, 1000, Attempt(rotation))
    turns = {90.0: cv2.ROTATE_90_CLOCKWISE, 180.0: cv2.ROTATE_180}.get(rotation, cv2.ROTATE_90_COUNTERCLOCKWISE)
    np.testing.assert_array_equal(turned.image, cv2.rotate(picture, turns))
    whole = Face(np.array([0.0, 0, turned.image.shape[1], turned.image.shape[0]]))
    np.testing.assert_array_equal(turned.to_picture(whole).box, [0, 0, width, height])


def test_the_rotation_is_clockwise_as_seen() -> None:
    turned = detector_input(spotted(100, 100, 50, 20), 1000, Attempt(90.0))
    np.testing.assert_allclose(spot(turned.image), [80, 50], atol=0.1)
    turned = detector_input(spotted(100, 100, 50, 20), 1000, Attempt(30.0))
    assert spot(turned.image)[0] > turned.image.shape[1] / 2 + 10


def test_the_box_of_a_turned_face_is_a_square_of_its_longer_side() -> None:
    turned = detector_input(np.zeros((300, 400, 3), np.uint8), 200, Attempt(30.0))  # reduced by half
    box = turned.to_picture(Face(np.array([100.0, 80, 130, 120]))).box
    np.testing.assert_allclose(box[2:] - box[:2], 80)
    assert turned.to_picture(Face(np.array([100.0, 80, 130, 120]))).points is None


def test_the_border_goes_on_beyond_a_turned_picture() -> None:
    turned = detector_input(np.full((60, 90, 3), 200, np.uint8), 1000, Attempt(45.0))
    assert turned.image.shape == (107, 107, 3)
    assert turned.image.min() == 200


@pytest.mark.parametrize(
    ("shape", "longest", "scale", "expected"),
    [
        ((300, 400), 640, 1.0, (300, 400)),
        ((600, 800), 640, 1.0, (480, 640)),
        ((600, 800), 640, 2.0, (960, 1280)),
        ((300, 400), 640, 0.5, (150, 200)),
        ((1, 3000), 640, 1.0, (1, 640)),
        ((1, 1), 640, 0.05, (1, 1)),
    ],
)
def test_the_scale_counts_from_the_reduced_picture(shape: tuple[int, int], longest: int, scale: float, expected: tuple[int, int]) -> None:
    assert detector_input(np.zeros((*shape, 3), np.uint8), longest, Attempt(scale=scale)).image.shape[:2] == expected


def test_a_picture_that_is_small_enough_is_shown_as_it_is() -> None:
    picture = spotted(50, 60, 20, 20)
    assert detector_input(picture, 640, Attempt()).image is picture
    assert detector_input(picture, 640, Attempt(360.0)).image is picture


@pytest.mark.parametrize(
    ("attempt", "name"),
    [
        (Attempt(), "first"),
        (Attempt(90.0), "rotation 90"),
        (Attempt(-22.5), "rotation -22.5"),
        (Attempt(scale=2.0), "scale 2"),
        (Attempt(90.0, 0.5), "rotation 90, scale 0.5"),
    ],
)
def test_attempts_are_named(attempt: Attempt, name: str) -> None:
    assert attempt.name == name
