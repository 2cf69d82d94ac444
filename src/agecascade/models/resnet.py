"""Residual networks as torchvision and timm have them: ResNet (He et al., 2016), its variants in papers, SE-ResNet and MobileNetV2."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from agecascade.models.base import Backbone

Variant = Literal["torchvision", "caffe", "daa"]


class ResNet(Backbone):
    """Stem and four stages: (B, 3, H, W) -> (B, channels, H/32, W/32).

    torchvision: the stride of a stage lies in its first 3x3 convolution. caffe: in the 1x1 convolution before, and the stem's
    max-pool pads at the far edges alone, as VGGFace2's ResNet-50 has it. daa: a first convolution of 3x3 with stride 2 and no
    max-pool (DAA, section 4.2): (B, 512, H/16, W/16) from ResNet-18.
    """

    def __init__(self, depth: Literal[18, 34, 50], variant: Variant = "torchvision") -> None:
        from torchvision.models import resnet  # importing it takes a second

        super().__init__()
        network = getattr(resnet, f"resnet{depth}")()
        self.channels = network.fc.in_features
        if variant == "daa":
            network.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
            network.maxpool = nn.Identity()
        if variant == "caffe":
            network.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            for stage in (network.layer2, network.layer3, network.layer4):
                stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layer1, network.layer2, network.layer3, network.layer4

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """stem, layer1 to layer4."""
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return {"stem": stem, "layer1": self.layer1, "layer2": self.layer2, "layer3": self.layer3, "layer4": self.layer4}

    def forward(self, images: Tensor) -> Tensor:
        for block in self.blocks.values():
            images = block(images)
        return images  # (B, C, H/32, W/32)


class SENet50(Backbone):
    """SE-ResNet-50 (Hu et al., 2018) as VGGFace2 has it: Caffe's ResNet-50 with squeeze and excitation, which timm calls a legacy.

    Stem and four stages: (B, 3, H, W) -> (B, 2048, H/32, W/32).
    """

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


class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al., 2018): 19 blocks, most of them inverted residuals: (B, 3, H, W) -> (B, 1280, H/32, W/32)."""

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
