"""What all maps share: batches of both views of a picture, and maps at the size of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from agecascade.inference import batches
from agecascade.loading import Images
from agecascade.runtimes.torch_runtime import TorchModel

Maps = NDArray[np.float32]
PIXELS = 64 * 64 * 64  # of a batch: 64 pictures of 64 pixels stay in a processor's caches, which halves the time
ON_GPU = 32  # times as many


def batch_size(model: TorchModel) -> int:
    """Pictures that are explained at once, fewer the larger they are."""
    return pictures_at_once(model.card.image_size, next(model.network.parameters()).is_cuda)


def pictures_at_once(size: int, on_gpu: bool) -> int:
    """Pictures of `size` pixels in a batch."""
    return max(1, (ON_GPU if on_gpu else 1) * PIXELS // size**2)


def normalised_batches(model: TorchModel, images: Images) -> Iterator[Tensor]:
    """Batches (B, 3, S, S) as the network sees them: pictures (N, S, S, 3) uint8 RGB at its size, normalised. No gradients."""
    return batches(model.network, images, model.card.image_size, model.card.channels, batch_size(model))


def of_both_views(model: TorchModel, batch: Tensor, maps: Callable[[Tensor], Tensor]) -> Tensor:
    """Maps (B, h, w) of pictures (B, 3, S, S): where the model averages over the mirror image, the mean with its maps, mirrored back."""
    straight = maps(batch)
    return (straight + maps(batch.flip(3)).flip(2)) / 2 if model.card.flip else straight


def enlarged(maps: Maps, size: int) -> Maps:
    """Maps (N, h, w) at (N, size, size), bilinear: how the paper lays them over the picture."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]  # (N, 1, h, w)
    return functional.interpolate(tensor, (size, size), mode="bilinear", align_corners=False)[:, 0].numpy()
