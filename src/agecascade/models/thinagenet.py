"""ThinAgeNet and TinyAgeNet: VGG-16's convolutions, thinner and with batch norm (DLDL-v2, section 3.4).

Over a grid of attractiveness scores they are called ThinAttNet and TinyAttNet.
"""

from __future__ import annotations

from torch import Tensor, nn

from agecascade.models import fused
from agecascade.models.base import Backbone

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class ThinVGG(Backbone):
    """Convolution blocks with a 2x2 max-pool at the end of all but the last: (B, 3, H, W) -> (B, channels, H/16, W/16)."""

    def __init__(self, blocks: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.channels = blocks[-1][-1]
        layers: list[nn.Module] = []
        inputs = 3
        self._ends: list[int] = []  # of each block in `layers`
        for index, block in enumerate(blocks):
            for width in block:
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                inputs = width
            if index < len(blocks) - 1:
                layers.insert(-1, nn.MaxPool2d(2))  # before the ReLU, which then has a quarter to do: the maximum is the same
            self._ends.append(len(layers))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """block1, block2, ... in the order of the forward pass: the names of `trainable: from:block4`."""
        starts = [0, *self._ends]
        return {f"block{i}": self.layers[start:end] for i, (start, end) in enumerate(zip(starts, self._ends, strict=False), 1)}

    @property
    def chains(self) -> list[nn.Sequential]:
        return [self.layers]

    def forward(self, images: Tensor) -> Tensor:
        """The last block's activation maps F (Eq. 23)."""
        return fused.run(self.layers, images)  # (B, C, H/16, W/16)


def thin_vgg16(width: float) -> ThinVGG:
    """VGG-16's 13 convolutions with `width` times its channels: 0.5 is ThinAgeNet, 0.25 TinyAgeNet."""
    return ThinVGG(tuple(tuple(max(1, round(channels * width)) for channels in block) for block in VGG16_BLOCKS))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):  # He's fan-out rule keeps the variance of the gradients
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
