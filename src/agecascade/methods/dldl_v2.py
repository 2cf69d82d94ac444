"""DLDL-v2: label distribution and expectation learned together."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from agecascade.labels import label_distribution
from agecascade.methods.base import Method
from agecascade.methods.dldl import distribution_loss
from agecascade.methods.er import expectation_loss


def closed_gradient(outputs: Tensor, label: Tensor, sigma: Tensor, grid: Tensor, lambda_er: float) -> Tensor:
    """The gradient (B, K) of each picture's loss with respect to its outputs (B, K), in closed form (DLDL-v2, Eq. 17).

    label, sigma: (B,) and grid: (K,) in label units. Training uses autograd; this is the paper's derivation, to hold it against.
    """
    found = torch.softmax(outputs, dim=1)  # (B, K)
    value = found @ grid  # (B,)
    pull = torch.sign(value - label)[:, None] * found * (grid[None, :] - value[:, None])  # (B, K)
    return found - label_distribution(label, sigma, grid) + lambda_er * pull


class DldlV2(Method):
    """L = L_ld + lambda L_er (DLDL-v2, Eq. 12)."""

    needs_sigma: ClassVar[bool] = True

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {
            "kl": distribution_loss(outputs, label, sigma, self.grid, self.kl_reduction, self.label_smoothing),
            "er": self.lambda_er * expectation_loss(outputs, label, self.grid),
        }
