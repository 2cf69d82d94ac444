"""Mean and standard deviation of activation maps: what adaptive instance normalisation takes for the style."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-8  # inside the root, so that a map of one value has a gradient
VARIANCES = ("biased", "unbiased")  # 1/(hw) as printed, or 1/(hw - 1) as in the released code


def of_channels(maps: Tensor, variance: str = "biased") -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each map (below Eq. 1): (B, C, h, w) -> (B, C) each."""
    return _statistics(maps, (2, 3), variance)


def of_pictures(maps: Tensor, variance: str = "biased") -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over all maps of each picture (Eq. 4): (B, C, h, w) -> (B,) each."""
    return _statistics(maps, (1, 2, 3), variance)


def _statistics(maps: Tensor, over: tuple[int, ...], variance: str) -> tuple[Tensor, Tensor]:
    spread = maps.var(over, correction=int(variance == "unbiased"))
    return (spread + EPSILON).sqrt(), maps.mean(over)
