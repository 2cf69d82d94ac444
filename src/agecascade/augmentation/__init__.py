"""Random changes of training pictures, each with its own draw: by OpenCV in threads on a CPU, as whole batches on a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from agecascade.augmentation import draw, on_cpu, on_device
from agecascade.augmentation.draw import LUMA, Draw
from agecascade.loading import Stored
from agecascade.params import Augment, Normalisation

__all__ = ["LUMA", "Augmenter", "Draw", "plain"]


class Augmenter:
    """Pictures (B, S, S, 3) uint8 RGB -> normalised float32 (B, 3, S, S) on `device`, channels-last in memory.

    Each picture is changed by a draw of its own, in the order of DLDL-v2's section 4.1: crop, flip, gray, down-scale,
    rotation with shift and zoom, back to size, then brightness, contrast, saturation, and last erasing. On a CPU, arrays are
    changed by OpenCV in `threads` threads (default: torch's number when this object is made); given a `loading.portion`, each
    thread also gathers the pictures that it changes. Everything else is computed as one batch on the device. The number of
    threads changes no bit.
    """

    def __init__(
        self, settings: Augment, normalisation: Normalisation, device: torch.device | str = "cpu", threads: int | None = None
    ) -> None:
        self.settings = settings
        self.normalisation = normalisation
        self.device = torch.device(device)
        self._threads = threads or torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    def __call__(self, images: Stored | np.ndarray | Tensor, random: np.random.Generator) -> Tensor:
        """Each picture gets its own draw from `random`; the same draws whatever the device."""
        changes = draw.draw(self.settings, len(images), images.shape[1], random)
        if self.device.type == "cpu" and not isinstance(images, Tensor):
            return _channels_first(on_cpu.augment(images, changes, self.normalisation, self._pool, self._threads))
        pixels = images if isinstance(images, Tensor) else torch.as_tensor(np.asarray(images))
        return on_device.augment(pixels.to(self.device), changes, self.normalisation)

    def plain(self, images: np.ndarray | Tensor) -> Tensor:
        """The same pictures, only normalised; draws nothing."""
        return plain(images, self.normalisation, self.device)


def plain(images: np.ndarray | Tensor, normalisation: Normalisation, device: torch.device | str = "cpu") -> Tensor:
    """Pictures (B, S, S, 3) uint8 RGB, only normalised: float32 (B, 3, S, S) on `device`, channels-last in memory.

    Normalised means minus the mean and divided by the standard deviation of each channel.
    """
    device = torch.device(device)
    if isinstance(images, np.ndarray) and device.type == "cpu":
        return _channels_first(on_cpu.normalise(images, normalisation))
    pixels = torch.as_tensor(images).to(device).float().div_(255)  # (B, S, S, 3)
    mean, std = (pixels.new_tensor(values) for values in (normalisation.mean, normalisation.std))
    return pixels.sub_(mean).div_(std).permute(0, 3, 1, 2)


def _channels_first(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) as (B, 3, H, W); the memory stays channels-last, which is fastest for convolutions."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
