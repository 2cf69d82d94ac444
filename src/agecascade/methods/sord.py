"""SORD: soft labels that fall with the distance from the label (Diaz and Marathe, CVPR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from agecascade.methods.base import Method, mean_step
from agecascade.methods.dldl import divergence, smoothed


class SoftOrdinal(Method):
    """Kullback-Leibler divergence of the soft label, a softmax of -|l_k - y|, from the softmax of the outputs.

    The distance counts in the grid's mean step. Its square instead would be DLDL with a sigma of sqrt(1/2) steps.
    """

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        target = torch.softmax(-(self.grid[None, :] - label[:, None]).abs() / mean_step(self.grid), dim=1)  # (B, K)
        return {"kl": divergence(outputs, smoothed(target, self.label_smoothing))}
