"""C3AE's plain network (Zhang et al., 2019): five small convolutions, no context at several scales."""

from __future__ import annotations

from torch import Tensor, nn

from agecascade.models import fused
from agecascade.models.base import Backbone

WIDTH = 32
REDUCTION = 2  # of the channels within squeeze-and-excitation


class C3AE(Backbone):
    """Four unpadded 3x3 convolutions, each -> BN -> activation, the first three -> 2x2 average pool, then a 1x1 convolution.

    (B, 3, 64, 64), the size of its paper, gives (B, 32, 4, 4), 96 pixels give 8 x 8, 128 give 12 x 12. hswish: h-swish (Howard et
    al., 2019) in place of ReLU; excitation: squeeze-and-excitation (Hu et al., 2018) after each block, which the paper's plain
    network lacks and its implementations add.
    """

    channels = WIDTH

    def __init__(self, hswish: bool = False, excitation: bool = False) -> None:
        super().__init__()
        activation = nn.Hardswish if hswish else nn.ReLU
        for number in range(1, 6):
            kernel = 3 if number < 5 else 1
            convolution = nn.Conv2d(3 if number == 1 else WIDTH, WIDTH, kernel)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # it has one
            block: list[nn.Module] = [convolution]
            if number < 5:  # nothing follows the last
                block += [nn.BatchNorm2d(WIDTH), activation(inplace=True)]
            if number < 4:
                block.append(nn.AvgPool2d(2))
            if excitation:
                block.append(Excitation(WIDTH, activation))
            self.add_module(f"block{number}", nn.Sequential(*block))

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """block1 to block5."""
        return dict(self.named_children())

    @property
    def chains(self) -> list[nn.Sequential]:
        return list(self.children())  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        for block in self.chains:
            images = fused.run(block, images)
        return images  # (B, 32, h, w)


class Excitation(nn.Module):
    """Squeeze-and-excitation: maps (B, C, h, w), each times a weight in 0..1 that follows from the means of all."""

    def __init__(self, channels: int, activation: type[nn.ReLU] | type[nn.Hardswish]) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.weigh = nn.Sequential(nn.Conv2d(channels, inner, 1), activation(), nn.Conv2d(inner, channels, 1), nn.Sigmoid())

    def forward(self, maps: Tensor) -> Tensor:
        weights: Tensor = self.weigh(maps.mean((2, 3), keepdim=True))  # (B, C, 1, 1)
        return maps * weights
