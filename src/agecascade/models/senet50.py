"""SE-ResNet-50 (Hu et al., 2018) as VGGFace2 has it: Caffe's ResNet-50 with squeeze and excitation, which timm calls a legacy."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from agecascade.models.base import Backbone


class SENet50(Backbone):
    """Stem and four stages: (B, 3, H, W) -> (B, 2048, H/32, W/32)."""

    channels = 2048

    def __init__(self) -> None:
        import timm

        super().__init__()
        network: Any = timm.create_model("legacy_seresnet50", num_classes=0)
        self.layer0, self.pool0 = network.layer0, network.pool0
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layer1, network.layer2, network.layer3, network.layer4
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """stem, layer1 to layer4."""
        stem = nn.Sequential(self.layer0, self.pool0)
        return {"stem": stem, "layer1": self.layer1, "layer2": self.layer2, "layer3": self.layer3, "layer4": self.layer4}

    def forward(self, images: Tensor) -> Tensor:
        for block in self.blocks.values():
            images = block(images)
        return images  # (B, 2048, H/32, W/32)
