"""VGG-16 (Simonyan and Zisserman, 2015) as torchvision has it, with its fully connected layers, others, or none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from agecascade.errors import ModelError
from agecascade.models.base import Backbone, Neck

SIDE = 7  # of the maps that the fully connected layers take: pictures of 224 pixels
DROPOUT = 0.5


class VGG16(Backbone):
    """13 convolutions with a 2x2 max-pool after each of five blocks: (B, 3, H, W) -> (B, 512, H/32, W/32).

    widths: of the fully connected layers before the last, which have dropout and are new unless weights are read; () for none.
    """

    channels = 512

    def __init__(self, widths: Sequence[int]) -> None:
        from torchvision.models.vgg import cfgs, make_layers  # importing it takes a second

        super().__init__()
        self.features = make_layers(cfgs["D"])
        self.widths = tuple(widths)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """block1 to block5, each with its max-pool."""
        ends = [index + 1 for index, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        return {f"block{i}": self.features[start:end] for i, (start, end) in enumerate(pairwise([0, *ends]), 1)}

    def neck(self) -> Neck | None:
        return FullyConnected(self.channels, self.widths) if self.widths else None

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)  # (B, 512, H/32, W/32)


class FullyConnected(Neck):
    """(B, channels, 7, 7) -> (B, widths[-1]): linear -> ReLU -> dropout for each width, named fc6, fc7 as in Caffe."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.features = widths[-1]
        for number, (inputs, outputs) in enumerate(pairwise([channels * SIDE * SIDE, *widths]), 6):
            layer = nn.Linear(inputs, outputs)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # as cascaded fine-tuning does
            nn.init.zeros_(layer.bias)
            self.add_module(f"fc{number}", nn.Sequential(layer, nn.ReLU(inplace=True), nn.Dropout(DROPOUT)))

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """fc6, fc7: the names of `trainable: from:fc6`."""
        return dict(self.named_children())

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[2:] != (SIDE, SIDE):
            raise ModelError(f"its fully connected layers take maps of {SIDE} x {SIDE}, not {maps.shape[2]} x {maps.shape[3]}")
        vectors = maps.flatten(1)  # (B, C * 49)
        for layer in self.children():
            vectors = layer(vectors)
        return vectors  # (B, widths[-1])
