"""Decoding where each channel of an age has its own standard deviation and mean (Eq. 3): some output channels at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from agecascade.models.daa import batch_norm

CHUNK = 1 << 22  # numbers that are held at once


def pooled_differences(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor, chunk: int | None = None
) -> Tensor:
    """GAP(ReLU(BN(conv(delta_y)))) of all ages y, (K, B, C'); features E and normal (E - mu)/sigma (B, C, h, w), std, mean (K, C).

    Nothing factorises over the ages. But the taps of a kernel can be summed before the channels are, once for all ages,

        conv(delta_y)_o = sum_c std_yc (W_oc * normal_c) + mean_yc (W_oc * 1) - conv(E)_o + bias_o,

    a matrix product over c for each age in place of a convolution. Batch norm, ReLU and pooling know one output channel o at a
    time, so these are taken some at once and computed anew for the gradients: memory stays near that of E for any number of
    ages. `chunk` says how many numbers may be held.
    """
    numbers = features[:, 0].numel() * (features.shape[1] + 2 * len(std))  # of one output channel: its taps, and its ages twice
    step = max(1, (chunk or CHUNK) // numbers)
    of_features = functional.conv2d(features, conv.weight, conv.bias.neg(), padding=conv.padding)  # (B, C', h, w)
    found = []
    for start in range(0, len(norm.weight), step):
        some = slice(start, start + step)
        moments = None if norm.training else tuple(values[some] for values in batch_norm.running(norm))
        inputs = (normal, std, mean, conv.weight[some], of_features[:, some], norm.weight[some], norm.bias[some], moments, norm.eps)
        found.append(checkpoint(_decoded, *inputs, use_reentrant=False) if torch.is_grad_enabled() else _decoded(*inputs))
    if norm.training:
        batch_norm.remember(norm, (torch.cat([one for _, one, _ in found]), torch.cat([one for _, _, one in found])), features[:, 0].numel() * len(std))
    return torch.cat([pooled for pooled, _, _ in found], dim=2)


def _decoded(
    normal: Tensor,
    std: Tensor,
    mean: Tensor,
    kernels: Tensor,
    of_features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moments: batch_norm.Moments | None,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The pooled differences (K, B, o) of the output channels of kernels (o, C, 3, 3), and the moments that they are normalised by."""
    taps = kernels.transpose(0, 1).flatten(0, 1)[:, None]  # (C o, 1, 3, 3)
    of_normal, of_ones = (_per_channel(maps, taps) for maps in (normal, torch.ones_like(normal[:1])))  # (B, C, o n), (1, C, o n)
    differences = (std @ of_normal + mean @ of_ones).unflatten(2, (len(kernels), -1)) - of_features.flatten(2)[:, None]  # (B, K, o, n)
    if moments is None:
        variance, average = torch.var_mean(differences, (0, 1, 3), correction=0)
        moments = average, variance
    scale, shift = batch_norm.scale_and_shift(gamma, beta, moments, epsilon)
    pooled = torch.relu(differences * scale[:, None] + shift[:, None]).mean(3)  # (B, K, o)
    return pooled.transpose(0, 1), *moments


def _per_channel(maps: Tensor, taps: Tensor) -> Tensor:
    """Each channel of maps (B, C, h, w) under its own o kernels of taps (C o, 1, 3, 3): (B, C, o n)."""
    channels = maps.shape[1]
    return functional.conv2d(maps, taps, padding="same", groups=channels).unflatten(1, (channels, -1)).flatten(2)
