"""The pooled head: pooling, or the backbone's own fully connected layers (its neck), and a last layer from features to outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from agecascade.errors import ModelError
from agecascade.models.base import Backbone, Neck, Network


class SquareMaxima(nn.MaxPool2d):
    """The maxima of 2x2 squares of maps: (B, C, h, w) -> (B, C, h/2, w/2). Raises ModelError where the maps are smaller than a square."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        if min(height, width) < 2:
            raise ModelError(f"hybrid pooling needs maps of 2 x 2 or more, and these are {height} x {width}; pooling: average takes any")
        return super().forward(maps)


def hybrid_pooling() -> nn.Module:
    """A 2x2 max-pool, then the global average (DLDL-v2, section 3.4)."""
    return nn.Sequential(SquareMaxima(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def average_pooling() -> nn.Module:
    """The global average."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def max_pooling() -> nn.Module:
    """The global maximum."""
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())


POOLINGS: dict[str, Callable[[], nn.Module]] = {"hybrid": hybrid_pooling, "average": average_pooling, "max": max_pooling}


def linear(channels: int, outputs: int) -> nn.Linear:
    """W^T f + b (DLDL-v2, Eq. 7)."""
    layer = nn.Linear(channels, outputs)
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="linear")
    nn.init.zeros_(layer.bias)
    return layer


class SharedSlope(nn.Module):
    """w^T f + b_k: one weight vector for all outputs and a bias for each, so that their order is that of the biases (CORAL).

    Maps (B, channels) to (B, outputs). The biases start descending from 1 to 1 / outputs, as in the authors' package.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels))
        self.bias = nn.Parameter(torch.arange(outputs, 0, -1, dtype=torch.get_default_dtype()) / outputs)
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="linear")

    def forward(self, features: Tensor) -> Tensor:
        return functional.linear(features, self.weight) + self.bias  # (B, 1) + (outputs,) -> (B, outputs)


LAYERS: dict[str, Callable[[int, int], nn.Module]] = {"linear": linear, "shared_slope": SharedSlope}


class PooledNetwork(Network):
    """Backbone -> pooling or neck -> linear (Eq. 7), or another layer: (B, 3, H, W) -> (B, outputs)."""

    def __init__(self, backbone: Backbone, outputs: int, pooling: str, layer: str = "linear") -> None:
        super().__init__()
        self.backbone = backbone
        neck = backbone.neck()
        self.pool = neck or POOLINGS[pooling]()
        self.head = LAYERS[layer](neck.features if neck else backbone.channels, outputs)

    @property
    def blocks(self) -> Mapping[str, nn.Module]:
        neck = self.pool.blocks if isinstance(self.pool, Neck) else {}
        return {**self.backbone.blocks, **neck}

    def features(self, images: Tensor) -> Tensor:
        """The pooled activations f of Eq. 7."""
        return self.pool(self.backbone(images))  # (B, C)
