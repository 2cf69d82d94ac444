"""Unimodal-concentrated loss: the network finds the label distribution itself (Li et al., CVPR 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agecascade.methods.base import Method, mean_step
from agecascade.methods.mean_variance import moments

UNIMODAL_WEIGHT = 1000.0  # as in the public benchmark of Paplham and Franc (CVPR 2024)
# of a value anywhere in a bin: without it, the logarithm has no lower end
BIN_VARIANCE = 1 / 12
LOWEST = 0.5 * math.log(BIN_VARIANCE)  # that the loss can be


class UnimodalConcentrated(Method):
    """ln(v)/2 + (m - y)^2 / (2v) + 1000 sum_k max(0, sign(l - y) (p_(k+1) - p_k)), l the middle between l_k and l_(k+1).

    The concentrated part is a normal likelihood: m is the softmax's mean, v its variance, in steps of the grid, plus that of an
    even density within a bin, which the paper leaves out. The unimodal part charges each rise away from the label. No
    distribution is set as target, so that there is none to smooth.
    """

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        distribution = torch.softmax(outputs, dim=1)  # (B, K)
        step = mean_step(self.grid)
        mean, variance = moments(distribution, self.grid)
        spread = variance / step.square() + BIN_VARIANCE
        likelihood = spread.log() / 2 + ((mean - label) / step).square() / (2 * spread)  # (B,)
        side = torch.sign((self.grid[1:] + self.grid[:-1])[None, :] / 2 - label[:, None])  # (B, K-1)
        rise = (side * distribution.diff(dim=1)).clamp_min(0).sum(dim=1)  # (B,)
        return {"concentrated": likelihood.mean(), "unimodal": UNIMODAL_WEIGHT * rise.mean()}
