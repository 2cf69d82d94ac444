"""The age decoder: what a difference of features says of the difference of ages (DAA, section 3.4)."""

from __future__ import annotations

from torch import Tensor, nn

from agecascade.models.daa import channel_style, shared_style


class AgeDecoder(nn.Module):
    """conv3x3 -> BN -> ReLU -> GAP -> linear (Eq. 8), over the differences of a picture from all ages at once."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor) -> Tensor:
        """The delta ages (B, K) of features E and normal (E - mu)/sigma, both (B, C, h, w), from ages of styles (K,) or (K, C)."""
        decoding = shared_style if std.ndim == 1 else channel_style
        pooled = decoding.pooled_differences(self.conv, self.norm, features, normal, std, mean)  # (B, K, C')
        return self.linear(pooled)[..., 0]
