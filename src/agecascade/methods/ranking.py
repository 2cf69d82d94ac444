"""Ordinal regression by K - 1 binary outputs, each for "the label is above this grid value": ranking, CORAL and CORN."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.labels import ranking_targets
from agecascade.methods.base import DECODINGS, Method, decoded, within


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

    Its masses are the differences of neighbours, with 1 before the first and 0 after the last. Binary outputs need not decrease
    from one to the next: negative differences are cut to zero, and the rest divided by its sum, which is at least one.
    """
    one, zero = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
    mass = -torch.cat([one, above, zero], dim=1).diff(dim=1).clamp_max(0)  # (B, K)
    return mass / mass.sum(dim=1, keepdim=True)


class Cumulative(Method):
    """Base of ranking, CORAL and CORN: K - 1 outputs, one for each grid value but the last, say whether the label is above it."""

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
        if self.options.decoding == "expectation":  # equal to the distribution's where no mass was cut
            return within(self.grid[0] + above @ self.grid.diff(), self.grid), distribution
        if self.options.decoding == "count":
            return self.grid[(above > 0.5).sum(dim=1)], distribution
        return decoded(distribution, self.grid, self.options.decoding), distribution


class Ranking(Cumulative):
    """Binary cross-entropy, summed over the K - 1 outputs (OR-CNN, Niu et al., CVPR 2016; one network as in DLDL-v2, section 4.5.4)."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        target = soft_ranking_targets(label, self.grid, self.label_smoothing)  # (B, K-1)
        entropy = functional.binary_cross_entropy_with_logits(outputs, target, reduction="none")  # (B, K-1)
        return {"binary_cross_entropy": entropy.sum(dim=1).mean()}


class Coral(Ranking):
    """CORAL (Cao et al., 2020): ranking's loss, Eq. 4 with equal importance weights, behind one weight vector and K - 1 biases.

    The biases descend where the loss is lowest (Theorem 1), and then the probabilities do; while they do not, `differenced` cuts.
    """

    layer: ClassVar[str] = "shared_slope"
    reading: ClassVar[str] = "shared_slope"


class Corn(Cumulative):
    """CORN (Shi et al., 2021): binary cross-entropy of "above l_k, given above l_(k-1)", over the pictures whose label is above l_(k-1).

    The sum over a picture's outputs, the mean over pictures. As printed, the sum is divided by the number of conditional outputs
    in the batch: another scale in each batch, which is incompatible with class weights and with several processes.
    """

    reading: ClassVar[str] = "conditional"

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        above = soft_ranking_targets(label, self.grid, self.label_smoothing)  # (B, K-1)
        condition = torch.cat([torch.ones_like(above[:, :1]), above[:, :-1]], dim=1)  # (B, K-1): above the value before
        # softplus(x) - x is -ln sigmoid(x), softplus(x) is -ln(1 - sigmoid(x))
        entropy = condition * functional.softplus(outputs) - above * outputs  # (B, K-1)
        return {"binary_cross_entropy": entropy.sum(dim=1).mean()}

    def above(self, outputs: Tensor) -> Tensor:
        """Probability (B, K-1) of being above each grid value: cumulative products of the conditional ones, which never increase."""
        return functional.logsigmoid(outputs).cumsum(dim=1).exp()  # (B, K-1)
