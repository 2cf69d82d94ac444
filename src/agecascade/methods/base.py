"""What every objective offers, and what those over a softmax share."""

from __future__ import annotations

import torch
from torch import Tensor


class Method:
    """An objective over a label grid (K,). `terms` is what a subclass must give; their sum is the loss."""

    outputs: int  # of the network
    label_smoothing: float = 0.0  # share of the target that is spread evenly over the grid, while training

    def __init__(self, grid: Tensor, lambda_er: float = 1.0, kl_reduction: str = "batch") -> None:
        self.grid = grid
        self.lambda_er = lambda_er
        self.kl_reduction = kl_reduction
        self.outputs = len(grid)

    def to(self, device: torch.device | str) -> Method:
        """Move the grid to where the outputs are."""
        self.grid = self.grid.to(device)
        return self

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the loss, each a mean over the batch."""
        raise TypeError(f"{type(self).__name__} defines no terms")

    def loss(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> Tensor:
        """Scalar loss of outputs (B, K) against label (B,) with deviation sigma (B,), both in label units."""
        return torch.stack(list(self.terms(outputs, label, sigma).values())).sum()

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units and distribution (B, K) over the grid: softmax and its expectation (Eqs. 8, 10)."""
        distribution = torch.softmax(outputs, dim=1)  # (B, K)
        return distribution @ self.grid, distribution

    def error(self, outputs: Tensor, label: Tensor) -> Tensor:
        """How wrong each prediction is, (B,): the absolute error in label units."""
        return (self.predict(outputs)[0] - label).abs()
