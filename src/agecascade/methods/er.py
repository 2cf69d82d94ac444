"""ER: the expectation alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method


def expectation_loss(outputs: Tensor, label: Tensor, grid: Tensor) -> Tensor:
    """Mean absolute error of the expectation over the softmax (DLDL-v2, Eqs. 10 and 11).

    outputs (B, K); label (B,) and grid (K,) in label units. Returns a scalar in label units.
    """
    return functional.l1_loss(torch.softmax(outputs, dim=1) @ grid, label)


class ExpectationRegression(Method):
    """L = L_er: no label distribution is imposed (row ER of DLDL-v2, Table 11)."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"er": expectation_loss(outputs, label, self.grid)}
