"""What every objective offers, and what those over a softmax share."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from agecascade.methods.decoding import DECODINGS, decoded


class Method:
    """An objective over a label grid (K,). `terms` is what a subclass must give; their sum is the loss."""

    layer: ClassVar[str] = "linear"  # that gives the outputs: a name in models.layers
    reading: ClassVar[str] = "softmax"  # what outputs are; a head goes on where the next method reads them alike, over the same grid
    needs_sigma: ClassVar[bool] = False
    decodings: ClassVar[tuple[str, ...]] = DECODINGS
    label_smoothing: float = 0.0  # share of the target that is spread evenly over the grid, while training

    def __init__(self, grid: Tensor, lambda_er: float = 1.0, kl_reduction: str = "batch", decoding: str = "expectation") -> None:
        self.grid = grid
        self.lambda_er = lambda_er
        self.kl_reduction = kl_reduction
        self.decoding = decoding

    @property
    def outputs(self) -> int:
        """How many the network has; one for each of the K grid values unless the method says otherwise."""
        return len(self.grid)

    def to(self, device: torch.device | str) -> Method:
        """Move the grid to where the outputs are."""
        self.grid = self.grid.to(device)
        return self

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the loss, each a mean over the batch."""
        raise TypeError(f"{type(self).__name__} defines no terms")

    def loss(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> Tensor:
        """Scalar loss of outputs (B, `outputs`) against label (B,) with deviation sigma (B,), both in label units."""
        return torch.stack(list(self.terms(outputs, label, sigma).values())).sum()

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units and distribution (B, K) over the grid: softmax and, by default, its expectation (Eqs. 8, 10)."""
        distribution = torch.softmax(outputs, dim=1)  # (B, K)
        return decoded(distribution, self.grid, self.decoding), distribution

    def error(self, outputs: Tensor, label: Tensor) -> Tensor:
        """How wrong each prediction is, (B,): the absolute error in label units."""
        return (self.predict(outputs)[0] - label).abs()


def mean_step(grid: Tensor) -> Tensor:
    """The mean distance of neighbouring grid values, in label units: what losses written for class indices 0..K-1 count in."""
    return (grid[-1] - grid[0]) / (len(grid) - 1)
