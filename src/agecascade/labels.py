"""Label targets as tensors over a grid of values: label distributions and ranking targets."""

from __future__ import annotations

import torch
from torch import Tensor


def grid(low: float, high: float, step: float) -> Tensor:
    """The label grid low, low + step, ..., high in the label's unit. Returns (K,), default dtype.

    Raises ValueError where high - low is no positive multiple of step.
    """
    steps = (high - low) / step if step > 0 else 0.0
    if steps < 0.5 or abs(steps - round(steps)) > 1e-6:
        raise ValueError(f"grid: high - low must be a positive multiple of step, found low {low}, high {high}, step {step}")
    # in double precision, so that 1.0 + 3 * 0.1 and a label of 1.3 round to the same number
    return (low + step * torch.arange(round(steps) + 1, dtype=torch.float64)).to(torch.get_default_dtype())  # (K,)


def label_distribution(label: Tensor, sigma: Tensor, grid: Tensor) -> Tensor:
    """Discretised normal distribution of each label over the grid (DLDL-v2, Eq. 1), rows summing to one.

    label: (B,) in the grid's unit; sigma: (B,), same unit, floored at a hundredth of the smallest step;
    grid: (K,) ascending, steps may differ. Returns (B, K).

    >>> label_distribution(torch.tensor([1.0]), torch.tensor([1e-9]), torch.tensor([0.0, 1.0, 3.0]))
    tensor([[0., 1., 0.]])
    """
    deviation = sigma.clamp_min(0.01 * grid.diff().min())  # (B,)
    distance = (grid[None, :] - label[:, None]) / deviation[:, None]  # (B, K)
    return torch.softmax(-0.5 * distance.square(), dim=1)


def ranking_targets(label: Tensor, grid: Tensor) -> Tensor:
    """Whether each label lies above each grid value but the last (OR-CNN; 1 - c of DLDL-v2, Eq. 5, as sigma goes to zero).

    label: (B,) in the grid's unit; grid: (K,) ascending. Returns (B, K-1) of 0 and 1 in the label's dtype.

    >>> ranking_targets(torch.tensor([2.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    tensor([[1., 1., 0.]])
    """
    return (label[:, None] > grid[None, :-1]).to(label.dtype)  # (B, K-1)


def cumulative_matrix(count: int) -> Tensor:
    """T (K, K) of c = T p (DLDL-v2, Eq. 5): T_ij = 1 for j <= i, for c_i sums the p_j up to i. The printed triangle is the other one.

    >>> cumulative_matrix(3)
    tensor([[1., 0., 0.],
            [1., 1., 0.],
            [1., 1., 1.]])
    """
    return torch.ones(count, count).tril()


def normal_cumulative(label: Tensor, sigma: Tensor, grid: Tensor) -> Tensor:
    """c (B, K) of each label's normal distribution at the grid values (DLDL-v2, Eq. 2). label, sigma: (B,); grid: (K,), one unit."""
    return (1 + torch.erf((grid[None, :] - label[:, None]) / (sigma[:, None] * 2**0.5))) / 2
