"""Images of noise, as arrays and encoded."""

from __future__ import annotations

import cv2
import numpy as np


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8, every value uniform."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(width: int = 20, height: int = 16, suffix: str = ".jpg", seed: int = 0) -> bytes:
    """An encoded picture of noise; its channels are in OpenCV's order."""
    return cv2.imencode(suffix, noise(seed, height, width))[1].tobytes()


def noise_batch(count: int, size: int) -> np.ndarray:
    """(count, size, size, 3) uint8, the same each time."""
    return np.random.default_rng(0).integers(0, 255, (count, size, size, 3), np.uint8)
