"""DAA: the mean of the estimates from all comparison ages is trained (DAA, section 3.4)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method, MethodOptions, within
from agecascade.methods.regression import SmoothL1Options


def spread_over(values: Tensor, grid: Tensor) -> Tensor:
    """Distribution (B, K) over the grid (K,), ascending, of values (B, n): each has mass 1/n, divided between its two neighbours.

    Its mean is that of the values, clamped to the grid's range.

    >>> spread_over(torch.tensor([[0.5, 2.0]]), torch.tensor([0.0, 1.0, 2.0]))
    tensor([[0.2500, 0.2500, 0.5000]])
    """
    values = values.clamp(grid[0], grid[-1]).contiguous()
    above = torch.searchsorted(grid.contiguous(), values).clamp(1, len(grid) - 1)  # (B, n)
    share = (values - grid[above - 1]) / (grid[above] - grid[above - 1])  # (B, n): of the neighbour above
    distribution = values.new_zeros(len(values), len(grid))  # (B, K)
    distribution.scatter_add_(1, above, share).scatter_add_(1, above - 1, 1 - share)
    return distribution / values.shape[1]


class DeltaAge(Method):
    """Smooth L1, beta = 1 label unit, of the mean estimate (Eqs. 9 and 10). Outputs are estimates y - delta_y: those of head `daa`.

    The distribution of a prediction is that of its estimates: where they disagree, its interval is wide. The value is always
    their mean, so that `decoding` has no effect.
    """

    Options: ClassVar[type[MethodOptions]] = SmoothL1Options
    options: SmoothL1Options
    reading: ClassVar[str] = "estimates"
    reads_distribution: ClassVar[bool] = False

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"smooth_l1": functional.smooth_l1_loss(outputs.mean(1), label, beta=self.options.beta)}

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) of outputs (B, n), clamped to the grid's range, and distribution (B, K); n is below K where ages are sampled."""
        return within(outputs.mean(1), self.grid), spread_over(outputs, self.grid)
