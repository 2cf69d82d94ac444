"""Smooth L1 on the label itself: the encoder without DAA's operation (DAA, Table 5, "w/o DAA")."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from agecascade.methods.regression import Regression


class SmoothL1(Regression):
    """One output in label units, counted from the grid's middle; smooth L1 with beta = 1 label unit, no tanh."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"smooth_l1": functional.smooth_l1_loss(self.middle + outputs[:, 0], label, beta=1.0)}

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units of outputs (B, 1), kept within the grid's range, which holds every label."""
        return (self.middle + outputs[:, 0]).clamp(self.grid[0], self.grid[-1]), None
