"""The pooled head: pooling, or the network's own fully connected layers, and one layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from agecascade.models.base import Backbone, Neck, Network
from agecascade.models.layers import LAYERS


def hybrid_pooling() -> nn.Module:
    """A 2x2 max-pool, then the global average (DLDL-v2, section 3.4)."""
    return nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def average_pooling() -> nn.Module:
    """The global average."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def max_pooling() -> nn.Module:
    """The global maximum."""
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())


POOLINGS: dict[str, Callable[[], nn.Module]] = {"hybrid": hybrid_pooling, "average": average_pooling, "max": max_pooling}


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
