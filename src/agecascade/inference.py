"""Values and features of pictures, averaged over each picture and its mirror image; used in training and by the estimator alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from agecascade.augmentation import plain
from agecascade.errors import ModelError
from agecascade.loading import Images, resized
from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import Normalisation

MOST = 256  # pictures of a batch
PIXELS = 1 << 20  # of a batch on a processor


def predict_values(
    network: Network,
    method: Method,
    images: Images,
    image_size: int,
    normalisation: Normalisation,
    flip: bool = True,
    batch_size: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Value (N,) float64 in label units and distribution (N, K) float32, or None, of pictures (N, S, S, 3) uint8 RGB.

    With `flip`, both are the mean over a picture and its mirror image (DLDL-v2, section 4.1), as `Method.averaged` says.
    Raises ModelError where outputs are not finite.
    """
    values, distributions = [], []
    for batch in batches(network, images, image_size, normalisation, batch_size):
        views = [batch, batch.flip(3)] if flip else [batch]
        value, distribution = method.averaged([method.predict(finite(network(view).float())) for view in views])
        values.append(finite(value))
        if distribution is not None:
            distributions.append(distribution)
    predicted = torch.cat(values).double().cpu().numpy() if values else np.empty(0)
    return predicted, torch.cat(distributions).cpu().numpy() if distributions else None


def finite(outputs: Tensor) -> Tensor:
    """Outputs (B, K) or values (B,) of a network. Raises ModelError where some are not finite: a mode of NaN is an age like any other."""
    if not torch.isfinite(outputs).all():
        raise ModelError("the network's outputs are not finite; train it again with a lower learning_rate, or with precision: fp32")
    return outputs


def batched_features(
    network: Network, images: Images, image_size: int, normalisation: Normalisation, mirror: bool = False, batch_size: int | None = None
) -> Iterator[np.ndarray]:
    """The head's input (b, ...) float32 of one batch after the other, of each picture or of its mirror image."""
    for batch in batches(network, images, image_size, normalisation, batch_size):
        yield network.features(batch.flip(3) if mirror else batch).float().cpu().numpy()


def batches(
    network: Network, images: Images, image_size: int, normalisation: Normalisation, batch_size: int | None = None
) -> Iterator[Tensor]:
    """Normalised batches (B, 3, H, W) on the network's device, in evaluation mode without gradients."""
    device = next(network.parameters()).device
    batch_size = batch_size or pictures_at_once(image_size, device)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(images), batch_size):
                yield plain(_sized(images[start : start + batch_size], image_size), normalisation, device)
    finally:
        network.train(was_training)


def pictures_at_once(image_size: int, device: torch.device) -> int:
    """Pictures of a batch, a power of two: MOST, but on a processor fewer of more than 64 pixels, whose maps would fill gigabytes."""
    return MOST if device.type != "cpu" else min(MOST, 1 << max(0, int(math.log2(PIXELS / image_size**2))))


def _sized(batch: np.ndarray | Tensor, size: int) -> np.ndarray | Tensor:
    """Pictures (B, S, S, 3) at (B, size, size, 3)."""
    if batch.shape[1] == size:
        return batch
    pictures = batch if isinstance(batch, np.ndarray) else batch.cpu().numpy()
    return np.stack([resized(picture, size) for picture in pictures])
