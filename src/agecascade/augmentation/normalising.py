"""Normalisation: minus the mean and over the deviation of each channel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agecascade.params import Normalisation


def plain(images: np.ndarray | Tensor, normalisation: Normalisation, device: torch.device | str = "cpu") -> Tensor:
    """Pictures (B, S, S, 3) uint8 RGB as normalised float32 (B, 3, S, S) on `device`, channels-last in memory."""
    device = torch.device(device)
    if isinstance(images, np.ndarray) and device.type == "cpu":
        return torch.from_numpy(_normalised(images, normalisation)).permute(0, 3, 1, 2)
    pixels = torch.as_tensor(images).to(device).float().div_(255)  # (B, S, S, 3)
    mean, std = (pixels.new_tensor(values) for values in (normalisation.mean, normalisation.std))
    return pixels.sub_(mean).div_(std).permute(0, 3, 1, 2)


def _normalised(images: np.ndarray, normalisation: Normalisation) -> np.ndarray:
    # rows of pixels at once: numpy is slow where the last axis has three entries
    mean, std = (np.tile(np.asarray(values, np.float32), images.shape[2]) for values in (normalisation.mean, normalisation.std))
    pixels = images.reshape(*images.shape[:2], -1).astype(np.float32)  # (B, S, S * 3)
    pixels /= np.float32(255)
    pixels -= mean
    pixels /= std
    return pixels.reshape(images.shape)
