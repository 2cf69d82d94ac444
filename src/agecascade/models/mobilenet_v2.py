"""MobileNetV2 (Sandler et al., 2018) as torchvision has it."""

from __future__ import annotations

from torch import Tensor, nn

from agecascade.models.base import Backbone


class MobileNetV2(Backbone):
    """19 blocks, most of them inverted residuals: (B, 3, H, W) -> (B, 1280, H/32, W/32)."""

    channels = 1280

    def __init__(self) -> None:
        from torchvision.models import mobilenet_v2  # importing it takes a second

        super().__init__()
        self.features = mobilenet_v2().features

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """block0, the stem, to block18, the last 1x1 convolution."""
        return {f"block{index}": block for index, block in enumerate(self.features)}

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)  # (B, 1280, H/32, W/32)
