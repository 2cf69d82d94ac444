"""Tensors in double precision for the tests of losses."""

from __future__ import annotations

import torch


def numbers(*values: float) -> torch.Tensor:
    """(len(values),) in double precision."""
    return torch.tensor(values, dtype=torch.float64)


def batch(count: int = 6, outputs: int = 101, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random outputs (count, outputs), labels (count,) in 0..100 and sigmas (count,) of 2."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, outputs, dtype=torch.float64, generator=generator)
    label = 100 * torch.rand(count, dtype=torch.float64, generator=generator)
    return drawn, label, torch.full((count,), 2.0, dtype=torch.float64)
