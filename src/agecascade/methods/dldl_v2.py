"""DLDL-v2: label distribution and expectation learned together."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from agecascade.methods.base import Method
from agecascade.methods.dldl import distribution_loss
from agecascade.methods.er import expectation_loss


class DldlV2(Method):
    """L = L_ld + lambda L_er (DLDL-v2, Eq. 12)."""

    needs_sigma: ClassVar[bool] = True

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {
            "kl": distribution_loss(outputs, label, sigma, self.grid, self.kl_reduction, self.label_smoothing),
            "er": self.lambda_er * expectation_loss(outputs, label, self.grid),
        }
