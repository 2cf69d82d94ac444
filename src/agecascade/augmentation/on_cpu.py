"""A draw on processors: OpenCV on uint8, picture by picture in threads, while other work has the interpreter."""

from __future__ import annotations

from concurrent.futures import Executor

import cv2
import numpy as np

from agecascade.augmentation.draw import LUMA, Draw
from agecascade.params import Normalisation


def augment(images: np.ndarray, draw: Draw, normalisation: Normalisation, pool: Executor | None = None, threads: int = 1) -> np.ndarray:
    """Pictures (B, S, S, 3) uint8 RGB, changed as drawn and normalised: float32 of the same shape."""
    out = np.empty(images.shape, np.float32)
    colours = _Colours(draw, normalisation, images.shape[1])

    def work(rows: range) -> None:
        for i in rows:
            warped = images[i] if draw.matrix is None else _warped(images[i], draw.matrix[i], int(draw.side[i]))
            colours.apply(i, warped, out[i])
            if draw.erased is not None:
                left, top, right, bottom = draw.erased[i]
                out[i, top:bottom, left:right] = 0  # the mean colour

    if pool is None:
        work(range(len(images)))
    else:
        list(pool.map(work, [range(start, len(images), threads) for start in range(threads)]))
    return out


def _warped(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The picture (S, S, 3) warped to `side` pixels and brought back to S.

    A fourth channel comes and goes for speed: OpenCV 5 warps four channels in less than half the time of three, to the same bits.
    """
    wide = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # (S, S, 4)
    wide = cv2.warpAffine(wide, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # (side, side, 4)
    if side != len(image):
        wide = cv2.resize(wide, image.shape[:2], interpolation=cv2.INTER_LINEAR)  # (S, S, 4)
    return cv2.cvtColor(wide, cv2.COLOR_RGBA2RGB)


class _Colours:
    """Colour and normalisation of each picture as one affine map of its bytes, cut off where 0 and 255 end up."""

    def __init__(self, draw: Draw, normalisation: Normalisation, size: int) -> None:
        mean, std = (np.asarray(values, np.float64) for values in (normalisation.mean, normalisation.std))
        colour = np.broadcast_to(np.eye(3), (len(draw.side), 3, 3)) if draw.colour is None else draw.colour
        self.matrix = np.empty((len(draw.side), 3, 4), np.float32)
        self.matrix[:, :, :3] = colour / (255 * std[:, None])
        self.matrix[:, :, 3] = -mean / std
        self.lift = draw.lift[:, None] / (255 * std)  # (B, 3)
        self.lifts = draw.colour is not None
        # as large as a picture: numpy and OpenCV are slow where one of the operands has to be repeated
        self.lowest, self.highest = (np.broadcast_to(((end - mean) / std).astype(np.float32), (size, size, 3)).copy() for end in (0, 1))

    def apply(self, i: int, image: np.ndarray, out: np.ndarray) -> None:
        """Write picture i (S, S, 3) uint8 into `out` (S, S, 3) float32; once for each picture."""
        matrix = self.matrix[i]
        if self.lifts:
            luma = float(np.dot(cv2.mean(image)[:3], LUMA))  # of the warped picture, as contrast comes after the geometry
            matrix[:, 3] += self.lift[i] * luma
        np.copyto(out, image, casting="unsafe")
        changed = cv2.transform(out, matrix)
        np.maximum(changed, self.lowest, out=changed)
        np.minimum(changed, self.highest, out=out)
