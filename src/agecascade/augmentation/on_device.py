"""Augmentation on a GPU, or on any torch device, of a whole batch at once: as `on_cpu`, but without OpenCV's rounding."""

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
        pixels = _warp(pixels, draw.matrix, draw.side)
    if draw.colour is not None:
        pixels = _change_colour(pixels, _tensor_like(pixels, draw.colour), _tensor_like(pixels, draw.lift))
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (normalisation.mean, normalisation.std))
    pixels = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    return pixels if draw.erased is None else pixels.masked_fill_(_inside_box(pixels, draw.erased), 0)


def _warp(pixels: Tensor, matrix: np.ndarray, side: np.ndarray) -> Tensor:
    """Warp pictures (B, 3, S, S) into the upper left corner of `side` pixels, then enlarge that to size; (B, 3, S, S)."""
    size = pixels.shape[-1]
    position = torch.arange(size, device=pixels.device, dtype=torch.float32)
    inverse = _tensor_like(pixels, _invert(matrix))  # (B, 2, 3)
    x, y = position[None, None, :, None], position[None, :, None, None]  # along the width, along the height
    points = x * inverse[:, None, None, :, 0] + y * inverse[:, None, None, :, 1] + inverse[:, None, None, :, 2]  # (B, S, S, 2)
    small = _sample(pixels, points)
    if (side == size).all():
        return small
    end = _tensor_like(pixels, side)[:, None]  # (B, 1)
    back = ((position + 0.5) * (end / size) - 0.5).clamp_min(0).minimum(end - 1)  # (B, S): never beyond the used corner
    return _sample(small, torch.stack([back[:, None, :].expand(-1, size, -1), back[:, :, None].expand(-1, -1, size)], dim=-1))


def _sample(pixels: Tensor, points: Tensor) -> Tensor:
    """Bilinear values at points (B, S, S, 2) in pixels, x before y; outside, the edges are repeated."""
    scaled = points * (2 / (pixels.shape[-1] - 1)) - 1
    return grid_sample(pixels, scaled, mode="bilinear", padding_mode="border", align_corners=True)


def _change_colour(pixels: Tensor, colour: Tensor, lift: Tensor) -> Tensor:
    """Multiply by one matrix (B, 3, 3) per picture, add `lift` (B,) times its mean luma, and clip to 0..1."""
    luma = pixels.mean(dim=(2, 3)) @ pixels.new_tensor(LUMA)  # (B,)
    changed = torch.einsum("bij,bjhw->bihw", colour, pixels)
    return (changed + (lift * luma)[:, None, None, None]).clamp_(0, 1)


def _inside_box(pixels: Tensor, boxes: np.ndarray) -> Tensor:
    """Whether each pixel lies in the box of its picture: (B, 1, S, S) bool; boxes: (B, 4)."""
    position = torch.arange(pixels.shape[-1], device=pixels.device)
    left, top, right, bottom = (torch.as_tensor(edge, device=pixels.device)[:, None] for edge in boxes.T)  # each (B, 1)
    across, down = (position >= left) & (position < right), (position >= top) & (position < bottom)  # (B, S)
    return (down[:, :, None] & across[:, None, :])[:, None]


def _invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse affine maps (B, 2, 3), in double precision."""
    linear = np.linalg.inv(matrix[:, :, :2])
    return np.concatenate([linear, -linear @ matrix[:, :, 2:]], axis=2)


def _tensor_like(pixels: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values.astype(np.float32), device=pixels.device)
