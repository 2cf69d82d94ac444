"""Augmentation on a CPU: OpenCV on uint8, a few pictures at a time in threads; OpenCV releases the interpreter meanwhile."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import lru_cache

import cv2
import numpy as np

from agecascade.augmentation.draw import LUMA, Draw
from agecascade.loading import Stored
from agecascade.params import Normalisation

CHUNK = 32  # pictures that a thread changes at once: enough to seldom wait for the interpreter, few enough for an even load


def augment(
    images: Stored | np.ndarray, draw: Draw, normalisation: Normalisation, pool: Executor | None = None, threads: int = 1
) -> np.ndarray:
    """Pictures (B, S, S, 3) uint8 RGB, changed as drawn and normalised, by a pool of `threads`: float32 of the same shape."""
    out = np.empty(images.shape, np.float32)
    chunk = max(1, min(CHUNK, -(-len(images) // threads)))
    colours = _Colours(draw, normalisation, images.shape[1])

    def work(start: int) -> None:
        rows = slice(start, start + chunk)
        pictures = images[rows]
        warped = pictures if draw.matrix is None else _warp(pictures, draw.matrix[rows], draw.side[rows])
        colours.apply(rows, warped, out[rows])
        if draw.erased is not None:
            for picture, (left, top, right, bottom) in zip(out[rows], draw.erased[rows].tolist(), strict=True):
                picture[top:bottom, left:right] = 0  # the mean colour

    starts = range(0, len(images), chunk)
    list(pool.map(work, starts) if pool else map(work, starts))
    return out


def normalise(images: np.ndarray, normalisation: Normalisation) -> np.ndarray:
    """Pictures (B, S, S, 3) uint8 RGB, normalised: float32 of the same shape."""
    # rows of pixels at once: numpy is slow where the last axis has three entries
    mean, std = (np.tile(np.asarray(values, np.float32), images.shape[2]) for values in (normalisation.mean, normalisation.std))
    pixels = images.reshape(*images.shape[:2], -1).astype(np.float32)  # (B, S, S * 3)
    pixels /= np.float32(255)
    pixels -= mean
    pixels /= std
    return pixels.reshape(images.shape)


def _warp(images: np.ndarray, matrix: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Pictures (n, S, S, 3), each warped by its matrix (n, 2, 3) to its side (n,) in pixels and brought back to S.

    For speed, a fourth channel and a border are added and removed: OpenCV 5 warps four channels in less than half the time of
    three, and is slow wherever it has to make up pixels beyond the edge.
    """
    n, size = images.shape[:2]
    border = size // 4
    matrix = matrix.copy()
    matrix[:, :, 2] -= matrix[:, :, :2].sum(2) * border  # from the pixels of the bordered picture
    wide = cv2.cvtColor(images.reshape(n * size, size, 3), cv2.COLOR_RGB2RGBA).reshape(n, size, size, 4)
    warped = np.empty_like(wide)
    bordered = None
    for picture, change, target, short in zip(wide, matrix, warped, side.tolist(), strict=True):
        bordered = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_REPLICATE, bordered)  # (1.5 S, 1.5 S, 4)
        direct = target if short == size else None
        small = cv2.warpAffine(bordered, change, (short, short), direct, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if short != size:
            cv2.resize(small, (size, size), target, interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(warped.reshape(n * size, size, 4), cv2.COLOR_RGBA2RGB).reshape(n, size, size, 3)


class _Colours:
    """Colour change and normalisation of each picture as one affine map of its bytes, clipped to what 0 and 255 become."""

    def __init__(self, draw: Draw, normalisation: Normalisation, size: int) -> None:
        mean, std = (np.asarray(values, np.float64) for values in (normalisation.mean, normalisation.std))
        colour = np.broadcast_to(np.eye(3), (len(draw.side), 3, 3)) if draw.colour is None else draw.colour
        self.matrix = np.empty((len(draw.side), 3, 4), np.float32)
        self.matrix[:, :, :3] = colour / (255 * std[:, None])
        self.matrix[:, :, 3] = -mean / std
        self.lift = draw.lift[:, None] / (255 * std)  # (B, 3)
        self.changes_colour = draw.colour is not None
        self.lowest, self.highest = _black_and_white(tuple(normalisation.mean), tuple(normalisation.std), size)

    def apply(self, rows: slice, images: np.ndarray, out: np.ndarray) -> None:
        """Write the pictures (n, S, S, 3) uint8 of `rows` into `out` (n, S, S, 3) float32; call it once for each picture."""
        matrix = self.matrix[rows]  # (n, 3, 4)
        if self.changes_colour:
            # the luma of the warped picture, for contrast comes after the geometry
            luma = np.array([cv2.mean(picture)[:3] for picture in images]) @ LUMA.astype(np.float64)  # (n,)
            matrix[:, :, 3] += self.lift[rows] * luma[:, None]
        below, above = self._exceeds(matrix) if self.changes_colour else ([False] * len(out), [False] * len(out))
        pixels = np.empty(images.shape[1:], np.float32)
        for i, picture in enumerate(out):
            np.copyto(pixels, images[i], casting="unsafe")
            cv2.transform(pixels, matrix[i], picture)
            if below[i]:
                np.maximum(picture, self.lowest, out=picture)
            if above[i]:
                np.minimum(picture, self.highest, out=picture)

    def _exceeds(self, matrix: np.ndarray) -> tuple[list[bool], list[bool]]:
        """Whether any colour would end below black, or above white, for each matrix (n, 3, 4)."""
        slopes, offset = matrix[:, :, :3], matrix[:, :, 3]
        least, most = (offset + 255 * np.where(slopes * sign > 0, slopes, 0).sum(2) for sign in (-1, 1))  # (n, 3)
        return (least < self.lowest[0, 0]).any(1).tolist(), (most > self.highest[0, 0]).any(1).tolist()


@lru_cache(maxsize=8)
def _black_and_white(mean: tuple[float, ...], std: tuple[float, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Black and white, normalised, each as large as a picture: numpy is slow where it has to broadcast an operand."""
    limits = [((end - np.asarray(mean)) / np.asarray(std)).astype(np.float32) for end in (0, 1)]
    black, white = (np.broadcast_to(end, (size, size, 3)).copy() for end in limits)
    return black, white
