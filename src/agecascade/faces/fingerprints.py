"""Fingerprints of pictures, by which copies are known: a digest of the bytes, and a perceptual hash of the crop."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from agecascade.faces.face import Image

SIDE = 32  # pixels of the picture that is transformed
LOW = 8  # lowest frequencies in each direction, which the hash is made of
BITS = LOW * LOW - 1
# The hash of a mirrored picture is the picture's with these bits inverted, the odd horizontal frequencies.
MIRRORED = 0x5555555555555555

# The mean face: each coefficient over the norm of all, averaged over the 20,726 pictures of UTKFace that have the alignment's
# framing, in thousandths. Rows: vertical frequency 0..7; columns: horizontal frequency 0, 2, 4, 6, as a mean face is symmetric.
MEAN_FACE = (
    (0, -275, -7, -66),
    (70, -95, -6, -40),
    (-157, -61, 59, 20),
    (65, -36, -61, 46),
    (152, -44, -60, 35),
    (121, -54, -20, 18),
    (-97, 48, 25, -19),
    (-81, 12, 40, 2),
)


def file_digest(data: bytes) -> int:
    """A digest of a picture's encoded bytes: the first 8 bytes of blake2b, as a signed little-endian integer."""
    return int.from_bytes(hashlib.blake2b(data).digest()[:8], "little", signed=True)


def hash_thumbnail(image: Image) -> NDArray[np.uint8]:
    """A picture (H, W, 3) RGB or (H, W) grey as grey (32, 32), area averaged."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def coefficients(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 8 x 8 lowest coefficients of the cosine transform (type II, without norm factors) of grey pictures.

    thumbnails: (N, 32, 32). Returns (N, 8, 8), vertical frequency first, scaled by 2^30. The transform's matrix is rounded to
    integers, so that the sums are exact and every machine computes the same bits.
    """
    angle = np.pi / (2 * SIDE) * np.outer(np.arange(LOW), 2 * np.arange(SIDE) + 1)
    matrix = np.rint(2**15 * np.cos(angle))  # (8, 32)
    rows = thumbnails.astype(np.float64) @ matrix.T  # (N, 32, 8)
    return np.asarray(matrix @ rows)  # (N, 8, 8)


def perceptual_hash(thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Hashes of grey pictures (N, 32, 32) as (N,) int64 of 63 bits, row by row from the lowest frequency, the highest bit first.

    A pHash (Zauner 2010) without its first coefficient, the brightness, whose bit is 0. Each bit tells whether a coefficient is
    above that of the mean face, where the original compares with the picture's own median. Aligned faces are so alike that their
    common part would fill the hash: of UTKFace's pairs within 4 bits the median form has one of five wrong, this one three of 795.
    """
    low = coefficients(thumbnails)
    low[:, 0, 0] = 0
    mean = np.zeros((LOW, LOW))
    mean[:, ::2] = np.array(MEAN_FACE) / 1000
    norm = np.sqrt(np.square(low).sum(axis=(1, 2), keepdims=True))  # (N, 1, 1)
    bits = np.packbits((low > norm * mean).reshape(-1, LOW * LOW), axis=1)  # (N, 8)
    return bits.view(">u8").ravel().astype(np.int64)
