"""Pictures -> features, batch by batch on the network's device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from agecascade.features import bif
from agecascade.features.layers import both_views, layer, normalised
from agecascade.inference import batches
from agecascade.loading import Images
from agecascade.models.base import Network
from agecascade.params import Normalisation

BATCH = 256


def network_features(
    network: Network,
    images: Images,
    image_size: int,
    normalisation: Normalisation,
    name: str = "pooled",
    reduce: str = "average",
    normalise: str = "none",
    half: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Features (b, D) of one batch of pictures (N, S, S, 3) after the other, each the mean over a picture and its mirror image.

    name, reduce: see layers.layer; normalise: none or l2; half: float16 on a GPU, bfloat16 elsewhere.
    Raises ParamsError for an unknown layer.
    """
    at_layer, reduced = layer(network, name, reduce)
    device = next(network.parameters()).device
    precision = torch.float16 if device.type == "cuda" else torch.bfloat16
    with torch.autocast(device.type, dtype=precision, enabled=half):
        for batch in batches(network, images, image_size, normalisation, BATCH):
            yield normalised(both_views(at_layer, reduced, batch).float(), normalise).cpu().numpy()


def bif_features(images: Images, normalise: str = "none", device: torch.device | str = "cpu") -> Iterator[NDArray[np.float32]]:
    """Bio-inspired features (b, bif.SIZE) of one batch of pictures (N, S, S, 3) uint8 after the other."""
    extract = bif.Bif().to(device)
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            pictures = torch.as_tensor(bif.prepared(images[start : start + BATCH]), device=device)
            yield normalised(extract(pictures), normalise).cpu().numpy()
