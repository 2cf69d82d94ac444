"""Batch norm by its moments: its input, a map per picture and comparison age, is never held whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Moments = tuple[Tensor, Tensor]  # mean and biased variance of each channel, (C,) each


def running(norm: nn.BatchNorm2d) -> Moments:
    """The moments that evaluation goes by."""
    assert norm.running_mean is not None  # a norm of this project has them
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def remember(norm: nn.BatchNorm2d, moments: Moments, count: int) -> None:
    """Move the running moments towards those of a training batch of `count` numbers per channel, as torch does: the variance unbiased."""
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    for kept, found in zip(running(norm), (moments[0], moments[1] * (count / (count - 1))), strict=True):
        kept.lerp_(found.to(kept.dtype), norm.momentum)
    norm.num_batches_tracked.add_(1)


def scale_and_shift(gamma: Tensor, beta: Tensor, moments: Moments, epsilon: float) -> tuple[Tensor, Tensor]:
    """The factor and the summand (C,) that batch norm comes to."""
    mean, variance = moments
    scale = gamma * torch.rsqrt(variance + epsilon)
    return scale, beta - mean * scale
