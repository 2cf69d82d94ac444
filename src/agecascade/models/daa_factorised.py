"""The fast form of DAA's decoder: the differences of all ages at once, without a map per picture, age and channel.

With one style per age the convolutions of all ages are affine in three maps; with a style per channel, kernels are summed before
channels. Batch norm is computed from its moments. tests/support/daa_literal.py has the printed form, which tests compare with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# numbers that are held at once; on a CPU, what stays in its caches
SHARED_CPU_CHUNK, SHARED_GPU_CHUNK = 1 << 19, 1 << 24
CHANNEL_CPU_CHUNK, CHANNEL_GPU_CHUNK = 1 << 20, 1 << 25

Moments = tuple[Tensor, Tensor]  # mean and biased variance of each channel, (C,) each


def shared_style_differences(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor, chunk: int | None = None
) -> Tensor:
    """GAP(ReLU(BN(conv(delta_y)))) of all ages y, (B, K, C'), where each age has one style (Eqs. 5 and 7).

    features: E, (B, C, h, w); normal: (E - mu)/sigma, the same; std, mean: s and t, (K,).

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
        update_running(norm, moments, centre[:, 0].numel() * len(std))
    else:
        moments = running_moments(norm)
    scale, shift = scale_and_shift(norm.weight, norm.bias, moments, norm.eps)
    scaled = [map_.expand_as(centre) * _column(scale) for map_ in (of_normal, of_ones)]
    maps = torch.stack([*scaled, centre * _column(scale) + _column(shift)], dim=2).flatten(0, 1)  # (B C', 3, n)
    return rectified_means(weights, maps, chunk).unflatten(0, centre.shape[:2]).transpose(1, 2)


def _column(values: Tensor) -> Tensor:
    """(C',) against (B, C', n)."""
    return values[:, None]


def _moments(weights: Tensor, of_normal: Tensor, of_ones: Tensor, centre: Tensor) -> Moments:
    """Mean and variance (C',) of weights (K, 3) times the three maps, over ages, pictures and positions."""
    s, t = weights[:, 0], weights[:, 1]
    spread = (
        (s * s).mean() * of_normal.square().mean((0, 2))
        + 2 * (s * t).mean() * (of_normal * of_ones).mean((0, 2))
        + (t * t).mean() * of_ones.square().mean((0, 2))
    )
    variance, mean = torch.var_mean(centre, (0, 2), correction=0)
    return mean, variance + spread


def rectified_means(weights: Tensor, maps: Tensor, chunk: int | None = None) -> Tensor:
    """mean over the n positions of relu(sum_i weights[k, i] maps[m, i]): weights (K, I), maps (M, I, n) -> (M, K).

    The K combinations of I maps are computed `chunk` numbers at a time, and computed again for the gradients: memory does not grow
    with K. A program that is traced for export gets the plain formula.
    """
    if traced():
        return torch.relu(weights @ maps).mean(2)
    return _RectifiedMeans.apply(weights, maps, chunk or (SHARED_CPU_CHUNK if maps.device.type == "cpu" else SHARED_GPU_CHUNK))


def traced() -> bool:
    """Whether torch traces this program, for export or compilation: chunks of this batch's size would become part of it."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class _RectifiedMeans(torch.autograd.Function):
    """The forward and the backward pass of `rectified_means`, in chunks."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, maps: Tensor, chunk: int) -> Tensor:
        ctx.save_for_backward(weights, maps)
        ctx.chunk = chunk
        means = maps.new_empty(len(maps), len(weights))  # (M, K)
        for rows, combined in _combinations(weights, maps, chunk):
            torch.mean(combined.relu_(), dim=2, out=means[rows])
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, maps = ctx.saved_tensors
        share = (gradient / maps.shape[2])[:, :, None]  # (M, K, 1): of each position
        of_weights, of_maps = maps.new_zeros(maps.shape[1], len(weights)), torch.empty_like(maps)
        for rows, combined in _combinations(weights, maps, ctx.chunk):
            passed = torch.ops.aten.threshold_backward(share[rows].expand_as(combined), combined, 0.0)  # (m, K, n)
            torch.bmm(weights.T.expand(len(passed), -1, -1), passed, out=of_maps[rows])
            of_weights += torch.bmm(maps[rows], passed.transpose(1, 2)).sum(0)  # (I, K)
        return of_weights.T, of_maps, None


def _combinations(weights: Tensor, maps: Tensor, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Slices of M and their combinations (m, K, n), in a buffer that the next slice overwrites."""
    count, _, positions = maps.shape
    step = min(count, max(1, chunk // (len(weights) * positions)))
    buffer = maps.new_empty(step, len(weights), positions)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        part = maps[rows]
        yield rows, torch.bmm(weights.expand(len(part), -1, -1), part, out=buffer[: len(part)])


def channel_style_differences(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor, chunk: int | None = None
) -> Tensor:
    """GAP(ReLU(BN(conv(delta_y)))) of all ages y, (B, K, C'), where each age and channel has a style (Eq. 3).

    features: E, (B, C, h, w); normal: (E - mu)/sigma, the same; std, mean: (K, C).

    Nothing factorises over the ages. But the taps of a kernel can be summed before the channels, once for all ages,

        conv(delta_y)_o = sum_c std_yc (W_oc * normal_c) + mean_yc (W_oc * 1) - conv(E)_o + bias_o,

    a matrix product over c for each age in place of a convolution. Batch norm, ReLU and pooling treat output channels o separately,
    so these are computed in chunks, and again for the gradients: memory does not grow with the ages. `chunk` is the most numbers
    held at once.
    """
    chunk = chunk or (CHANNEL_CPU_CHUNK if features.device.type == "cpu" else CHANNEL_GPU_CHUNK)
    positions = features[:, 0].numel()  # B n
    step = len(norm.weight) if traced() else max(1, chunk // (positions * max(features.shape[1], len(std))))
    neighbours, inside = _neighbours(normal), _neighbours(torch.ones_like(normal[:1, :1]))[0]  # (C, 9, B n), (9, n)
    assert conv.bias is not None  # a decoder has one
    of_features = functional.conv2d(features, conv.weight, -conv.bias, padding=conv.padding)  # (B, C', h, w)
    of_features = of_features.flatten(2).transpose(0, 1)  # (C', B, n)
    parts = []
    for start in range(0, len(norm.weight), step):
        chosen = slice(start, start + step)  # of the output channels
        moments = None if norm.training else [values[chosen] for values in running_moments(norm)]
        own = (conv.weight[chosen], of_features[chosen], norm.weight[chosen], norm.bias[chosen], moments)
        inputs = (neighbours, inside, std, mean, *own, norm.eps)
        parts.append(checkpoint(_decoded, *inputs, use_reentrant=False) if torch.is_grad_enabled() else _decoded(*inputs))
    pooled, average, variance = zip(*parts, strict=True)
    if norm.training:
        update_running(norm, (torch.cat(average), torch.cat(variance)), positions * len(std))
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


def running_moments(norm: nn.BatchNorm2d) -> Moments:
    """The running moments, which evaluation uses."""
    assert norm.running_mean is not None  # a norm of this project has them
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def update_running(norm: nn.BatchNorm2d, moments: Moments, count: int) -> None:
    """Move the running moments towards those of a training batch of `count` numbers per channel, as torch does: the variance unbiased."""
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    for stored, new in zip(running_moments(norm), (moments[0], moments[1] * (count / (count - 1))), strict=True):
        stored.lerp_(new.to(stored.dtype), norm.momentum)
    norm.num_batches_tracked.add_(1)


def scale_and_shift(gamma: Tensor, beta: Tensor, moments: Moments, epsilon: float) -> tuple[Tensor, Tensor]:
    """Factor and summand (C,) of batch norm as an affine map."""
    mean, variance = moments
    scale = gamma * torch.rsqrt(variance + epsilon)
    return scale, beta - mean * scale
