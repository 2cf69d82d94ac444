"""MR (l1): metric regression with the absolute error (DLDL-v2, section 4.5.4)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.methods.regression import Regression


class MetricRegression(Regression):
    """One output through tanh; the grid's range is mapped linearly to -1..1, and the error is that of the mapped label."""

    reading: ClassVar[str] = "tanh"

    def projected(self, label: Tensor) -> Tensor:
        """Labels (B,) in label units, mapped to -1..1."""
        return (label - self.middle) / self.reach

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units of outputs (B, 1)."""
        return self.middle + self.reach * torch.tanh(outputs[:, 0]), None


class MetricRegressionL1(MetricRegression):
    """The mean of |tanh(x) - y'|."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"l1": functional.l1_loss(torch.tanh(outputs[:, 0]), self.projected(label))}
