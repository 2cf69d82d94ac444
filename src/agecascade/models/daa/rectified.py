"""ReLU and global average of many affine combinations of the same maps, without ever holding all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_CHUNK = 1 << 19  # numbers of the combinations that are held at once: what stays in the cores' caches
GPU_CHUNK = 1 << 24


def rectified_means(weights: Tensor, maps: Tensor, chunk: int | None = None) -> Tensor:
    """mean over the n positions of relu(sum_i weights[k, i] maps[m, i]): weights (K, I), maps (M, I, n) -> (M, K).

    The K combinations of I maps are computed `chunk` numbers at a time, here and once more for the gradients: memory stays at
    the maps' own, whatever K. A program that is traced for export is given the plain formula.
    """
    if traced():
        return torch.relu(weights @ maps).mean(2)
    return _RectifiedMeans.apply(weights, maps, chunk or (CPU_CHUNK if maps.device.type == "cpu" else GPU_CHUNK))


def traced() -> bool:
    """Whether a program is recorded, for export or compilation: chunks of this batch's size would become part of it."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class _RectifiedMeans(torch.autograd.Function):
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
    """Rows of M and their combinations (m, K, n), some at a time, in a buffer that the next ones are written to."""
    count, _, positions = maps.shape
    step = min(count, max(1, chunk // (len(weights) * positions)))
    buffer = maps.new_empty(step, len(weights), positions)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        some = maps[rows]
        yield rows, torch.bmm(weights.expand(len(some), -1, -1), some, out=buffer[: len(some)])
