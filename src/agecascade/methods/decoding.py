"""How one value is read off a distribution over the grid."""

from __future__ import annotations

from torch import Tensor

DECODINGS = ("expectation", "median", "mode")


def decoded(distribution: Tensor, grid: Tensor, decoding: str) -> Tensor:
    """Value (B,) in label units of each distribution (B, K) over the grid (K,), ascending.

    expectation: the mean, smallest expected squared error (DLDL-v2, Eq. 10); median: the first grid value with half of the
    mass at or below it, smallest expected absolute error; mode: the likeliest grid value, highest expected accuracy.
    """
    if decoding == "median":
        below = (distribution.cumsum(dim=1) < 0.5).sum(dim=1)  # (B,)
        return grid[below.clamp_max(len(grid) - 1)]
    if decoding == "mode":
        return grid[distribution.argmax(dim=1)]
    return distribution @ grid
