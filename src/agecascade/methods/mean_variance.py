"""Mean-variance loss: classification whose mean meets the label and whose variance is small (Pan et al., CVPR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method, mean_step
from agecascade.methods.dex import nearest_bin

MEAN_WEIGHT, VARIANCE_WEIGHT = 0.2, 0.05  # the paper's


class MeanVariance(Method):
    """Cross-entropy + 0.2 (m - y)^2 / 2 + 0.05 v: m and v are the mean and the variance of the softmax.

    Both count in the grid's mean step, so that the weights mean on any grid what they mean over the paper's years.
    """

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        mean, variance = moments(torch.softmax(outputs, dim=1), self.grid)
        step = mean_step(self.grid)
        nearest = nearest_bin(label, self.grid)
        return {
            "cross_entropy": functional.cross_entropy(outputs, nearest, label_smoothing=self.label_smoothing),
            "mean": MEAN_WEIGHT * ((mean - label) / step).square().mean() / 2,
            "variance": VARIANCE_WEIGHT * (variance / step.square()).mean(),
        }


def moments(distribution: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B,) in label units and variance (B,) in their square of distributions (B, K) over the grid (K,)."""
    mean = distribution @ grid
    deviation = grid[None, :] - mean[:, None]  # (B, K)
    return mean, (distribution * deviation.square()).sum(dim=1)
