"""Decoding where one standard deviation and one mean describe an age (Eqs. 5 and 7): two convolutions for all ages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from agecascade.models.daa import batch_norm
from agecascade.models.daa.rectified import rectified_means


def pooled_differences(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor, chunk: int | None = None
) -> Tensor:
    """GAP(ReLU(BN(conv(delta_y)))) of all ages y, (B, K, C'); features E and normal (E - mu)/sigma (B, C, h, w), s and t (K,).

    delta_y = s_y normal + t_y - E (Eq. 7) is affine in three maps that are the same for all ages, and so is its convolution:

        conv(delta_y) = s_y conv(normal) + t_y conv(1) - conv(E) + bias = (s_y - s) P + (t_y - t) Q + D

    with s and t the means over the ages and D the convolution at that mean style. Over all ages (s_y - s) D and (t_y - t) D
    vanish on average, so that batch norm's variance is var(D) + <((s_y - s) P + (t_y - t) Q)^2>, a sum without cancellation.
    """
    assert conv.bias is not None  # a decoder has one
    both = torch.cat([normal, features])  # (2B, C, h, w): one convolution of twice the batch is faster than two
    of_both = functional.conv2d(both, conv.weight, padding=conv.padding).flatten(2)
    of_normal, of_features = of_both[: len(normal)], of_both[len(normal) :]  # (B, C', n) each; ONNX splits by numbers alone
    ones = torch.ones_like(features[:1, :1])
    of_ones = functional.conv2d(ones, conv.weight.sum(1, keepdim=True), padding=conv.padding).flatten(2)  # (1, C', n)
    weights = torch.stack([std - std.mean(), mean - mean.mean(), torch.ones_like(std)], dim=1)  # (K, 3)
    centre = std.mean() * of_normal + mean.mean() * of_ones - of_features + _column(conv.bias)  # (B, C', n)
    if norm.training:
        moments = _moments(weights, of_normal, of_ones, centre)
        batch_norm.remember(norm, moments, centre[:, 0].numel() * len(std))
    else:
        moments = batch_norm.running(norm)
    scale, shift = batch_norm.scale_and_shift(norm.weight, norm.bias, moments, norm.eps)
    scaled = [map_.expand_as(centre) * _column(scale) for map_ in (of_normal, of_ones)]
    maps = torch.stack([*scaled, centre * _column(scale) + _column(shift)], dim=2).flatten(0, 1)  # (B C', 3, n)
    return rectified_means(weights, maps, chunk).unflatten(0, centre.shape[:2]).transpose(1, 2)


def _column(values: Tensor) -> Tensor:
    """(C',) against (B, C', n)."""
    return values[:, None]


def _moments(weights: Tensor, of_normal: Tensor, of_ones: Tensor, centre: Tensor) -> batch_norm.Moments:
    """Those of weights (K, 3) times the maps, over ages, pictures and positions."""
    s, t = weights[:, 0], weights[:, 1]
    spread = (
        (s * s).mean() * of_normal.square().mean((0, 2))
        + 2 * (s * t).mean() * (of_normal * of_ones).mean((0, 2))
        + (t * t).mean() * of_ones.square().mean((0, 2))
    )
    variance, mean = torch.var_mean(centre, (0, 2), correction=0)
    return mean, variance + spread
