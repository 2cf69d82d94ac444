"""Pictures as bytes and as RGB arrays."""

from __future__ import annotations

import cv2
import numpy as np

from agecascade.errors import FaceError
from agecascade.faces.alignment import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".jp2")


def decode_image(data: bytes) -> Image:
    """Encoded bytes as RGB (H, W, 3) uint8, upright by their EXIF orientation.

    Raises FaceError where they are no picture or a truncated one.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # empty, or larger than OpenCV takes
        image = None
    if image is None:
        raise FaceError(f"no picture in {len(data)} bytes, or a truncated one")
    return np.asarray(image, dtype=np.uint8)  # (H, W, 3)


def encode_image(image: Image, encoding: str, quality: int) -> bytes:
    """RGB (H, W, 3) uint8 as JPEG or WebP of a quality of 1 to 100, or as PNG, which loses nothing and has none."""
    options = {
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]),
        "png": (".png", []),
        "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, quality]),
    }
    suffix, flags = options[encoding]
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    return bytes(data)
