"""Augmentation: identity where all is off, each op against a plain reference, pictures and draws stay together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.augmentation import LUMA, Augmenter, normalised
from agecascade.params import Augment, Normalisation

OFF = {"flip": 0.0, "gray": 0.0, "downscale": 1.0, "rotation": 0.0, "shift": 0.0, "zoom": 0.0, "jitter": 0.0}
PLAIN = Normalisation(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0])


def pictures(count: int = 4, size: int = 32, seed: int = 0) -> np.ndarray:
    smooth = np.random.default_rng(seed).random((count, 3, 4, 4))
    large = torch.nn.functional.interpolate(torch.from_numpy(smooth), size=(size, size), mode="bicubic").clamp(0, 1)
    return (large.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)


def augmented(images: np.ndarray, seed: int = 0, **changes: float) -> np.ndarray:
    return Augmenter(Augment(**{**OFF, **changes}), PLAIN)(images, np.random.default_rng(seed))


def test_nothing_changes_where_all_is_off() -> None:
    images = pictures()
    np.testing.assert_allclose(augmented(images), images / 255, atol=1e-6)


def test_flip() -> None:
    images = pictures()
    np.testing.assert_allclose(augmented(images, flip=1.0), images[:, :, ::-1] / 255, atol=0.01)


def test_gray() -> None:
    images = pictures()
    expected = np.repeat((images / 255 @ LUMA)[..., None], 3, axis=3)
    np.testing.assert_allclose(augmented(images, gray=1.0), expected, atol=1e-5)


def test_colours_against_a_sequential_reference() -> None:
    images = pictures(count=3)
    found = augmented(images, seed=5, jitter=0.3)
    random = np.random.default_rng(5)
    for size in (3, 3, 3, 3, (3, 2)):
        random.random(size)  # the draws of the geometry
    random.random(3)  # gray
    for index, factors in enumerate(random.uniform(0.7, 1.3, (3, 3)).T):
        brightness, contrast, saturation = factors
        image = images[index] / 255 * brightness
        image = contrast * image + (1 - contrast) * (image @ LUMA).mean()
        image = saturation * image + (1 - saturation) * (image @ LUMA)[..., None]
        np.testing.assert_allclose(found[index], np.clip(image, 0, 1), atol=1e-5)


def test_rotation_keeps_the_centre_and_moves_the_rest() -> None:
    images = np.zeros((8, 33, 33, 3), np.uint8)
    images[:, 16, 16] = 255
    images[:, 2, 16] = 255
    turned = augmented(images, rotation=90.0)
    assert (turned[:, 16, 16, 0] > 0.95).all()
    assert (turned[:, 2, 16, 0] < 0.5).any()


def test_downscale_loses_detail_but_no_brightness() -> None:
    images = (np.indices((1, 32, 32, 3))[2] % 2 * 255).astype(np.uint8)  # one-pixel stripes
    blurred = augmented(images, downscale=0.5, seed=2)
    assert blurred.std() < 0.6 * (images / 255).std()
    assert blurred.mean() == pytest.approx((images / 255).mean(), abs=0.03)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 6))
def test_pictures_stay_in_their_place(seed: int, count: int) -> None:
    images = np.empty((count, 24, 24, 3), np.uint8)
    images[:] = np.linspace(30, 220, count).astype(np.uint8)[:, None, None, None]  # told apart by brightness alone
    found = augmented(images, seed, flip=0.5, rotation=15, shift=0.1, zoom=0.1, downscale=0.5)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)) * 255, images[:, 0, 0, 0], atol=1)


def test_the_generator_decides_everything() -> None:
    images, changes = pictures(), {"flip": 0.5, "rotation": 15.0, "jitter": 0.4, "gray": 0.5}
    assert np.array_equal(augmented(images, 7, **changes), augmented(images, 7, **changes))
    assert not np.array_equal(augmented(images, 7, **changes), augmented(images, 8, **changes))


def test_normalised() -> None:
    normalisation = Normalisation(mean=[0.5, 0.25, 0.0], std=[0.5, 0.25, 1.0])
    assert normalised(np.full((1, 1, 1, 3), 255, np.uint8), normalisation).ravel().tolist() == pytest.approx([1, 3, 1])
