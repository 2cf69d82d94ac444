"""Augmentation: each op against a reference of its own, picture by picture; pictures and draws stay together; devices agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from agecascade.augmentation import LUMA, Augmenter, plain
from agecascade.augmentation.draw import draw
from agecascade.loading import Stored, portion
from agecascade.params import PRESETS, Augment, Normalisation

UNCHANGED = Normalisation(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0])
CHANNELS = Normalisation(mean=[0.6, 0.46, 0.41], std=[0.27, 0.24, 0.23])
EVERYTHING = {"preset": "dldl_v2", "shift": 0.05, "zoom": 0.2, "crop": 0.8, "erase": 0.5}
RELEASED = [0.6299566, 0.3947613, 0.2771635]  # measured at commit 10c892d


def pictures(count: int = 4, size: int = 32, seed: int = 0) -> np.ndarray:
    """Smooth pictures without black and white: interpolation hardly blurs them, colour changes cut nothing off."""
    smooth = np.random.default_rng(seed).random((count, 3, 4, 4))
    large = torch.nn.functional.interpolate(torch.from_numpy(smooth), size=(size, size), mode="bicubic").clamp(0, 1)
    return (50 + large.permute(0, 2, 3, 1).numpy() * 130).astype(np.uint8)


def augmented(images: Stored | np.ndarray, seed: int = 0, threads: int = 1, **changes: object) -> np.ndarray:
    """(B, S, S, 3) float32 in 0..1 as changed on the processor; the preset is `none` unless told otherwise."""
    augmenter = Augmenter(Augment.model_validate({"preset": "none", **changes}), UNCHANGED, threads=threads)
    return augmenter(images, np.random.default_rng(seed)).permute(0, 2, 3, 1).numpy()


def test_nothing_changes_where_all_is_off() -> None:
    images = pictures()
    np.testing.assert_allclose(augmented(images), images / 255, atol=1e-6)


def test_batches_are_channels_last_tensors() -> None:
    batch = Augmenter(Augment(), CHANNELS)(pictures(3, 16), np.random.default_rng(0))
    assert (batch.shape, batch.dtype) == ((3, 3, 16, 16), torch.float32)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_flip() -> None:
    images = pictures()
    np.testing.assert_allclose(augmented(images, flip=1.0), images[:, :, ::-1] / 255, atol=1e-6)


def test_gray_against_pillow() -> None:
    images = pictures()
    result = augmented(images, gray=1.0)
    for image, changed in zip(images, result, strict=True):
        expected = np.asarray(Image.fromarray(image).convert("L"))[..., None].repeat(3, axis=2)
        np.testing.assert_allclose(changed * 255, expected, atol=0.51)  # Pillow rounds
    np.testing.assert_allclose(result, np.repeat((images / 255 @ LUMA)[..., None], 3, axis=3), atol=1e-5)


def factors_of(seed: int, count: int, jitter: float) -> np.ndarray:
    """Brightness, contrast and saturation of each picture, (B, 3), as drawn after the geometry."""
    random = np.random.default_rng(seed)
    for size in (count, count, count, count, (count, 2), count):
        random.random(size)
    return random.uniform(1 - jitter, 1 + jitter, (3, count)).T


def test_colours_against_torchvision() -> None:
    images = pictures(count=5)
    result = augmented(images, seed=5, jitter=0.3)
    for image, changed, (brightness, contrast, saturation) in zip(images, result, factors_of(5, 5, 0.3), strict=True):
        tensor = torch.from_numpy(image / 255).permute(2, 0, 1)
        tensor = vision.adjust_contrast(vision.adjust_brightness(tensor, brightness), contrast)
        expected = vision.adjust_saturation(tensor, saturation).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(changed, expected, atol=1e-3)  # torchvision's luma weights have four digits


def test_colours_are_cut_off_at_black_and_white() -> None:
    images = (pictures(count=6) // 100 * 100 + 55).astype(np.uint8)
    result = augmented(images, seed=5, jitter=0.9)
    for image, changed, (brightness, contrast, saturation) in zip(images, result, factors_of(5, 6, 0.9), strict=True):
        pixels = image / 255 * brightness
        pixels = contrast * pixels + (1 - contrast) * (pixels @ LUMA).mean()
        pixels = saturation * pixels + (1 - saturation) * (pixels @ LUMA)[..., None]
        np.testing.assert_allclose(changed, np.clip(pixels, 0, 1), atol=1e-5)


def test_rotation_zoom_and_shift_against_torchvision() -> None:
    images, size = pictures(count=6, size=48), 48
    result = augmented(images, seed=3, rotation=30.0, zoom=0.2, shift=0.1)
    random = np.random.default_rng(3)
    random.random(6), random.random(6)
    angle, zoom, shift = random.uniform(-30, 30, 6), random.uniform(0.8, 1.2, 6), random.uniform(-0.1, 0.1, (6, 2))
    for i, image in enumerate(images):
        # a shift of a fraction of a pixel: torchvision takes whole ones, so that the picture comes larger
        large = vision.resize(torch.from_numpy(image / 255).permute(2, 0, 1), [size * 10, size * 10], InterpolationMode.BILINEAR)
        moved = vision.affine(
            large, float(angle[i]), np.rint(shift[i] * size * 10).astype(int).tolist(), float(zoom[i]), [0.0], InterpolationMode.BILINEAR
        )
        covered = vision.affine(
            torch.ones_like(large), float(angle[i]), np.rint(shift[i] * size * 10).astype(int).tolist(), 0.95 * float(zoom[i]), [0.0]
        )
        expected = torch.nn.functional.interpolate(moved[None], scale_factor=0.1, mode="area")[0].permute(1, 2, 0).numpy()
        inside = torch.nn.functional.interpolate(covered[None], scale_factor=0.1, mode="area")[0, 0].numpy() == 1
        inside[:10] = inside[-10:] = inside[:, :10] = inside[:, -10:] = False
        assert inside.any()
        np.testing.assert_allclose(result[i][inside], expected[inside], atol=0.02)


def test_downscale_against_torch() -> None:
    images = pictures(count=6)
    result = augmented(images, seed=2, downscale=0.5)
    random = np.random.default_rng(2)
    random.random(6)
    for image, changed, side in zip(images, result, np.rint(32 * random.uniform(0.5, 1, 6)).astype(int), strict=True):
        tensor = torch.from_numpy(image / 255).permute(2, 0, 1)[None]
        small = torch.nn.functional.interpolate(tensor, size=(int(side), int(side)), mode="bilinear")
        expected = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear")[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(changed, expected, atol=2.5 / 255)  # OpenCV rounds twice, and places to 1/32 pixel


def test_crop_against_pillow() -> None:
    images = pictures(count=6, size=48)
    result = augmented(images, seed=4, crop=0.5)
    random = np.random.default_rng(4)
    for size in (6, 6, 6, 6, (6, 2), 6, (3, 6)):
        random.random(size)
    share = random.uniform(0.5, 1, 6)
    corner = random.random((6, 2)) * (1 - share)[:, None]
    for image, changed, side, (left, top) in zip(images, result, share * 48, corner * 48, strict=True):
        box = (left, top, left + side, top + side)
        expected = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR, box=box))
        np.testing.assert_allclose(changed[2:-2, 2:-2] * 255, expected[2:-2, 2:-2], atol=2.5)


def test_erasing_fills_a_rectangle_with_the_mean_colour() -> None:
    images = pictures(count=200)
    result = Augmenter(Augment(preset="none", erase=0.5, erase_area=0.3), CHANNELS)(images, np.random.default_rng(0))
    erased = (result != Augmenter(Augment(preset="none"), CHANNELS)(images, np.random.default_rng(0))).any(dim=1)
    shares = erased.float().mean(dim=(1, 2))
    assert 0.4 < (shares > 0).float().mean() < 0.6
    assert 0.01 < shares[shares > 0].min() < 0.04
    assert 0.25 < shares.max() < 0.33
    for picture, where in zip(result, erased, strict=True):
        rows, columns = where.any(dim=1), where.any(dim=0)
        assert (picture[:, rows][:, :, columns] == 0).all()
        assert torch.equal(where, rows[:, None] & columns[None])  # a rectangle
        for edge in (rows, columns):
            assert edge.int().diff().abs().sum() <= 2


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
@given(seed=st.integers(0, 2**31), count=st.integers(1, 6), threads=st.integers(1, 3), device=st.booleans())
def test_pictures_stay_in_their_place(seed: int, count: int, threads: int, device: bool) -> None:
    label = np.linspace(30, 220, count).astype(np.uint8)
    images = np.empty((count, 24, 24, 3), np.uint8)
    images[:] = label[:, None, None, None]  # told apart by brightness alone
    changes = Augment(preset="dldl_v2", jitter=0.0, shift=0.1, zoom=0.1, crop=0.8)
    taken = torch.from_numpy(images) if device else images
    result = Augmenter(changes, UNCHANGED, threads=threads)(taken, np.random.default_rng(seed))
    np.testing.assert_allclose(result.mean(dim=(1, 2, 3)) * 255, label, atol=1)


def test_each_picture_has_its_own_draw() -> None:
    images = np.repeat(pictures(1), 16, axis=0)
    result = augmented(images, **EVERYTHING)
    assert len({picture.tobytes() for picture in result}) == 16


def test_the_generator_decides_everything() -> None:
    images = pictures()
    assert np.array_equal(augmented(images, 7, **EVERYTHING), augmented(images, 7, **EVERYTHING))
    assert not np.array_equal(augmented(images, 7, **EVERYTHING), augmented(images, 8, **EVERYTHING))


def test_threads_change_no_bit() -> None:
    images = pictures(7)
    assert np.array_equal(augmented(images, **EVERYTHING), augmented(images, threads=3, **EVERYTHING))


def test_a_portion_that_threads_gather_is_changed_as_its_pictures_are() -> None:
    images, rows = pictures(40), np.random.default_rng(1).permutation(40)[:37]
    expected = augmented(images[rows], **EVERYTHING)
    for source in (images, Stored(images), Stored(np.concatenate([images, images]), rows=np.arange(40, 80))):
        assert np.array_equal(augmented(portion(source, rows), threads=2, **EVERYTHING), expected)


def test_the_order_of_draws_is_that_of_committed_metrics() -> None:
    """Draws as of the first release; ops that came later must not disturb them while they are off."""
    changes = Augment(flip=0.5, gray=0.5, downscale=0.6, rotation=20.0, shift=0.1, zoom=0.2, jitter=0.3)
    random, reference = np.random.default_rng(9), np.random.default_rng(9)
    result = draw(changes, 5, 64, random)
    flip = reference.random(5) < 0.5
    side = np.rint(64 * reference.uniform(0.6, 1, 5)).astype(int)
    angle, zoom = np.deg2rad(reference.uniform(-20, 20, 5)), reference.uniform(0.8, 1.2, 5)
    shift = reference.uniform(-0.1, 0.1, (5, 2))
    gray = reference.random(5) < 0.5
    brightness, contrast, saturation = reference.uniform(0.7, 1.3, (3, 5))
    assert result.matrix is not None
    assert result.colour is not None
    assert np.array_equal(result.side, side)
    for i in range(5):
        assert np.linalg.det(result.matrix[i, :, :2]) == pytest.approx((-1 if flip[i] else 1) * (zoom[i] * side[i] / 64) ** 2)
        assert np.arctan2(-result.matrix[i, 0, 1], result.matrix[i, 1, 1]) == pytest.approx(angle[i])
        np.testing.assert_allclose(result.matrix[i] @ [31.5, 31.5, 1], (side[i] - 1) / 2 + shift[i] * side[i])
        assert (np.ptp(result.colour[i], axis=0).max() < 1e-6) == gray[i]
        assert result.colour[i].sum() == pytest.approx(3 * brightness[i] * contrast[i], rel=1e-5)
        if not gray[i]:
            assert result.colour[i, 0, 0] - result.colour[i, 1, 0] == pytest.approx(brightness[i] * contrast[i] * saturation[i], rel=1e-4)
    assert random.random() == reference.random()  # nothing else was drawn


def test_a_constant_picture_of_the_first_release() -> None:
    """The value that the first release gave for this seed: colour, gray and their order."""
    images = np.full((1, 8, 8, 3), [200, 100, 50], np.uint8)
    result = augmented(images, 1, preset="dldl_v2")
    np.testing.assert_allclose(result[0, 4, 4], RELEASED, atol=1e-5)


@pytest.mark.parametrize("changes", [*({"preset": name} for name in PRESETS), EVERYTHING], ids=[*PRESETS, "everything"])
def test_the_batched_path_agrees_with_opencv(changes: dict[str, object]) -> None:
    """In levels of 255: OpenCV rounds each of two passes to a level and places to 1/32 pixel, and colour jitter amplifies both.

    Half a level on average and 4 levels at worst, on smooth pictures and on noise with steps of up to 60 levels between pixels.
    """
    noise = np.random.default_rng(1).integers(0, 60, (8, 48, 48, 3), np.uint8)
    for images, worst in ((pictures(8, 48), 3.0), (pictures(8, 48) + noise // 4, 4.0)):
        augmenter = Augmenter(Augment.model_validate(changes), CHANNELS)
        ours = augmenter(images, np.random.default_rng(3))
        batched = augmenter(torch.from_numpy(images), np.random.default_rng(3))
        assert batched.is_contiguous(memory_format=torch.channels_last)
        difference = (ours - batched).abs() * torch.tensor(CHANNELS.std)[:, None, None] * 255
        assert difference.mean() < 0.5
        assert difference.max() < worst


def test_the_batched_path_keeps_the_edges() -> None:
    """What comes from outside the picture repeats its edge, in the corner of a down-scaled picture too."""
    images = np.zeros((16, 32, 32, 3), np.uint8)
    images[:, :, 16:] = 200
    changes = Augment(preset="none", shift=0.5, rotation=180.0, downscale=0.4)
    ours = Augmenter(changes, UNCHANGED)(images, np.random.default_rng(3))
    batched = Augmenter(changes, UNCHANGED)(torch.from_numpy(images), np.random.default_rng(3))
    assert ((ours - batched).abs() * 255 < 8).all()  # 200 levels within a pixel, 1/32 of it is 6


def test_plain_is_the_formula_to_the_bit() -> None:
    images = pictures(3, 16)
    mean, std = np.asarray(CHANNELS.mean, np.float32), np.asarray(CHANNELS.std, np.float32)
    expected = (images.astype(np.float32) / 255 - mean) / std
    assert np.array_equal(plain(images, CHANNELS).permute(0, 2, 3, 1).numpy(), expected)
    np.testing.assert_allclose(plain(torch.from_numpy(images), CHANNELS).permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)


def test_an_empty_batch_is_fine() -> None:
    assert Augmenter(Augment(), CHANNELS, threads=2)(pictures(2)[:0], np.random.default_rng(0)).shape == (0, 3, 32, 32)
