"""C3AE's plain network (Zhang et al., 2019): four small convolutions, no context at several scales."""

from __future__ import annotations

from torch import Tensor, nn

from agecascade.models.base import Backbone

WIDTH = 32


class C3AE(Backbone):
    """Four unpadded 3x3 convolutions, each -> BN -> ReLU, the first three -> 2x2 average pool: 96 pixels give (B, 32, 8, 8).

    DAA's (B, 32, 8, 8) thus wants pictures of 96 pixels; 64 pixels give 4 x 4, 128 give 12 x 12.
    """

    channels = WIDTH

    def __init__(self) -> None:
        super().__init__()
        for number in range(1, 5):
            convolution = nn.Conv2d(3 if number == 1 else WIDTH, WIDTH, 3)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # it has one
            pool = [nn.AvgPool2d(2)] if number < 4 else []
            self.add_module(f"block{number}", nn.Sequential(convolution, nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True), *pool))

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """block1 to block4."""
        return dict(self.named_children())

    def forward(self, images: Tensor) -> Tensor:
        for block in self.children():
            images = block(images)
        return images  # (B, 32, h, w)
