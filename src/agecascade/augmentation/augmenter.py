"""Pictures as they are stored -> batches as a network takes them, randomly changed or plain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from agecascade.augmentation import on_cpu, on_device
from agecascade.augmentation.draw import draw
from agecascade.augmentation.normalising import plain
from agecascade.loading import Stored
from agecascade.params import Augment, Normalisation


class Augmenter:
    """Pictures (B, S, S, 3) uint8 RGB -> normalised float32 (B, 3, S, S) on `device`, channels-last in memory.

    Each picture is changed by a draw of its own, in the order of DLDL-v2's section 4.1: crop, flip, gray, down-scale,
    rotation with shift and zoom, back to size, then brightness, contrast, saturation, and erasing at last. Arrays are changed by
    OpenCV in `threads` threads (default: torch's number when this is made) where `device` is a processor, each of which
    gathers what it changes if it is given a `loading.portion`; all else is batched on the device. The number of threads changes no bit.
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
        changes = draw(self.settings, len(images), images.shape[1], random)
        if self.device.type == "cpu" and not isinstance(images, Tensor):
            return channels_first(on_cpu.augment(images, changes, self.normalisation, self._pool, self._threads))
        pixels = images if isinstance(images, Tensor) else torch.as_tensor(np.asarray(images))
        return on_device.augment(pixels.to(self.device), changes, self.normalisation)

    def plain(self, images: np.ndarray | Tensor) -> Tensor:
        """The same pictures, only normalised; draws nothing."""
        return plain(images, self.normalisation, self.device)


def channels_first(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) as (B, 3, H, W); the memory stays channels-last, which convolutions like best."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
