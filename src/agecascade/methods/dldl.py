"""Label distributions as targets: DLDL, DLDL-v2, its expectation loss alone, and SORD's soft labels."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agecascade.labels import label_distribution
from agecascade.methods.base import Method, MethodOptions, mean_step


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


def expectation_loss(outputs: Tensor, label: Tensor, grid: Tensor) -> Tensor:
    """Mean absolute error of the expectation over the softmax (DLDL-v2, Eqs. 10 and 11).

    outputs (B, K); label (B,) and grid (K,) in label units. Returns a scalar in label units.
    """
    return functional.l1_loss(torch.softmax(outputs, dim=1) @ grid, label)


def smoothed(target: Tensor, share: float) -> Tensor:
    """Distributions (B, K) with a share of each spread evenly over the grid."""
    return (1 - share) * target + share / target.shape[1] if share else target


def divergence(outputs: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of targets (B, K) from the softmax of outputs (B, K), the mean over pictures."""
    # functional.kl_div written out: the same bits, and torch.func.vmap can map it over the pictures of each head
    divergences = torch.xlogy(target, target) - target * torch.log_softmax(outputs, dim=1)  # (B, K)
    return divergences.sum() / len(outputs)


def closed_gradient(outputs: Tensor, label: Tensor, sigma: Tensor, grid: Tensor, lambda_er: float) -> Tensor:
    """The gradient (B, K) of each picture's loss with respect to its outputs (B, K), in closed form (DLDL-v2, Eq. 17).

    label, sigma: (B,) and grid: (K,) in label units. Training uses autograd; tests compare the two.
    """
    predicted = torch.softmax(outputs, dim=1)  # (B, K)
    value = predicted @ grid  # (B,)
    pull = torch.sign(value - label)[:, None] * predicted * (grid[None, :] - value[:, None])  # (B, K)
    return predicted - label_distribution(label, sigma, grid) + lambda_er * pull


class DldlOptions(MethodOptions):
    """DLDL: the average of the KL term."""

    # batch: over pictures, Eq. 9 as printed; batch_and_bins: over pictures and grid values, as in the released code
    kl_reduction: Literal["batch", "batch_and_bins"] = "batch"


class Dldl(Method):
    """L = L_ld (Eq. 9): DLDL-v2 with lambda = 0."""

    Options: ClassVar[type[MethodOptions]] = DldlOptions
    options: DldlOptions
    needs_sigma: ClassVar[bool] = True

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"kl": distribution_loss(outputs, label, sigma, self.grid, self.options.kl_reduction, self.label_smoothing)}


class DldlV2Options(DldlOptions):
    """DLDL-v2: the weight of the expectation loss besides."""

    lambda_er: float = Field(1.0, alias="lambda", ge=0)  # Eq. 12


class DldlV2(Dldl):
    """L = L_ld + lambda L_er (DLDL-v2, Eq. 12)."""

    Options: ClassVar[type[MethodOptions]] = DldlV2Options
    options: DldlV2Options

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        expectation = self.options.lambda_er * expectation_loss(outputs, label, self.grid)
        return {**super().terms(outputs, label, sigma), "er": expectation}


class ExpectationRegression(Method):
    """L = L_er: no label distribution is imposed (row ER of DLDL-v2, Table 11)."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"er": expectation_loss(outputs, label, self.grid)}


class SordOptions(MethodOptions):
    """SORD: the factor of the distance."""

    scale: float = Field(1.0, gt=0)  # of the distance in mean steps of the grid; larger: a narrower soft label


class SoftOrdinal(Method):
    """SORD (Diaz and Marathe, CVPR 2019): KL divergence of the soft label, a softmax of -|l_k - y|, from the softmax of the outputs.

    The distance is in mean steps of the grid, times `scale`. Its square instead would be DLDL with a sigma of sqrt(1/2) steps.
    """

    Options: ClassVar[type[MethodOptions]] = SordOptions
    options: SordOptions

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        distance = (self.grid[None, :] - label[:, None]).abs() / mean_step(self.grid)  # (B, K)
        target = torch.softmax(-self.options.scale * distance, dim=1)  # (B, K)
        return {"kl": divergence(outputs, smoothed(target, self.label_smoothing))}
