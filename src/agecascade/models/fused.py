"""Batch norm with the max pooling and the ReLU behind it as one step of a training in bf16 on a processor: 5 passes in place of 13.

torch reads and writes the maps anew for every layer, and twice for a mean and a variance. Here the convolution's output is read for
its sums, read and written normalised; its gradient is read for sums, then read and put in the place of that output. All is
computed in single precision from the bf16 maps and rounded once, where torch rounds after every layer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CHANNELS = 16  # a multiple of them: what the kernels take at once
LANES = 64  # numbers of an innermost loop: pixels of fewer channels are taken side by side
SHARED = 1 << 20  # numbers of a map from which threads share it: below, waiting for one another takes longer


def run(layers: nn.Sequential, maps: Tensor) -> Tensor:
    """The layers one after another, batch norm together with what follows it where `fits` says so: (B, C, H, W) -> (B, C', H', W')."""
    position, modules = 0, list(layers)
    while position < len(modules):
        taken = _taken(modules, position)
        if taken and fits(modules[position], maps):
            maps = normalised(maps, modules[position], pool=taken == 3)  # type: ignore[arg-type]
        else:
            taken, maps = 1, modules[position](maps)
        position += taken
    return maps


def _taken(modules: list[nn.Module], position: int) -> int:
    """How many modules are one step here: batch norm, a 2 x 2 max pooling or none, ReLU; 0 where these do not follow one another."""
    if not isinstance(modules[position], nn.BatchNorm2d):
        return 0
    following = modules[position + 1 : position + 3]
    if following and isinstance(following[0], nn.ReLU):
        return 2
    if len(following) == 2 and isinstance(following[1], nn.ReLU) and _halves(following[0]):
        return 3
    return 0


def _halves(module: nn.Module) -> bool:
    return isinstance(module, nn.MaxPool2d) and (module.kernel_size, module.stride, module.padding) == (2, 2, 0) and not module.ceil_mode


def chains(network: nn.Module) -> list[nn.Sequential]:
    """The layers of a network's parts that `run` runs."""
    return [chain for module in network.modules() for chain in getattr(module, "chains", [])]


def learning(layers: nn.Sequential, pooled: bool = False) -> list[nn.BatchNorm2d]:
    """The batch norms of these layers that learn as one step with what follows them; pooled: those before a pooling alone."""
    modules = list(layers)
    steps = {position: _taken(modules, position) for position in range(len(modules))}
    return [modules[at] for at, taken in steps.items() if taken >= 2 + pooled and _learns(modules[at])]  # type: ignore[misc]


def _learns(norm: Any) -> bool:
    """Whether a batch norm that `_taken` found is in training, with a multiple of CHANNELS and torch's usual settings; Numba is there."""
    usual = type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats and norm.momentum is not None
    return bool(usual and available() and norm.training and norm.num_features % CHANNELS == 0 and norm.weight.dtype == torch.float32)


def fits(norm: Any, maps: Tensor) -> bool:
    """Whether a batch norm learns as one step with what follows it, from maps (B, C, H, W) in bf16 on a processor."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # first, for what follows is nothing that these can read
        return False
    return bool(
        _learns(norm)
        and maps.dtype == torch.bfloat16
        and maps.device.type == "cpu"
        and maps.numel() > maps.shape[1]  # torch says it where a channel has one number
    )


def normalised(maps: Tensor, norm: nn.BatchNorm2d, pool: bool = False) -> Tensor:
    """ReLU of the batch norm, or of its 2 x 2 max pooling, of maps (B, C, H, W) that `fits`; the running statistics move on.

    The backward pass overwrites `maps`, so nothing else may need their values: a convolution does not need its output.
    """
    return _NormRelu.apply(maps, norm.weight, norm.bias, norm, pool)


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, pool: bool) -> Tensor:
        kernels, numbers, ctx.pool, ctx.done = _kernels(), _numbers(maps), pool, False  # (B, H, W, C)
        ctx.table = _table(numbers, norm)
        if not pool:
            ctx.save_for_backward(maps)
            output = torch.empty(numbers.shape, dtype=maps.dtype)
            _by_picture(kernels.activate, numbers.size, _wide(numbers), ctx.table, _wide(_bits(output)))
            return output.permute(0, 3, 1, 2)
        batch, height, width, channels = numbers.shape
        shape = batch, height // 2, width // 2, channels
        output, largest = torch.empty(shape, dtype=maps.dtype), torch.empty(shape, dtype=maps.dtype)
        choice = torch.empty(shape, dtype=torch.uint8)
        ctx.save_for_backward(maps, largest, choice)
        results = map(_rows, (_bits(output), _bits(largest), choice.numpy()))
        _by_picture(kernels.pool, numbers.size, _rows(numbers), channels, ctx.table, *results)
        return output.permute(0, 3, 1, 2)  # (B, C, H // 2, W // 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        _once(ctx)
        kernels, table, (maps, *pooled) = _kernels(), ctx.table, ctx.saved_tensors
        numbers, given = _numbers(maps), _numbers(gradient)
        above = _wide(given)
        sums = np.empty((len(given), 2, above.shape[2]))
        _by_picture(kernels.gradient_sums, given.size, above, _wide(_bits(pooled[0]) if ctx.pool else numbers), table, sums)
        of_weights = _of_weights(sums, numbers, table)
        if ctx.needs_input_grad[0] and ctx.pool:
            rows = map(_rows, (given, pooled[1].numpy(), numbers))
            _by_picture(kernels.gradient_behind_pool, numbers.size, *rows, numbers.shape[3], table)
        elif ctx.needs_input_grad[0]:
            _by_picture(kernels.gradient_of_maps, numbers.size, above, _wide(numbers), table)
        return maps.detach() if ctx.needs_input_grad[0] else None, *of_weights, None, None


def _table(numbers: np.ndarray, norm: nn.BatchNorm2d) -> np.ndarray:
    """The table of the kernels for maps (B, H, W, C), without the rows of the gradient; the running statistics move on."""
    batch, height, width, channels = numbers.shape
    wide, kernels = _wide(numbers), _kernels()
    sums, table = np.empty((batch, 2, wide.shape[2])), np.empty((6, _lanes(channels)), np.float32)
    _by_picture(kernels.sums, numbers.size, wide, sums)
    values = [tensor.detach().numpy() for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]  # type: ignore[union-attr]
    kernels.normalise(sums, batch * height * width, *values, norm.momentum, norm.eps, table)
    norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
    return table


def _of_weights(sums: np.ndarray, numbers: np.ndarray, table: np.ndarray) -> tuple[Tensor, Tensor]:
    """The gradients (C,) of weight and bias from the sums of maps (B, H, W, C); fills the rows of the gradient in the table."""
    channels = numbers.shape[3]
    of_weight, of_bias = torch.empty(channels), torch.empty(channels)
    _kernels().differentiate(sums, numbers.size // channels, table, of_weight.numpy(), of_bias.numpy())
    return of_weight, of_bias


def _once(ctx: Any) -> None:
    if ctx.done:
        raise RuntimeError("the gradient of a fused batch norm is in the place of its input: there is no second backward pass")
    ctx.done = True


def _by_picture(kernel: Any, size: int, *arguments: Any) -> None:
    """Run a kernel over all pictures of a batch, which the threads that torch has in this thread share where `size` is worth it."""
    batch = len(arguments[0])
    parts = min(torch.get_num_threads(), batch) if size >= SHARED else 1
    if parts == 1:
        kernel(*arguments, 0, batch)
        return
    bounds = [batch * part // parts for part in range(parts + 1)]
    others = [_threads().submit(kernel, *arguments, *ends) for ends in pairwise(bounds[1:])]
    kernel(*arguments, 0, bounds[1])
    for other in others:
        other.result()


@cache
def _kernels() -> Any:
    from agecascade.models import fused_kernels  # importing Numba takes a second

    return fused_kernels


@cache
def available() -> bool:
    """Whether Numba is installed: the extra `pipeline` has it, and networks train without it too."""
    return find_spec("numba") is not None


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="batch norm")


def _numbers(maps: Tensor) -> np.ndarray:
    """The bits (B, H, W, C) of maps (B, C, H, W), which the maps share where their channels come last."""
    return _bits(maps.detach().permute(0, 2, 3, 1).contiguous())


def _bits(values: Tensor) -> np.ndarray:
    bits: np.ndarray = values.view(torch.uint16).numpy()
    return bits


def _lanes(channels: int) -> int:
    """The width of rows that hold pixels side by side: LANES where that is a multiple of the channels, else these."""
    return LANES if LANES % channels == 0 else channels


def _wide(numbers: np.ndarray) -> np.ndarray:
    """(B, H, W, C) as rows (B, P, L) of `_lanes`, or of one pixel where the pixels of a picture do not fill these."""
    batch, height, width, channels = numbers.shape
    lanes = _lanes(channels)
    return numbers.reshape(batch, -1, lanes if height * width * channels % lanes == 0 else channels)


def _rows(numbers: np.ndarray) -> np.ndarray:
    return numbers.reshape(*numbers.shape[:2], -1)  # (B, H, W * C)
