"""Similarity, framing and warp."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.faces.alignment import TEMPLATE, Frame, place, scale_of, similarity, transform, usable, warp

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.05, 20)
shifts = st.floats(-500, 500)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def rotation(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@given(angles, scales, shifts, shifts)
def test_any_similarity_is_recovered(angle: float, scale: float, x: float, y: float) -> None:
    expected = rotation(angle, scale, x, y)
    points = np.array(TEMPLATE) * 100
    found = similarity(points, place(points, expected))
    np.testing.assert_allclose(found, expected, atol=1e-8 * (1 + abs(x) + abs(y) + scale))
    assert math.isclose(scale_of(found), scale, rel_tol=1e-9)


@given(st.integers(0, 10_000))
def test_noisy_points_are_fitted_in_least_squares(seed: int) -> None:
    points, target = np.random.default_rng(seed).normal(size=(2, 5, 2)) * 30
    x, y, one, zero = points[:, 0], points[:, 1], np.ones(5), np.zeros(5)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(system, target.T.ravel())[0]
    np.testing.assert_allclose(similarity(points, target), [[a, -b, tx], [b, a, ty]], atol=1e-7)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    points = np.array(TEMPLATE) * [-100, 100]
    assert np.linalg.det(similarity(points, Frame(100).points)[:, :2]) > 0


def test_the_margin_shrinks_the_face_square_about_its_centre() -> None:
    np.testing.assert_allclose(Frame(100).points[0], [30, 30])
    np.testing.assert_allclose(Frame(100, margin=0.5).points[[0, 2]], [[40, 40], [50, 53]])
    np.testing.assert_allclose(Frame(100, margin=-0.2).points[0], [100 / 6, 100 / 6])


@settings(max_examples=30, deadline=None)
@given(st.integers(16, 130), st.integers(0, 1000))
def test_a_whole_picture_of_the_final_size_stays_as_it_is(size: int, seed: int) -> None:
    picture = noise(size, size, seed)
    frame = Frame(size)
    np.testing.assert_array_equal(warp(picture, transform(None, np.array([0.0, 0, size, size]), frame), size), picture)


def test_a_whole_picture_of_twice_the_size_is_averaged_by_fours() -> None:
    picture = noise(128, 128)
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
    points = place(frame.points, rotation(angle, scale, 0, 0))
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
    np.testing.assert_allclose(place(np.array([[10.0, 10], [50, 50]]), matrix), [[0, 0], [80, 80]])
    matrix = transform(None, np.array([10.0, 20, 50, 40]), Frame(80, margin=0.5))
    np.testing.assert_allclose(place(np.array([[10.0, 10], [50, 50]]), matrix), [[20, 20], [60, 60]])


def test_points_and_box_of_one_square_give_the_same_pixels() -> None:
    picture = noise(200, 260)
    frame = Frame(50, margin=0.2)
    by_points = transform(np.array(TEMPLATE) * 100 + np.array([70, 30]), None, frame)
    by_box = transform(None, np.array([70.0, 30, 170, 130]), frame)
    np.testing.assert_array_equal(warp(picture, by_points, 50), warp(picture, by_box, 50))


def test_beyond_the_picture_its_border_goes_on() -> None:
    picture = noise(32, 32)
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
