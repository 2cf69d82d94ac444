"""Random changes of training pictures: one geometric warp and one colour matrix per picture, its own draw each."""

from __future__ import annotations

import cv2
import numpy as np

from agecascade.params import Augment, Normalisation

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as gray pictures are usually made


class Augmenter:
    """Pictures (B, S, S, 3) uint8 -> normalised float32 (B, S, S, 3), changed as DLDL-v2's section 4.1 describes.

    In order: flip, gray, down-scale and back, rotation with shift and zoom, then brightness, contrast, saturation.
    """

    def __init__(self, settings: Augment, normalisation: Normalisation) -> None:
        self.settings = settings
        self.normalisation = normalisation

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Each picture gets its own draw from `random`."""
        return normalised(self._colours(self._geometry(images, random), random), self.normalisation)

    def _geometry(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        settings, count, size = self.settings, len(images), images.shape[1]
        flip = random.random(count) < settings.flip
        side = np.rint(size * random.uniform(settings.downscale, 1, count)).astype(int)
        angle = np.deg2rad(random.uniform(-settings.rotation, settings.rotation, count))
        zoom = random.uniform(1 - settings.zoom, 1 + settings.zoom, count)
        shift = random.uniform(-settings.shift, settings.shift, (count, 2))
        warped = np.empty_like(images)
        for i, image in enumerate(images):
            matrix = _similarity(size, side[i], angle[i], zoom[i], shift[i], bool(flip[i]))
            small = cv2.warpAffine(image, matrix, (int(side[i]), int(side[i])), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            warped[i] = small if side[i] == size else cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
        return warped

    def _colours(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """All colour changes are affine in RGB, so that one matrix per picture does them at once: (B, S, S, 3) in 0..1."""
        count, size = len(images), images.shape[1]
        gray = random.random(count) < self.settings.gray
        jitter = self.settings.jitter
        brightness, contrast, saturation = random.uniform(1 - jitter, 1 + jitter, (3, count)).astype(np.float32)
        pixels = images.reshape(count, -1, 3).astype(np.float32) / 255  # (B, S*S, 3)
        to_gray = np.broadcast_to(LUMA, (3, 3))  # each output channel is the luma
        scale = (brightness * contrast)[:, None, None]
        keep = saturation[:, None, None]
        matrix = scale * (keep * np.eye(3, dtype=np.float32) + (1 - keep) * to_gray)  # (B, 3, 3)
        matrix = np.where(gray[:, None, None], matrix @ to_gray, matrix).astype(np.float32)
        # contrast pulls towards the mean luma of the brightened picture
        offset = (1 - contrast) * brightness * (pixels.mean(axis=1) @ LUMA)  # (B,)
        changed = pixels @ matrix.transpose(0, 2, 1) + offset[:, None, None]
        return np.clip(changed, 0, 1, out=changed).reshape(count, size, size, 3)


def normalised(images: np.ndarray, normalisation: Normalisation) -> np.ndarray:
    """RGB (..., 3) in 0..1, or uint8, minus the mean and over the deviation of each channel, as float32."""
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    mean, std = np.asarray(normalisation.mean, np.float32), np.asarray(normalisation.std, np.float32)
    return (images - mean) / std


def _similarity(size: int, side: int, angle: float, zoom: float, shift: np.ndarray, flip: bool) -> np.ndarray:
    """The 2x3 matrix that turns a picture of `size` pixels about its centre into one of `side` pixels."""
    scale = side / size
    cosine, sine = zoom * scale * np.cos(angle), zoom * scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    if flip:
        linear[:, 0] *= -1
    centre = (np.array([size, size]) - 1) / 2
    target = (np.array([side, side]) - 1) / 2 + shift * side
    return np.column_stack([linear, target - linear @ centre])
