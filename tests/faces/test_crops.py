"""Similarity, framing and warp."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.faces import crops
from agecascade.faces.crops import (
    TEMPLATE,
    Frame,
    cut,
    face_size,
    fit_similarity,
    roll,
    scale_of,
    transform_points,
    usable,
    warp,
    whole_face,
)
from agecascade.faces.face import Annotation, Face, bounds
from images import noise

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.05, 20)
shifts = st.floats(-500, 500)


def transform(points: np.ndarray | None, box: np.ndarray | None, frame: Frame) -> np.ndarray:
    """Of a face with points, or of one that has but a box."""
    return crops.transform(Face(bounds(points) if box is None and points is not None else np.asarray(box), points), Annotation(), frame)


def rotation(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@given(angles, scales, shifts, shifts)
def test_any_similarity_is_recovered(angle: float, scale: float, x: float, y: float) -> None:
    expected = rotation(angle, scale, x, y)
    points = np.array(TEMPLATE) * 100
    result = fit_similarity(points, transform_points(points, expected))
    np.testing.assert_allclose(result, expected, atol=1e-8 * (1 + abs(x) + abs(y) + scale))
    assert math.isclose(scale_of(result), scale, rel_tol=1e-9)


@given(st.integers(0, 10_000))
def test_noisy_points_are_fitted_in_least_squares(seed: int) -> None:
    points, target = np.random.default_rng(seed).normal(size=(2, 5, 2)) * 30
    x, y, one, zero = points[:, 0], points[:, 1], np.ones(5), np.zeros(5)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(system, target.T.ravel())[0]
    np.testing.assert_allclose(fit_similarity(points, target), [[a, -b, tx], [b, a, ty]], atol=1e-7)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    points = np.array(TEMPLATE) * [-100, 100]
    assert np.linalg.det(fit_similarity(points, Frame(100).points)[:, :2]) > 0


def test_the_margin_shrinks_the_face_square_about_its_centre() -> None:
    np.testing.assert_allclose(Frame(100).points[0], [30, 30])
    np.testing.assert_allclose(Frame(100, margin=0.5).points[[0, 2]], [[40, 40], [50, 53]])
    np.testing.assert_allclose(Frame(100, margin=-0.2).points[0], [100 / 6, 100 / 6])


@settings(max_examples=30, deadline=None)
@given(st.integers(16, 130), st.integers(0, 1000))
def test_a_whole_picture_of_the_final_size_stays_as_it_is(size: int, seed: int) -> None:
    picture = noise(seed, size, size)
    frame = Frame(size)
    np.testing.assert_array_equal(warp(picture, transform(None, np.array([0.0, 0, size, size]), frame), size), picture)


def test_a_whole_picture_of_twice_the_size_is_averaged_by_fours() -> None:
    picture = noise(0, 128, 128)
    crop = warp(picture, transform(None, np.array([0.0, 0, 128, 128]), Frame(64)), 64)
    mean = picture.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(crop - mean).max() <= 0.5


@pytest.mark.parametrize("angle", [0.0, 0.2])
def test_a_strong_reduction_shows_no_aliasing(angle: float) -> None:
    chess = np.repeat(np.indices((600, 600)).sum(axis=0)[:, :, None] % 2 * 255, 3, axis=2).astype(np.uint8)
    matrix = rotation(angle, 0.1, 8, 2)
    crop = warp(chess, matrix, 48)[8:40, 8:40].astype(float)
    assert np.abs(crop - 127.5).max() < 20
    plain = cv2.warpAffine(chess, matrix, (48, 48), flags=cv2.INTER_LINEAR)[8:40, 8:40].astype(float)
    assert np.abs(plain - 127.5).max() > 60  # so that the bound above means something


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.7, 2.5), (-2.0, 0.6), (3.0, 8.0)])
def test_five_spots_come_to_stand_on_the_template(angle: float, scale: float) -> None:
    frame = Frame(96, margin=0.1)
    points = transform_points(frame.points, rotation(angle, scale, 0, 0))
    points += 40 - points.min(axis=0)
    picture = np.zeros((*(np.ceil(points.max(axis=0)[::-1]).astype(int) + 40), 3), np.uint8)
    rows, columns = np.indices(picture.shape[:2]) + 0.5
    for x, y in points:
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (2.5 * scale) ** 2))
        picture = np.maximum(picture, (255 * spot).astype(np.uint8)[:, :, None])
    crop = warp(picture, transform(points, None, frame), 96)[:, :, 0].astype(float)
    rows, columns = np.indices(crop.shape) + 0.5
    for x, y in frame.points:
        near = crop * (np.hypot(columns - x, rows - y) < 7)
        np.testing.assert_allclose([(columns * near).sum() / near.sum(), (rows * near).sum() / near.sum()], [x, y], atol=0.15)


def test_a_box_stands_for_the_face_square() -> None:
    matrix = transform(None, np.array([10.0, 20, 50, 40]), Frame(80))  # centre (30, 30), side 40
    np.testing.assert_allclose(transform_points(np.array([[10.0, 10], [50, 50]]), matrix), [[0, 0], [80, 80]])
    matrix = transform(None, np.array([10.0, 20, 50, 40]), Frame(80, margin=0.5))
    np.testing.assert_allclose(transform_points(np.array([[10.0, 10], [50, 50]]), matrix), [[20, 20], [60, 60]])


def test_points_and_box_of_one_square_give_the_same_pixels() -> None:
    picture = noise(0, 200, 260)
    frame = Frame(50, margin=0.2)
    by_points = transform(np.array(TEMPLATE) * 100 + np.array([70, 30]), None, frame)
    by_box = transform(None, np.array([70.0, 30, 170, 130]), frame)
    np.testing.assert_array_equal(warp(picture, by_points, 50), warp(picture, by_box, 50))


def test_beyond_the_picture_its_border_goes_on() -> None:
    picture = noise(0, 32, 32)
    crop = warp(picture, transform(None, np.array([-32.0, 0, 32, 64]), Frame(64)), 64)
    np.testing.assert_array_equal(crop[:32, :32], np.repeat(picture[:, :1], 32, axis=1))
    np.testing.assert_array_equal(crop[:32, 32:], picture)


SQUARE = np.array(TEMPLATE) * 60 + 20


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 30.0),
        np.where(np.arange(10).reshape(5, 2) == 3, np.nan, SQUARE),
        np.where(np.arange(10).reshape(5, 2) == 3, np.inf, SQUARE),
        SQUARE + np.array([500, 0]),
        (SQUARE - 50) * 20 + 50,
        (SQUARE - 50) * 0.01 + 50,
    ],
    ids=["coincident", "nan", "infinite", "outside", "huge", "tiny"],
)
def test_points_that_are_no_face_are_refused(points: np.ndarray) -> None:
    frame = Frame(64)
    assert usable(transform(SQUARE, None, frame), (100, 100, 3), frame)
    assert not usable(transform(points, None, frame), (100, 100, 3), frame)


@pytest.mark.parametrize("box", [[30, 30, 30, 30], [50, 50, 20, 20], [np.nan, 0, 10, 10], [200, 0, 260, 60]])
def test_boxes_that_are_no_face_are_refused(box: list[float]) -> None:
    assert not usable(transform(None, np.array(box, dtype=float), Frame(64)), (100, 100, 3), Frame(64))


KINDS = ["similarity", "box", "hull"]
LANDMARKS = np.concatenate([SQUARE, np.array([[22.0, 50], [50, 84], [78, 50], [50, 16]])])  # the hull is 56 wide and 68 high
OWN = Annotation(LANDMARKS, np.array([10.0, 20, 60, 80]))


def test_a_box_crop_is_the_box_with_its_margin_not_turned() -> None:
    matrix = crops.transform(Face(np.array([10.0, 20, 60, 80]), SQUARE), OWN, Frame(108, margin=0.4, crop="box"))
    np.testing.assert_allclose(transform_points(np.array([[35 - 54.0, 50 - 54], [35 + 54, 50 + 54]]), matrix), [[0, 0], [108, 108]])


def test_a_hull_crop_is_the_square_around_all_landmarks_of_the_data_set() -> None:
    matrix = crops.transform(Face(bounds(SQUARE), SQUARE), OWN, Frame(68, crop="hull"))
    np.testing.assert_allclose(transform_points(LANDMARKS[[6, 8]], matrix), [[34, 68], [34, 0]])
    wide = crops.transform(Face(bounds(SQUARE), SQUARE), OWN, Frame(100, margin=0.25, crop="hull"))
    np.testing.assert_allclose(transform_points(LANDMARKS[[8]], wide), [[50, 100 / 6]])


def test_the_hull_of_a_detected_face_is_that_of_its_five_points() -> None:
    detected = SQUARE + np.array([0.5, -0.25])
    for annotation in (OWN, Annotation()):
        matrix = crops.transform(Face(np.array([0.0, 0, 90, 90]), detected), annotation, Frame(50, crop="hull"))
        corners = transform_points(detected, matrix)
        assert corners.min() == pytest.approx(0)
        assert corners.max() == pytest.approx(50)


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_without_points_is_its_box_in_every_kind_of_crop(kind: str) -> None:
    picture, box = noise(0, 100, 120), np.array([10.0, 20, 60, 80])
    result = cut(picture, Face(box), Annotation(), Frame(48, 0.1, kind))
    assert result is not None
    expected = transform(None, box, Frame(48, 0.1))
    np.testing.assert_array_equal(result.matrix, expected)
    np.testing.assert_array_equal(result.image, warp(picture, expected, 48))


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_is_cut_once_from_the_picture(kind: str) -> None:
    picture = noise(0, 100, 100)
    frame = Frame(40, 0.2, kind)
    face = Face(np.array([10.0, 20, 60, 80]), SQUARE)
    result = cut(picture, face, OWN, frame)
    assert result is not None
    np.testing.assert_array_equal(result.image, warp(picture, crops.transform(face, OWN, frame), 40))


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.floats(-0.2, 2), st.floats(-3.1, 3.1), st.floats(0.3, 3))
def test_only_a_similarity_turns_and_each_kind_keeps_its_margin(kind: str, margin: float, angle: float, scale: float) -> None:
    points = transform_points(np.array(TEMPLATE) * 60, rotation(angle, scale, 300, 300))
    face, frame = Face(bounds(points), points), Frame(64, margin, kind)
    matrix = crops.transform(face, Annotation(), frame)
    assert roll(matrix) == pytest.approx(-math.degrees(angle) if kind == "similarity" else 0, abs=1e-6)
    square = 60 * scale if kind == "similarity" else (face.box[2:] - face.box[:2]).max()
    assert face_size(matrix, frame) == pytest.approx(square)
    assert scale_of(matrix) * square * (1 + 2 * margin) == pytest.approx(64)


def test_the_roll_is_clockwise_as_seen() -> None:
    leaning = transform_points(SQUARE, rotation(-0.5, 1, 0, 0))  # the picture shows the face turned against the clock
    assert roll(transform(leaning, None, Frame(64))) == pytest.approx(math.degrees(0.5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", [[np.nan, 0, 10, 10], [50, 50, 50, 50], [200, 0, 260, 60]])
def test_what_makes_no_face_is_not_cut(kind: str, box: list[float]) -> None:
    assert cut(noise(0, 100, 100), Face(np.array(box, dtype=float)), Annotation(), Frame(64, 0.0, kind)) is None


def test_a_hull_with_a_landmark_that_is_no_number_is_not_cut() -> None:
    landmarks = LANDMARKS.copy()
    landmarks[7] = np.nan
    face = Face(bounds(SQUARE), SQUARE)
    assert cut(noise(0, 100, 100), face, Annotation(landmarks), Frame(64, crop="hull")) is None
    assert cut(noise(0, 100, 100), face, Annotation(landmarks), Frame(64)) is not None


def test_a_whole_picture_is_a_face_that_fills_it() -> None:
    np.testing.assert_array_equal(whole_face(noise(0, 40, 60)).box, [0, 0, 60, 40])


def test_a_fourth_channel_changes_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        image = random.integers(0, 256, (int(random.integers(20, 90)), int(random.integers(20, 90)), 3), dtype=np.uint8)
        angle, scale, (x, y) = random.uniform(-3, 3), random.uniform(0.1, 3), random.uniform(-30, 30, 2)
        matrix = np.array([[scale * np.cos(angle), -scale * np.sin(angle), x], [scale * np.sin(angle), scale * np.cos(angle), y]])
        warped = []
        for share in (0, 1_000_000):
            monkeypatch.setattr(crops, "PADDED_SHARE", share)
            warped.append(crops.warp(image, matrix, 32))
        np.testing.assert_array_equal(*warped)
