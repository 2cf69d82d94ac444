"""A draw on a GPU, or any device of torch's: the whole batch at once, what OpenCV does on processors but for its rounding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from agecascade.augmentation.draw import LUMA, Draw
from agecascade.params import Normalisation


def augment(images: Tensor, draw: Draw, normalisation: Normalisation) -> Tensor:
    """Pictures (B, S, S, 3) uint8 RGB, changed as drawn and normalised: float32 (B, 3, S, S), channels-last in memory."""
    pixels = images.permute(0, 3, 1, 2).float().div_(255)  # (B, 3, S, S), channels-last
    if draw.matrix is not None:
        pixels = _warped(pixels, draw.matrix, draw.side)
    if draw.colour is not None:
        pixels = _coloured(pixels, _on(pixels, draw.colour), _on(pixels, draw.lift))
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (normalisation.mean, normalisation.std))
    pixels = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    return pixels if draw.erased is None else pixels.masked_fill_(_inside(pixels, draw.erased), 0)


def _warped(pixels: Tensor, matrix: np.ndarray, side: np.ndarray) -> Tensor:
    """Warped into the left upper corner of `side` pixels, then brought back to size; (B, 3, S, S)."""
    size = pixels.shape[-1]
    there = torch.arange(size, device=pixels.device, dtype=torch.float32)
    inverse = _on(pixels, _inverted(matrix))  # (B, 2, 3)
    x, y = there[None, None, :, None], there[None, :, None, None]  # along the width, along the height
    points = x * inverse[:, None, None, :, 0] + y * inverse[:, None, None, :, 1] + inverse[:, None, None, :, 2]  # (B, S, S, 2)
    small = _sampled(pixels, points)
    if (side == size).all():
        return small
    ends = _on(pixels, side)[:, None]  # (B, 1)
    back = ((there + 0.5) * (ends / size) - 0.5).clamp_min(0).minimum(ends - 1)  # (B, S): never beyond the corner that is in use
    return _sampled(small, torch.stack([back[:, None, :].expand(-1, size, -1), back[:, :, None].expand(-1, -1, size)], dim=-1))


def _sampled(pixels: Tensor, points: Tensor) -> Tensor:
    """Bilinear values at points (B, S, S, 2) in pixels, x before y; the edges go on outside."""
    scaled = points * (2 / (pixels.shape[-1] - 1)) - 1
    return grid_sample(pixels, scaled, mode="bilinear", padding_mode="border", align_corners=True)


def _coloured(pixels: Tensor, colour: Tensor, lift: Tensor) -> Tensor:
    """One matrix (B, 3, 3) per picture, plus `lift` (B,) times its mean luma; cut off at 0 and 1."""
    luma = pixels.mean(dim=(2, 3)) @ pixels.new_tensor(LUMA)  # (B,)
    changed = torch.einsum("bij,bjhw->bihw", colour, pixels)
    return (changed + (lift * luma)[:, None, None, None]).clamp_(0, 1)


def _inside(pixels: Tensor, boxes: np.ndarray) -> Tensor:
    """Where pixels lie in the box of their picture: (B, 1, S, S) bool."""
    there = torch.arange(pixels.shape[-1], device=pixels.device)
    left, top, right, bottom = (torch.as_tensor(edge, device=pixels.device)[:, None] for edge in boxes.T)  # each (B, 1)
    across, down = (there >= left) & (there < right), (there >= top) & (there < bottom)  # (B, S)
    return (down[:, :, None] & across[:, None, :])[:, None]


def _inverted(matrix: np.ndarray) -> np.ndarray:
    """The inverse affine maps (B, 2, 3), in double precision."""
    linear = np.linalg.inv(matrix[:, :, :2])
    return np.concatenate([linear, -linear @ matrix[:, :, 2:]], axis=2)


def _on(pixels: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values.astype(np.float32), device=pixels.device)
