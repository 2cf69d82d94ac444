"""The code mapping: a small perceptron that learns one standard deviation and one mean per comparison age."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (16, 32, 2)


class CodeMapping(nn.Module):
    """Codes (K, bits) -> three linear layers, ReLU between them and none at the end -> S and T, each (K,) (section 3.3)."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes, persistent=False)
        layers: list[nn.Module] = []
        inputs = codes.shape[1]
        for width in WIDTHS:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self) -> tuple[Tensor, Tensor]:
        """S, the standard deviations, and T, the means."""
        std, mean = self.layers(self.codes).unbind(1)  # (K, 2) -> (K,) each
        return std, mean
