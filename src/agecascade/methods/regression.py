"""Regression by a single output: metric regression through tanh (DLDL-v2, section 4.5.4), and smooth L1 in label units (DAA, Table 5)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method, MethodOptions, within


class Regression(Method):
    """One output, which is zero at the grid's middle: with a bias of zero, training starts there for any labels.

    There is no distribution, so that `decoding` has no effect.
    """

    reading: ClassVar[str] = "value"

    @property
    def outputs(self) -> int:
        return 1

    @property
    def middle(self) -> Tensor:
        """The middle of the grid's range, in label units."""
        return (self.grid[0] + self.grid[-1]) / 2

    @property
    def reach(self) -> Tensor:
        """Half of the grid's range, in label units."""
        return (self.grid[-1] - self.grid[0]) / 2


class MetricRegression(Regression):
    """One output through tanh; the grid's range is mapped linearly to -1..1, and so is the label y to y' for the error."""

    reading: ClassVar[str] = "tanh"

    def projected(self, label: Tensor) -> Tensor:
        """Labels (B,) in label units, mapped to -1..1."""
        return (label - self.middle) / self.reach

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units of outputs (B, 1)."""
        return within(self.middle + self.reach * torch.tanh(outputs[:, 0]), self.grid), None


class MetricRegressionL1(MetricRegression):
    """MR (l1): the mean of |tanh(x) - y'|."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"l1": functional.l1_loss(torch.tanh(outputs[:, 0]), self.projected(label))}


class MetricRegressionL2(MetricRegression):
    """MR (l2): the mean of (tanh(x) - y')^2."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"l2": functional.mse_loss(torch.tanh(outputs[:, 0]), self.projected(label))}


class SmoothL1Options(MethodOptions):
    """Smooth L1: where it turns from a square into a line."""

    beta: float = Field(1.0, gt=0)  # label units


class SmoothL1(Regression):
    """Smooth L1 of one output in label units, relative to the grid's middle, no tanh: DAA's encoder alone (Table 5, "w/o DAA")."""

    Options: ClassVar[type[MethodOptions]] = SmoothL1Options
    options: SmoothL1Options

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"smooth_l1": functional.smooth_l1_loss(self.middle + outputs[:, 0], label, beta=self.options.beta)}

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units of outputs (B, 1), clamped to the grid's range, which holds every label."""
        return within(self.middle + outputs[:, 0], self.grid), None
