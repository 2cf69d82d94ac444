"""Encoded pictures as one block of pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np

from agecascade.faces.crops import decode_image


def decoded(encoded: Sequence[bytes], size: int) -> np.ndarray:
    """Square pictures as (n, size, size, 3) uint8 RGB, resized where they are stored otherwise.

    Raises FaceError where one is damaged.
    """
    images = np.empty((len(encoded), size, size, 3), np.uint8)

    def decode(rows: range) -> None:
        for i in rows:
            images[i] = resized(decode_image(encoded[i]), size)

    threads, workers = _threads(), os.cpu_count() or 1
    list(threads.map(decode, [range(start, len(encoded), workers) for start in range(workers)]))
    return images


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """A square picture (S, S, 3) at (size, size, 3); area averaging when it shrinks."""
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR)


@cache
def _threads() -> ThreadPoolExecutor:
    """One pool for the process: OpenCV lets go of the interpreter while it decodes."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
