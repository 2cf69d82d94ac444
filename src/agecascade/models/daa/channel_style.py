"""Decoding where each channel of an age has its own standard deviation and mean (Eq. 3): some output channels at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from agecascade.models.daa import batch_norm
from agecascade.models.daa.rectified import traced

CPU_CHUNK = 1 << 20  # numbers that are held at once: what stays in the caches
GPU_CHUNK = 1 << 25


def pooled_differences(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor, chunk: int | None = None
) -> Tensor:
    """GAP(ReLU(BN(conv(delta_y)))) of all ages y, (B, K, C'); features E and normal (E - mu)/sigma (B, C, h, w), std, mean (K, C).

    Nothing factorises over the ages. But the taps of a kernel can be summed before the channels are, once for all ages,

        conv(delta_y)_o = sum_c std_yc (W_oc * normal_c) + mean_yc (W_oc * 1) - conv(E)_o + bias_o,

    a matrix product over c for each age in place of a convolution. Batch norm, ReLU and pooling know one output channel o at a
    time, so these are taken some at once and computed anew for the gradients: memory does not grow with the ages. `chunk` says
    how many numbers may be held at once.
    """
    chunk = chunk or (CPU_CHUNK if features.device.type == "cpu" else GPU_CHUNK)
    positions = features[:, 0].numel()  # B n
    step = len(norm.weight) if traced() else max(1, chunk // (positions * max(features.shape[1], len(std))))
    neighbours, inside = _neighbours(normal), _neighbours(torch.ones_like(normal[:1, :1]))[0]  # (C, 9, B n), (9, n)
    assert conv.bias is not None  # a decoder has one
    of_features = functional.conv2d(features, conv.weight, -conv.bias, padding=conv.padding)  # (B, C', h, w)
    of_features = of_features.flatten(2).transpose(0, 1)  # (C', B, n)
    parts = []
    for start in range(0, len(norm.weight), step):
        some = slice(start, start + step)
        moments = None if norm.training else [values[some] for values in batch_norm.running(norm)]
        own = (conv.weight[some], of_features[some], norm.weight[some], norm.bias[some], moments)
        inputs = (neighbours, inside, std, mean, *own, norm.eps)
        parts.append(checkpoint(_decoded, *inputs, use_reentrant=False) if torch.is_grad_enabled() else _decoded(*inputs))
    pooled, average, variance = zip(*parts, strict=True)
    if norm.training:
        batch_norm.remember(norm, (torch.cat(average), torch.cat(variance)), positions * len(std))
    return torch.cat(pooled, dim=1).permute(2, 0, 1)


def _decoded(
    neighbours: Tensor,
    inside: Tensor,
    std: Tensor,
    mean: Tensor,
    kernels: Tensor,
    of_features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moments: list[Tensor] | None,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The pooled differences (K, o, B) of the output channels of kernels (o, C, 3, 3), and the moments that they are normalised by."""
    taps = kernels.flatten(2).transpose(0, 1)  # (C, o, 9)
    of_normal = std @ torch.bmm(taps, neighbours).flatten(1)  # (C, o, B n) -> (K, o B n)
    of_ones = mean @ (taps @ inside).flatten(1)  # (C, o, n) -> (K, o n)
    differences = of_normal.view(-1, *of_features.shape) + of_ones.view(len(std), len(kernels), 1, -1) - of_features  # (K, o, B, n)
    if moments is None:
        average = differences.mean((0, 2, 3))
        centred = differences - average[:, None, None]
        variance = centred.square().mean((0, 2, 3))  # two passes, several times as fast as torch.var
    else:
        average, variance = moments
        centred = differences - average[:, None, None]
    scale = gamma * torch.rsqrt(variance + epsilon)
    return torch.relu(centred * scale[:, None, None] + beta[:, None, None]).mean(3), average, variance


def _neighbours(maps: Tensor) -> Tensor:
    """The 3x3 neighbours of each position of maps (B, C, h, w), zero outside: (C, 9, B n)."""
    pictures, channels = maps.shape[:2]
    return functional.unfold(maps, 3, padding=1).view(pictures, channels, 9, -1).permute(1, 2, 0, 3).flatten(2)
