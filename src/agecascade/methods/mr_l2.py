"""MR (l2): metric regression with the squared error (DLDL-v2, section 4.5.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.methods.mr_l1 import MetricRegression


class MetricRegressionL2(MetricRegression):
    """The mean of (tanh(x) - y')^2."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"l2": functional.mse_loss(torch.tanh(outputs[:, 0]), self.projected(label))}
