"""What every network is made of: a backbone that sees, a neck where it has one of its own, and a head that answers."""

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
        """Its blocks by name, in the order of the way through them: what `trainable: from:<block>` refers to."""

    def neck(self) -> Neck | None:
        """New layers that stand between the maps and a pooled head instead of a pooling; None where a pooling does."""
        return None


class Neck(nn.Module, ABC):
    """(B, channels, h, w) activation maps -> (B, features): the fully connected layers that a network brings along."""

    features: int

    @property
    @abstractmethod
    def blocks(self) -> dict[str, nn.Module]:
        """Its layers with weights by name, in order; they go on where the backbone's blocks end."""


class Network(nn.Module, ABC):
    """A backbone with a head: (B, 3, H, W) normalised pictures -> (B, outputs).

    `trainable: head` trains `head` alone, from what `features` gives it; everything before it stands in `blocks`.
    """

    backbone: Backbone
    head: nn.Module

    @property
    def blocks(self) -> Mapping[str, nn.Module]:
        """All that comes before the head, by name and in order."""
        return self.backbone.blocks

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What the head takes: (B, C) pooled features, or (B, C, h, w) activation maps."""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))  # (B, outputs)

    def for_use(self) -> Network:
        """In evaluation mode, and without what training alone needs."""
        return self.eval()
