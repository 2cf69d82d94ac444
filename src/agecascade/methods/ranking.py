"""Ranking: is the label above each grid value but the last? (OR-CNN, Niu et al., CVPR 2016; one network as in DLDL-v2, section 4.5.4)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.labels import ranking_targets
from agecascade.methods.base import Method
from agecascade.methods.decoding import DECODINGS, decoded


def soft_ranking_targets(label: Tensor, grid: Tensor, smoothing: float) -> Tensor:
    """Ranking targets (B, K-1) of labels (B,) in label units, of which a share is that of an even distribution over the grid.

    The targets are 1 - T p (DLDL-v2, Eq. 6), which is linear in p: so label smoothing of p is this of the targets.
    """
    target = ranking_targets(label, grid)  # (B, K-1)
    if not smoothing:
        return target
    even = torch.arange(len(grid) - 1, 0, -1, device=grid.device, dtype=target.dtype) / len(grid)  # (K-1,)
    return (1 - smoothing) * target + smoothing * even


def differenced(above: Tensor) -> Tensor:
    """Distribution (B, K) of the probabilities (B, K-1) that the label is above each grid value but the last.

    Its masses are the differences of neighbours, with 1 before the first and 0 after the last. Binary outputs need not fall
    from one to the next: what would be negative is cut to zero, and the rest divided by its sum, which is at least one.
    """
    whole, none = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
    mass = -torch.cat([whole, above, none], dim=1).diff(dim=1).clamp_max(0)  # (B, K)
    return mass / mass.sum(dim=1, keepdim=True)


class Cumulative(Method):
    """K - 1 outputs for the questions whether the label is above a grid value: what ranking, CORAL and CORN share."""

    reading: ClassVar[str] = "sigmoid"
    decodings: ClassVar[tuple[str, ...]] = (*DECODINGS, "count")

    @property
    def outputs(self) -> int:
        return len(self.grid) - 1

    def above(self, outputs: Tensor) -> Tensor:
        """Probability (B, K-1) that the label is above each grid value but the last."""
        return torch.sigmoid(outputs)

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units and distribution (B, K) of outputs (B, K-1).

        expectation: the first grid value and each step times the probability of being above it; count: the grid value as many
        places up as there are probabilities above one half (DLDL-v2, section 4.5.4). Median and mode are the distribution's.
        """
        above = self.above(outputs)  # (B, K-1)
        distribution = differenced(above)
        if self.decoding == "expectation":  # the distribution's own, where no mass was cut
            return self.grid[0] + above @ self.grid.diff(), distribution
        if self.decoding == "count":
            return self.grid[(above > 0.5).sum(dim=1)], distribution
        return decoded(distribution, self.grid, self.decoding), distribution


class Ranking(Cumulative):
    """Binary cross-entropy, summed over the K - 1 questions."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        target = soft_ranking_targets(label, self.grid, self.label_smoothing)
        asked = functional.binary_cross_entropy_with_logits(outputs, target, reduction="none")  # (B, K-1)
        return {"binary_cross_entropy": asked.sum(dim=1).mean()}
