"""ResNet-29 of dlib's face recognition (King): He's ResNet-34 with fewer layers, half of the channels, and no batch norm in use."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from agecascade.models.base import Backbone

STEM = 32  # channels
LAYERS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))  # channels, residuals, whether the first halves
_DAMPED = 0.1  # the slope of a residual's last affine layer at the start: without batch norm, sums of whole residuals would grow


class Affine(nn.Module):
    """slope * x + shift with one pair a channel: what remains of a batch norm whose statistics are fixed. (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, slope: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), slope))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.weight[:, None, None] + self.bias[:, None, None]  # (B, C, h, w)


class Residual(nn.Module):
    """Two convolutions, added to the input, then a ReLU.

    One that halves has stride 2 in its first convolution, which pads nothing, and adds 2x2 averages of its input; where the sum's
    parts differ in size or in channels, the smaller is filled up with zeros at the far edges and the last channels.
    """

    def __init__(self, inputs: int, channels: int, halves: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding, bias=False)
        self.norm1 = Affine(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = Affine(channels, _DAMPED)
        self.halves = halves

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.norm1(self.conv1(maps)).relu()  # (B, channels, h', w'), h' = (h - 3) // 2 + 1 of one that halves, else h
        residual = self.norm2(self.conv2(residual))
        kept = functional.avg_pool2d(maps, 2) if self.halves else maps  # (B, inputs, h // 2, w // 2)
        shape = [max(one, other) for one, other in zip(residual.shape[1:], kept.shape[1:], strict=True)]
        return (_filled(residual, shape) + _filled(kept, shape)).relu()  # (B, channels, h // 2, w // 2), or h, w


class DlibResNet29(Backbone):
    """Stem and five layers of residuals: (B, 3, H, W) -> (B, 256, h, w); 150 pixels, dlib's size, give 2 x 2.

    The network of dlib's dnn_face_recognition_ex.cpp without its last layer of 128 numbers. Its average is dlib's 256 before that.
    """

    channels = 256

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, stride=2)
        self.stem = nn.Sequential(nn.Conv2d(3, STEM, 7, stride=2, bias=False), Affine(STEM), nn.ReLU(), pool)
        inputs = STEM
        layers: list[nn.Module] = []
        for channels, count, halves in LAYERS:
            first = Residual(inputs, channels, halves)
            layers.append(nn.Sequential(first, *(Residual(channels, channels, False) for _ in range(count - 1))))
            inputs = channels
        self.layer1, self.layer2, self.layer3, self.layer4, self.layer5 = layers
        self.apply(_initialise)

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """stem, layer1 to layer5."""
        layers = {f"layer{number}": getattr(self, f"layer{number}") for number in range(1, len(LAYERS) + 1)}
        return {"stem": self.stem, **layers}

    def forward(self, images: Tensor) -> Tensor:
        for block in self.blocks.values():
            images = block(images)
        return images  # (B, 256, h, w)


def _filled(maps: Tensor, shape: list[int]) -> Tensor:
    """(B, C, h, w) with zeros after the last channel, row and column, up to (B, *shape)."""
    channels, height, width = (wanted - has for wanted, has in zip(shape, maps.shape[1:], strict=True))
    return functional.pad(maps, (0, width, 0, height, 0, channels)) if channels or height or width else maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
