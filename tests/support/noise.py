"""Pictures of random pixels."""

from __future__ import annotations

import numpy as np


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """One RGB picture (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def noise_batch(count: int, size: int) -> np.ndarray:
    """Square RGB pictures (count, size, size, 3) uint8, the same each time."""
    return np.random.default_rng(0).integers(0, 255, (count, size, size, 3), np.uint8)
