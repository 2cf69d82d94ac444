"""Mean and standard deviation of activation maps: what adaptive instance normalisation takes for the style."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-8  # inside the root, so that a map of one value has a gradient
VARIANCES = ("biased", "unbiased")  # 1/(hw) as printed, or 1/(hw - 1) as in the released code


def normalised(maps: Tensor, variance: str = "biased") -> Tensor:
    """(E - mu) / sigma with each map's own mean and standard deviation (below Eq. 1): (B, C, h, w) -> the same."""
    centred, std, _ = _centred(maps.flatten(2), variance)
    return (centred / std).view_as(maps)


def of_channels(maps: Tensor, variance: str = "biased") -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each map (below Eq. 1): (B, C, h, w) -> (B, C) each."""
    _, std, mean = _centred(maps.flatten(2), variance)
    return std[..., 0], mean[..., 0]


def of_pictures(maps: Tensor, variance: str = "biased") -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over all maps of each picture (Eq. 4): (B, C, h, w) -> (B,) each."""
    _, std, mean = _centred(maps.flatten(1), variance)
    return std[..., 0], mean[..., 0]


def _centred(values: Tensor, variance: str) -> tuple[Tensor, Tensor, Tensor]:
    """values (..., n) less their mean, the standard deviation (..., 1) and the mean (..., 1); several times as fast as torch.var."""
    mean = values.mean(-1, keepdim=True)
    centred = values - mean
    squares = centred.square().mean(-1, keepdim=True)
    if variance == "unbiased":
        squares = squares * (values.shape[-1] / (values.shape[-1] - 1))
    # the root of squares + EPSILON, written so that ONNX exporters see no summand that they take for zero and leave out
    return centred, (squares / EPSILON + 1).sqrt() * EPSILON**0.5, mean
