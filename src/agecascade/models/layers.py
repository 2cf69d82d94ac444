"""The last layer of a pooled network: features to outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def linear(channels: int, outputs: int) -> nn.Linear:
    """W^T f + b (DLDL-v2, Eq. 7)."""
    layer = nn.Linear(channels, outputs)
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="linear")
    nn.init.zeros_(layer.bias)
    return layer


class SharedSlope(nn.Module):
    """w^T f + b_k: one weight vector for all outputs and a bias for each, so that their order is that of the biases (CORAL).

    Maps (B, channels) to (B, outputs). The biases start descending from 1 to 1 / outputs, as in the authors' package.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels))
        self.bias = nn.Parameter(torch.arange(outputs, 0, -1, dtype=torch.get_default_dtype()) / outputs)
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="linear")

    def forward(self, features: Tensor) -> Tensor:
        return functional.linear(features, self.weight) + self.bias  # (B, 1) + (outputs,) -> (B, outputs)


LAYERS: dict[str, Callable[[int, int], nn.Module]] = {"linear": linear, "shared_slope": SharedSlope}
