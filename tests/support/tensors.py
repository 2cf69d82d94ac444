"""Tensors in double precision, and random outputs of networks, for tests of losses."""

from __future__ import annotations

import torch
from torch import Tensor


def doubles(*values: float) -> Tensor:
    """The values as a tensor (N,) in double precision."""
    return torch.tensor(values, dtype=torch.float64)


def outputs_and_labels(count: int, grid: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (count, K) of a network, labels (count,) within 0..100 and a sigma of 2 for each, all drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, len(grid), dtype=torch.float64, generator=generator)
    label = 100 * torch.rand(count, dtype=torch.float64, generator=generator)
    return outputs, label, torch.full((count,), 2.0, dtype=torch.float64)
