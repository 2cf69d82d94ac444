"""Bio-inspired features: Gabor filters of six bands and eight orientations, maxima over scales, pooled over positions.

Guo, Mu, Fu and Huang, "Human age estimation using bio-inspired features", CVPR 2009, with the first six of its eight bands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from agecascade.features.layers import scale_features
from agecascade.inference import MOST
from agecascade.loading import Images

# (side, sigma, lambda) in pixels of the two scales of each band, and the side of the square that a maximum is taken over
BANDS = (
    (((5, 2.0, 2.5), (7, 2.8, 3.5)), 6),
    (((9, 3.6, 4.6), (11, 4.5, 5.6)), 8),
    (((13, 5.4, 6.8), (15, 6.3, 7.9)), 10),
    (((17, 7.3, 9.1), (19, 8.2, 10.3)), 12),
    (((21, 9.2, 11.5), (23, 10.2, 12.7)), 14),
    (((25, 11.3, 14.1), (27, 12.3, 15.4)), 16),
)
ORIENTATIONS = 8
GAMMA = 0.3
# A face of 60 x 44 pixels gives 577 squares of all bands, each half over the next, and 8 x 577 = 4,616 features: as many as
# DLDL-v2 (section 4.5.3) counts for 6 bands and 8 orientations. It does not say of which size its faces are; 60 x 60 would give 6,752.
HEIGHT, WIDTH = 60, 44
CHUNK = 8  # pictures at once: their responses stay in the processor's cache


def squares(side: int) -> tuple[int, int]:
    """The number of squares of a side in a column and in a row, each overlapping the next by half."""
    step = side // 2
    return (HEIGHT - side) // step + 1, (WIDTH - side) // step + 1


SIZE = ORIENTATIONS * sum(math.prod(squares(side)) for _, side in BANDS)  # 4,616


def _covered(side: int) -> tuple[int, int]:
    """The number of rows and columns that a band's squares cover."""
    down, across = squares(side)
    return (down + 1) * (side // 2), (across + 1) * (side // 2)


# by the convolutions of one picture, every filter at its own size
MULTIPLICATIONS = ORIENTATIONS * sum(math.prod(_covered(side)) * sum(scale[0] ** 2 for scale in scales) for scales, side in BANDS)


def gabor(side: int, sigma: float, wavelength: float, theta: float) -> NDArray[np.float64]:
    """The even Gabor filter (side, side), exp(-(X^2 + gamma^2 Y^2) / 2 sigma^2) cos(2 pi X / lambda), of mean zero and length one.

    X = x cos theta + y sin theta, Y = -x sin theta + y cos theta, in pixels from the centre.
    """
    reach = np.arange(side) - side // 2
    x, y = np.meshgrid(reach, reach)
    along, across = x * math.cos(theta) + y * math.sin(theta), -x * math.sin(theta) + y * math.cos(theta)
    wave = np.exp(-(along**2 + (GAMMA * across) ** 2) / (2 * sigma**2)) * np.cos(2 * np.pi * along / wavelength)
    wave -= wave.mean()
    return wave / np.linalg.norm(wave)


def prepare(images: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
    """Pictures (B, S, S, 3) uint8 RGB as (B, 60, 44) in 0..1: grey, resized to 60 pixels, the middle 44 columns."""
    pictures = images if isinstance(images, np.ndarray) else images.cpu().numpy()
    left = (HEIGHT - WIDTH) // 2
    grey = (cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) for picture in pictures)
    grey_faces = [_resize_square(np.asarray(picture, np.uint8))[:, left : left + WIDTH] for picture in grey]
    return np.stack(grey_faces).astype(np.float32) / np.float32(255)


def _resize_square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if picture.shape[0] == HEIGHT:
        return picture
    interpolation = cv2.INTER_AREA if picture.shape[0] > HEIGHT else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (HEIGHT, HEIGHT), interpolation=interpolation), np.uint8)


class Bif(nn.Module):
    """Grey pictures (B, 60, 44) -> features (B, 4,616), band by band, orientation by orientation, row by row.

    Of an orientation's absolute responses the larger one of the band's two scales counts at each pixel. A feature is what `pooling`
    makes of them in a square: max, or std, their deviation (Guo et al., Eq. 5). Pictures are mirrored at their borders.
    """

    def __init__(self, pooling: str = "max") -> None:
        super().__init__()
        self._pool = POOLINGS[pooling]
        for index, (scales, _) in enumerate(BANDS):
            self.register_buffer(f"band{index}", _bank(scales).contiguous(memory_format=torch.channels_last))

    def forward(self, pictures: Tensor) -> Tensor:
        chunks = pictures.split(CHUNK if pictures.device.type == "cpu" else len(pictures))
        return torch.cat([self._chunk(chunk[:, None]) for chunk in chunks])

    def _chunk(self, pictures: Tensor) -> Tensor:
        reach = BANDS[-1][0][1][0] // 2
        padded = F.pad(pictures, (reach,) * 4, mode="reflect")  # (B, 1, 60 + 26, 44 + 26)
        return torch.cat([self._band(padded, reach, index).flatten(1) for index in range(len(BANDS))], dim=1)

    def _band(self, padded: Tensor, reach: int, index: int) -> Tensor:
        """The pooled responses (B, 8, n, m) of a band."""
        scales, side = BANDS[index]
        bank: Tensor = getattr(self, f"band{index}")
        spare = reach - scales[1][0] // 2
        height, width = (covered + scales[1][0] - 1 for covered in _covered(side))
        inside = padded[..., spare : spare + height, spare : spare + width]
        # channels last: oneDNN is up to four times as fast for the small filters, and as fast for the others
        response = F.conv2d(inside.contiguous(memory_format=torch.channels_last), bank).abs_()  # (B, 16, h, w), h <= 60, w <= 44
        strongest = torch.maximum(*response.chunk(2, dim=1))  # (B, 8, h, w)
        return self._pool(strongest.contiguous(), side // 2)


def _square_maxima(maps: Tensor, step: int) -> Tensor:
    """max_pool2d(maps, 2 * step, step) for sides that are multiples of `step`, in a tenth of its time on a CPU.

    Each value is read once: a square is two by two blocks without overlap, whose maxima are shared with its neighbours.
    """
    rows = maps.unflatten(2, (-1, step)).amax(3)  # (B, C, n + 1, w)
    rows = torch.maximum(rows[:, :, :-1], rows[:, :, 1:])  # (B, C, n, w)
    blocks = rows.unflatten(3, (-1, step)).amax(4)  # (B, C, n, m + 1)
    return torch.maximum(blocks[..., :-1], blocks[..., 1:])  # (B, C, n, m)


def _square_deviations(maps: Tensor, step: int) -> Tensor:
    """The standard deviation (B, C, n, m) over each square: of the blocks' variances and means, so that no large squares cancel."""
    blocks = maps.unflatten(3, (-1, step)).unflatten(2, (-1, step))  # (B, C, n + 1, step, m + 1, step)
    variance, mean = torch.var_mean(blocks, dim=(3, 5), correction=0)  # (B, C, n + 1, m + 1)
    return (_four_blocks(variance).mean(0) + _four_blocks(mean).var(0, correction=0)).sqrt()


def _four_blocks(blocks: Tensor) -> Tensor:
    """The values (4, B, C, n, m) of the two by two blocks of each square."""
    rows = blocks[:, :, :-1], blocks[:, :, 1:]
    return torch.stack([part for each in rows for part in (each[..., :-1], each[..., 1:])])


POOLINGS = {"max": _square_maxima, "std": _square_deviations}


def _bank(scales: tuple[tuple[int, float, float], ...]) -> Tensor:
    """The filters (16, 1, side, side) of a band: those of its smaller scale first, padded with zeros."""
    side = max(size for size, _, _ in scales)
    filters = []
    for size, sigma, wavelength in scales:
        padding = (side - size) // 2
        filters += [np.pad(gabor(size, sigma, wavelength, i * math.pi / ORIENTATIONS), padding) for i in range(ORIENTATIONS)]
    return torch.tensor(np.stack(filters)[:, None], dtype=torch.float32)


def bif_features(
    images: Images, normalise: str = "none", device: torch.device | str = "cpu", pooling: str = "max"
) -> Iterator[NDArray[np.float32]]:
    """Bio-inspired features (b, SIZE) of one batch of pictures (N, S, S, 3) uint8 after the other; pooling: max or std."""
    extract = Bif(pooling).to(device)
    with torch.inference_mode():
        for start in range(0, len(images), MOST):
            pictures = torch.as_tensor(prepare(images[start : start + MOST]), device=device)
            yield scale_features(extract(pictures), normalise).cpu().numpy()
