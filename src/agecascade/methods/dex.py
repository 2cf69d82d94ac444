"""DEX: classification into the grid's values, read as an expected value (Rothe et al., IJCV 2016)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method


def nearest_bin(label: Tensor, grid: Tensor) -> Tensor:
    """Index (B,) of the grid value nearest to each label (B,), the lower one on a tie."""
    return (label[:, None] - grid[None, :]).abs().argmin(dim=1)  # (B, K) -> (B,)


class Dex(Method):
    """Cross-entropy with the nearest grid value; the value is the softmax's expectation."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": functional.cross_entropy(outputs, nearest_bin(label, self.grid), label_smoothing=self.label_smoothing)}
