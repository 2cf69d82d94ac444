"""Base classes of the parts of a network: backbone, optional neck, and head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """(B, 3, H, W) normalised pictures -> (B, channels, h, w) activation maps."""

    channels: int

    @property
    @abstractmethod
    def blocks(self) -> dict[str, nn.Module]:
        """Its blocks by name, in the order of the forward pass: the names of `trainable: from:<block>`."""

    @property
    def chains(self) -> list[nn.Sequential]:
        """Layers that `fused.run` runs, which takes their batch norms together with what follows; none where a backbone runs all itself."""
        return []

    def neck(self) -> Neck | None:
        """Layers that replace the pooling of a pooled head; None where the head pools."""
        return None


class Neck(nn.Module, ABC):
    """(B, channels, h, w) activation maps -> (B, features): fully connected layers that belong to a backbone."""

    features: int

    @property
    @abstractmethod
    def blocks(self) -> dict[str, nn.Module]:
        """Its layers with weights by name, in order; in a network they follow the backbone's blocks."""


class Network(nn.Module, ABC):
    """A backbone with a head: (B, 3, H, W) normalised pictures -> (B, outputs).

    `trainable: head` trains `head` alone, on the output of `features`; `blocks` are all layers before it.
    """

    backbone: Backbone
    head: nn.Module

    @property
    def blocks(self) -> Mapping[str, nn.Module]:
        """All blocks before the head, by name and in order."""
        return self.backbone.blocks

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The head's input: (B, C) pooled features, or (B, C, h, w) activation maps."""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))  # (B, outputs)

    def for_use(self) -> Network:
        """The network for inference: in evaluation mode, without parts that only training needs."""
        return self.eval()
