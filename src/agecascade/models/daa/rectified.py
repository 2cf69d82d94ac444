"""ReLU and global average of many affine combinations of the same maps, without ever holding all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_CHUNK = 1 << 19  # numbers of the combinations that are held at once: what stays in a core's cache
GPU_CHUNK = 1 << 24


def rectified_means(weights: Tensor, maps: Tensor, chunk: int | None = None) -> Tensor:
    """mean over the positions of relu(sum_i weights[k, i] maps[i]): (K, I), (I, M, n) -> (K, M).

    The K combinations of I maps are computed `chunk` numbers at a time, here and once more for the gradients: memory stays at
    the maps' own, whatever K. A program that is traced for export is given the plain formula.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return torch.relu(weights @ maps.flatten(1)).unflatten(1, maps.shape[1:]).mean(2)
    return _RectifiedMeans.apply(weights, maps, chunk or (CPU_CHUNK if maps.device.type == "cpu" else GPU_CHUNK))


class _RectifiedMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, maps: Tensor, chunk: int) -> Tensor:
        maps = maps.contiguous()
        ctx.save_for_backward(weights, maps)
        ctx.chunk = chunk
        means = maps.new_empty(len(weights), maps.shape[1])  # (K, M)
        for rows, combined in _combinations(weights, maps, chunk):
            torch.mean(combined.relu_(), dim=2, out=means[:, rows])
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, maps = ctx.saved_tensors
        share = gradient / maps.shape[2]  # (K, M): of each position
        of_weights, of_maps = torch.zeros_like(weights), torch.empty_like(maps)
        for rows, combined in _combinations(weights, maps, ctx.chunk):
            passed = torch.ops.aten.threshold_backward(share[:, rows, None].expand_as(combined), combined, 0.0)  # (K, m, n)
            torch.mm(weights.T, passed.flatten(1), out=of_maps[:, rows].flatten(1))
            of_weights.addmm_(passed.flatten(1), maps[:, rows].flatten(1).T)
        return of_weights, of_maps, None


def _combinations(weights: Tensor, maps: Tensor, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of M and their combinations (K, m, n), some at a time, in a buffer that the next ones are written to."""
    rows, positions = maps.shape[1:]
    step = min(rows, max(1, chunk // (len(weights) * positions)))
    buffer = maps.new_empty(len(weights) * step * positions)
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        found = buffer[: len(weights) * (part.stop - start) * positions].view(len(weights), -1)
        torch.mm(weights, maps[:, part].flatten(1), out=found)  # (K, m n)
        yield part, found.view(len(weights), -1, positions)
