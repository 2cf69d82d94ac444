"""Losses of the softmax's mean and variance: the mean-variance and the unimodal-concentrated loss."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method, MethodOptions, mean_step
from agecascade.methods.classification import nearest_bin

# of a value anywhere in a bin: without it, the logarithm has no lower end
BIN_VARIANCE = 1 / 12
LOWEST = 0.5 * math.log(BIN_VARIANCE)  # lower bound of the unimodal-concentrated loss


def moments(distribution: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B,) in label units and variance (B,) in their square of distributions (B, K) over the grid (K,)."""
    mean = distribution @ grid
    deviation = grid[None, :] - mean[:, None]  # (B, K)
    return mean, (distribution * deviation.square()).sum(dim=1)


class MeanVarianceOptions(MethodOptions):
    """Mean-variance loss: the weights of its two terms besides cross-entropy (Pan et al., section 4)."""

    weight_mean: float = Field(0.2, ge=0)
    weight_variance: float = Field(0.05, ge=0)


class MeanVariance(Method):
    """Cross-entropy + 0.2 (m - y)^2 / 2 + 0.05 v: m and v are the mean and the variance of the softmax (Pan et al., CVPR 2018).

    Both are in mean steps of the grid, so that the weights mean on any grid the same as over the paper's years.
    """

    Options: ClassVar[type[MethodOptions]] = MeanVarianceOptions
    options: MeanVarianceOptions

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        mean, variance = moments(torch.softmax(outputs, dim=1), self.grid)
        step = mean_step(self.grid)
        nearest = nearest_bin(label, self.grid)
        return {
            "cross_entropy": functional.cross_entropy(outputs, nearest, label_smoothing=self.label_smoothing),
            "mean": self.options.weight_mean * ((mean - label) / step).square().mean() / 2,
            "variance": self.options.weight_variance * (variance / step.square()).mean(),
        }


class UnimodalOptions(MethodOptions):
    """Unimodal-concentrated loss: the weight of its unimodal term."""

    weight: float = Field(1000.0, ge=0)  # as in the public benchmark of Paplham and Franc (CVPR 2024)


class UnimodalConcentrated(Method):
    """ln(v)/2 + (m - y)^2 / (2v) + 1000 sum_k max(0, sign(l - y) (p_(k+1) - p_k)), l the middle between l_k and l_(k+1).

    The concentrated part is a normal likelihood: m is the softmax's mean, v its variance, in steps of the grid, plus that of an
    even density within a bin, which the paper leaves out (Li et al., CVPR 2022). The unimodal part penalises each rise away from
    the label. The target is no distribution, so that label smoothing does not apply.
    """

    Options: ClassVar[type[MethodOptions]] = UnimodalOptions
    options: UnimodalOptions

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        distribution = torch.softmax(outputs, dim=1)  # (B, K)
        step = mean_step(self.grid)
        mean, variance = moments(distribution, self.grid)
        spread = variance / step.square() + BIN_VARIANCE
        likelihood = spread.log() / 2 + ((mean - label) / step).square() / (2 * spread)  # (B,)
        side = torch.sign((self.grid[1:] + self.grid[:-1])[None, :] / 2 - label[:, None])  # (B, K-1)
        rise = (side * distribution.diff(dim=1)).clamp_min(0).sum(dim=1)  # (B,)
        return {"concentrated": likelihood.mean(), "unimodal": self.options.weight * rise.mean()}
