"""CORN: is the label above a grid value, given that it is above the one before? (Shi et al., 2021)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.methods.ranking import Cumulative, soft_ranking_targets


class Corn(Cumulative):
    """Binary cross-entropy of K - 1 conditional questions, each asked of the pictures that are above the value before.

    The sum over the questions that a picture is asked, the mean over pictures. As printed, the sum is divided by the questions
    asked in the batch: another scale in each batch, which neither class weights nor several processes could keep.
    """

    reading: ClassVar[str] = "conditional"

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        above = soft_ranking_targets(label, self.grid, self.label_smoothing)  # (B, K-1)
        asked = torch.cat([torch.ones_like(above[:, :1]), above[:, :-1]], dim=1)  # (B, K-1): above the value before
        # softplus(x) - x is -ln sigmoid(x), softplus(x) is -ln(1 - sigmoid(x))
        told = asked * functional.softplus(outputs) - above * outputs  # (B, K-1)
        return {"binary_cross_entropy": told.sum(dim=1).mean()}

    def above(self, outputs: Tensor) -> Tensor:
        """Products of the conditional probabilities, which can only fall."""
        return functional.logsigmoid(outputs).cumsum(dim=1).exp()  # (B, K-1)
