"""Backbones by name. A network maps (B, 3, H, W) normalised pictures to (B, outputs)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from agecascade.errors import ModelError, unknown_name
from agecascade.models.heads import POOLINGS, PooledNetwork
from agecascade.models.layers import LAYERS
from agecascade.models.thinagenet import Backbone, thin_vgg16

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "thinagenet": lambda: thin_vgg16(0.5),
    "tinyagenet": lambda: thin_vgg16(0.25),
}


def block_names(backbone: str) -> list[str]:
    """The names of a backbone's blocks in order, for `trainable: from:<block>`. Raises ModelError for an unknown backbone."""
    if backbone not in BACKBONES:
        raise ModelError(unknown_name("backbone", backbone, BACKBONES))
    with torch.device("meta"):  # neither memory nor random numbers are used
        return list(BACKBONES[backbone]().blocks)


def create(backbone: str, head: str = "pooled", outputs: int = 101, pooling: str = "hybrid", layer: str = "linear") -> PooledNetwork:
    """A freshly initialised network; torch's global random state decides the weights. `layer` is the last: linear, or shared_slope.

    Raises ModelError for an unknown backbone, head, pooling or layer, naming the nearest known ones.
    """
    if backbone not in BACKBONES:
        raise ModelError(unknown_name("backbone", backbone, BACKBONES))
    if head != "pooled":
        raise ModelError(unknown_name("head", head, ["pooled"]))
    if pooling not in POOLINGS:
        raise ModelError(unknown_name("pooling", pooling, POOLINGS))
    if layer not in LAYERS:
        raise ModelError(unknown_name("layer", layer, LAYERS))
    return PooledNetwork(BACKBONES[backbone](), outputs, pooling, layer)
