"""DLDL: the label distribution alone."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from agecascade.labels import label_distribution
from agecascade.methods.base import Method


def distribution_loss(
    outputs: Tensor, label: Tensor, sigma: Tensor, grid: Tensor, reduction: str = "batch", smoothing: float = 0.0
) -> Tensor:
    """Kullback-Leibler divergence of the label distribution from the softmax of the outputs (DLDL-v2, Eq. 9).

    outputs (B, K); label, sigma (B,) in label units; grid (K,). `batch` averages over pictures; `batch_and_bins` divides
    by the number of bins as well, as the released code does. `smoothing` is the share of the target that is spread evenly
    over the grid (label smoothing). Returns a scalar.
    """
    loss = divergence(outputs, smoothed(label_distribution(label, sigma, grid), smoothing))
    return loss / len(grid) if reduction == "batch_and_bins" else loss


def smoothed(target: Tensor, share: float) -> Tensor:
    """Distributions (B, K) with a share of each spread evenly over the grid."""
    return (1 - share) * target + share / target.shape[1] if share else target


def divergence(outputs: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of targets (B, K) from the softmax of outputs (B, K), the mean over pictures."""
    # functional.kl_div in full: the same bits, and torch.func.vmap knows how to go over the pictures of each of these
    divergences = torch.xlogy(target, target) - target * torch.log_softmax(outputs, dim=1)  # (B, K)
    return divergences.sum() / len(outputs)


class Dldl(Method):
    """L = L_ld: DLDL-v2 with lambda = 0."""

    needs_sigma: ClassVar[bool] = True

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"kl": distribution_loss(outputs, label, sigma, self.grid, self.kl_reduction, self.label_smoothing)}
