"""Bio-inspired features against a direct slow computation of what they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from agecascade.features import bif
from agecascade.features.bif import bif_features
from images import noise_batch


def slowly(picture: np.ndarray, pool: Callable[[np.ndarray], float] = np.max) -> np.ndarray:
    """The features of one picture (60, 44), pixel by pixel and square by square."""
    mirrored = np.pad(picture.astype(np.float64), 13, mode="reflect")
    features = []
    for scales, side in bif.BANDS:
        rows, columns = bif.squares(side)
        for orientation in range(8):
            strongest = np.zeros(picture.shape)
            for size, sigma, wavelength in scales:
                filter_ = np.empty((size, size))
                for i in range(size):
                    for j in range(size):
                        y, x, theta = i - size // 2, j - size // 2, orientation * math.pi / 8
                        along, across = x * math.cos(theta) + y * math.sin(theta), y * math.cos(theta) - x * math.sin(theta)
                        gauss = math.exp(-(along**2 + 0.09 * across**2) / (2 * sigma**2))
                        filter_[i, j] = gauss * math.cos(2 * math.pi * along / wavelength)
                filter_ -= filter_.mean()
                filter_ /= math.sqrt((filter_**2).sum())
                for y in range(picture.shape[0]):
                    for x in range(picture.shape[1]):
                        top, left = y + 13 - size // 2, x + 13 - size // 2
                        response = abs((filter_ * mirrored[top : top + size, left : left + size]).sum())
                        strongest[y, x] = max(strongest[y, x], response)
            for row in range(rows):
                for column in range(columns):
                    top, left = row * (side // 2), column * (side // 2)
                    features.append(pool(strongest[top : top + side, left : left + side]))
    return np.array(features)


@pytest.mark.parametrize(("pooling", "pool"), [("max", np.max), ("std", np.std)])
def test_they_are_what_the_slow_computation_says(pooling: str, pool: Callable[[np.ndarray], float]):
    picture = np.random.default_rng(0).random((60, 44)).astype(np.float32)
    picture[20:40] *= 0.3
    result = bif.Bif(pooling)(torch.from_numpy(picture[None])).numpy()[0]
    np.testing.assert_allclose(result, slowly(picture, pool), rtol=1e-4, atol=1e-5)


def test_even_responses_have_no_deviation():
    """By hand: of the values 1, 1, 1, 5 in four blocks the mean is 2, the deviation the root of (1 + 1 + 1 + 9) / 4."""
    assert bif.Bif("std")(torch.ones(1, 60, 44)).abs().max() < 1e-4
    maps = torch.ones(1, 1, 4, 4)
    maps[..., 2:, 2:] = 5
    assert bif._square_deviations(maps, 2).item() == pytest.approx(3**0.5)
    large = torch.full((1, 1, 4, 4), 1000.0)
    large[..., 0, 0] += 0.5
    assert bif._square_deviations(large, 2).item() == pytest.approx(0.5 * 15**0.5 / 16, rel=1e-3)


def test_there_are_as_many_as_the_paper_counts():
    assert bif.SIZE == 4616
    assert [bif.squares(side) for _, side in bif.BANDS] == [(19, 13), (14, 10), (11, 7), (9, 6), (7, 5), (6, 4)]
    assert bif.Bif()(torch.zeros(2, 60, 44)).shape == (2, 4616)


def test_filters_see_their_own_orientation_most_and_no_brightness():
    assert bif.Bif()(torch.ones(1, 60, 44)).abs().max() < 1e-4
    x = np.arange(44)
    stripes = torch.tensor(np.tile(np.cos(2 * np.pi * x / 5.6), (60, 1)), dtype=torch.float32)  # upright, of band 2
    first = 8 * 19 * 13
    band = bif.Bif()(stripes[None])[0, first : first + 8 * 14 * 10].reshape(8, -1)
    assert band.mean(1).argmax() == 0


def test_batches_do_not_change_them(monkeypatch: pytest.MonkeyPatch):
    pictures = noise_batch(7, 64)
    whole = np.concatenate(list(bif_features(pictures)))
    monkeypatch.setattr(bif, "CHUNK", 3)
    monkeypatch.setattr("agecascade.features.bif.MOST", 4)
    parts = list(bif_features(pictures))
    assert [len(part) for part in parts] == [4, 3]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-6)
    lengths = np.linalg.norm(np.concatenate(list(bif_features(pictures, "l2"))), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_pictures_become_grey_and_of_the_papers_size():
    picture = np.zeros((1, 120, 120, 3), np.uint8)
    picture[..., 1] = 100
    prepared = bif.prepare(picture)
    assert prepared.shape == (1, 60, 44)
    np.testing.assert_allclose(prepared, 59 / 255, atol=1e-6)  # 0.587 of 100
    assert bif.prepare(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 60, 44)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_computes_the_same():
    pictures = noise_batch(5, 60)
    here, there = (np.concatenate(list(bif_features(pictures, device=device))) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3)
