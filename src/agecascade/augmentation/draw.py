"""The random draw of the changes of a batch, as arrays: all randomness is here, so that every device changes pictures alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agecascade.params import Augment

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as gray pictures are usually made
SMALLEST_AREA = 0.02  # of random erasing, as in its paper (Zhong et al. 2020)
ASPECTS = (0.3, 1 / 0.3)


@dataclass(frozen=True, eq=False)
class Draw:
    """The changes of B pictures.

    matrix: (B, 2, 3) float64, from the pixels of a picture (their centres at whole numbers) to those of a picture of `side`,
    which is then resized to the full size; None where no geometry changes. side: (B,) int pixels. colour: (B, 3, 3) float32 on
    RGB, or None. lift: (B,), the share of the mean luma that is added afterwards. erased: (B, 4) int, left, top, right, bottom
    in pixels, an empty box where nothing is erased; or None.
    """

    matrix: np.ndarray | None
    side: np.ndarray
    colour: np.ndarray | None
    lift: np.ndarray
    erased: np.ndarray | None


def draw(settings: Augment, count: int, size: int, random: np.random.Generator) -> Draw:
    """The changes of `count` pictures of `size` pixels.

    The order of the draws is part of what a seed means: newer operations draw last, and only where they are on.
    """
    flip = random.random(count) < settings.flip
    side = np.rint(size * random.uniform(settings.downscale, 1, count)).astype(int)
    angle = np.deg2rad(random.uniform(-settings.rotation, settings.rotation, count))
    zoom = random.uniform(1 - settings.zoom, 1 + settings.zoom, count)
    shift = random.uniform(-settings.shift, settings.shift, (count, 2))
    gray = random.random(count) < settings.gray
    factors = random.uniform(1 - settings.jitter, 1 + settings.jitter, (3, count)).astype(np.float32)
    matrix = _warp_matrices(size, side, angle, zoom, shift, flip)
    if settings.crop < 1:
        share = random.uniform(settings.crop, 1, count)
        matrix = _crop_matrices(matrix, size, share, random.random((count, 2)) * (1 - share)[:, None])
    colour, lift = _colour_matrices(gray, *factors)
    erased = _erased_boxes(settings, count, size, random) if settings.erase > 0 else None
    still = settings.crop == settings.downscale == 1 and not (settings.flip or settings.rotation or settings.shift or settings.zoom)
    same = settings.gray == settings.jitter == 0
    return Draw(None if still else matrix, side, None if same else colour, lift, erased)


def _warp_matrices(size: int, side: np.ndarray, angle: np.ndarray, zoom: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """The matrices (B, 2, 3) that rotate and scale a picture of `size` pixels about its centre into one of `side` pixels."""
    scale = zoom * (side / size)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    mirror = np.where(flip, -1, 1)
    linear = np.stack([cosine * mirror, -sine, sine * mirror, cosine], axis=1).reshape(-1, 2, 2)
    target = ((side - 1) / 2)[:, None] + shift * side[:, None]  # (B, 2), position of the centre afterwards
    return np.concatenate([linear, (target - linear @ np.full(2, (size - 1) / 2))[:, :, None]], axis=2)


def _crop_matrices(matrix: np.ndarray, size: int, share: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """`matrix` (B, 2, 3) applied to a square crop resized to full size; share (B,) its side, corner (B, 2) its upper left, as shares."""
    linear = matrix[:, :, :2] / share[:, None, None]
    before = 0.5 - corner * size - 0.5 * share[:, None]  # (B, 2): pixel p of the picture is (p + before) / share of the crop
    return np.concatenate([linear, matrix[:, :, 2:] + linear @ before[:, :, None]], axis=2)


def _colour_matrices(
    gray: np.ndarray, brightness: np.ndarray, contrast: np.ndarray, saturation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All colour changes are affine in RGB: one matrix per picture (B, 3, 3), and the share (B,) of its mean luma to add.

    Contrast pulls towards the mean luma of the brightened picture, saturation towards each pixel's own.
    """
    to_gray = np.broadcast_to(LUMA, (3, 3))  # each output channel is the luma
    keep = saturation[:, None, None]
    matrix = (brightness * contrast)[:, None, None] * (keep * np.eye(3, dtype=np.float32) + (1 - keep) * to_gray)
    return np.where(gray[:, None, None], matrix @ to_gray, matrix).astype(np.float32), (1 - contrast) * brightness


def _erased_boxes(settings: Augment, count: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Rectangles (B, 4) of random area, aspect and position in the picture; too long ones are clipped to its size."""
    chosen = random.random(count) < settings.erase
    area = random.uniform(SMALLEST_AREA, settings.erase_area, count)
    aspect = np.exp(random.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1]), count))
    extent = np.sqrt(area[:, None] * np.stack([aspect, 1 / aspect], axis=1))  # (B, 2), width and height as shares
    extent = np.clip(np.rint(extent * size), 1, size).astype(int)
    corner = np.floor(random.random((count, 2)) * (size - extent + 1)).astype(int)
    return np.concatenate([corner, corner + extent * chosen[:, None]], axis=1)
