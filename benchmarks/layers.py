"""Where the time of a training step goes: TinyAgeNet at 64 px in batches of 64, layer by layer, beside the floor of the processor.

usage: uv run python benchmarks/layers.py [--quick] [--precision bf16|fp32]
Each layer runs alone on drawn numbers of its shape, on one thread, and is timed by the processor's own clock (the least of some turns), so
that other programs disturb little. A row is a convolution: milliseconds of its forward pass, of the gradients of its input and of its
weights, and their share of the floor, which is their operations over the measured rate of a convolution with 256 channels; then the
milliseconds of batch norm, max pooling and ReLU behind it, forward and backward (in bf16 as one step). --quick takes two turns
instead of fifteen.
The last line printed is one JSON object: roofline_share (of the whole step), floor_ms, step_ms, convolutions_ms, others_ms (batch norm,
pooling, ReLU), rest_ms (loss, optimiser, conversions, Python), matrix_gflops.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agecascade.io.compute import keep_freed_memory
from training import BATCH, SIZE, has_bf16, matrix_rate


@dataclass
class Layer:
    """A convolution (None: what stands before the first) with what follows it; ms of the passes."""

    name: str
    operations: float
    forward: float
    of_input: float
    of_weight: float
    others: float = 0.0

    @property
    def convolution(self) -> float:
        return self.forward + self.of_input + self.of_weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16" if has_bf16() else "fp32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    turns = 2 if arguments.quick else 15
    rate = max(matrix_rate(arguments.precision, time.process_time) for _ in range(2 * turns))
    layers = measured(arguments.precision, turns)
    print("| convolution | forward, ms | input | weights | share of the floor | batch norm, pooling, ReLU, ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for layer in layers:
        share = layer.operations / rate / layer.convolution * 1e3
        print(f"| {layer.name} | {layer.forward:.2f} | {layer.of_input:.2f} | {layer.of_weight:.2f} | {share:.0%} | {layer.others:.2f} |")
    whole = step(arguments.precision, turns)
    floor = sum(layer.operations for layer in layers) / rate * 1e3
    convolutions, others = (sum(getattr(layer, name) for layer in layers) for name in ("convolution", "others"))
    figures = {"floor_ms": floor, "step_ms": whole, "convolutions_ms": convolutions, "others_ms": others}
    figures |= {"rest_ms": whole - convolutions - others, "matrix_gflops": rate / 1e9}
    print(json.dumps({"roofline_share": round(floor / whole, 3), **{name: round(value, 1) for name, value in figures.items()}}))


def least(turns: int, call: Callable[[], Any]) -> float:
    """Milliseconds of the processor, after one call that is not counted."""
    call()
    times = []
    for _ in range(turns):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def measured(precision: str, turns: int) -> list[Layer]:
    """The layers of the backbone in order."""
    from agecascade import models

    network = models.create("tinyagenet").to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    layers: list[Layer] = []
    shape = (BATCH, 3, SIZE, SIZE)
    fused: list[nn.Module] = []  # behind a convolution, in bf16: what the backbone runs as one step
    for module, following in zip(network.backbone.layers, [*list(network.backbone.layers)[1:], nn.Conv2d(1, 1, 1)], strict=True):
        if not isinstance(module, nn.Conv2d) and precision == "bf16":
            fused.append(module)
            if isinstance(following, nn.Conv2d):
                milliseconds, shape = together(nn.Sequential(*fused), shape, turns)
                layers[-1].others += milliseconds
                fused = []
        elif isinstance(module, nn.Conv2d):
            layers.append(convolution(module, shape, precision, turns, first=not layers))
            shape = (BATCH, module.out_channels, *shape[2:])
        else:
            # a ReLU that overwrote its input could not be timed twice
            layer = nn.ReLU() if isinstance(module, nn.ReLU) else module
            images = numbers(shape, precision).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                output = layer(images)
                layers[-1].others += least(turns, lambda: layer(images.detach()))  # noqa: B023
            wanted = [images, *layer.parameters()]
            gradient = torch.ones_like(output)
            layers[-1].others += least(turns, lambda: torch.autograd.grad(output, wanted, gradient, retain_graph=True))  # noqa: B023
            shape = tuple(output.shape)  # type: ignore[assignment]
    return layers


def together(layers: nn.Sequential, shape: tuple[int, ...], turns: int) -> tuple[float, tuple[int, ...]]:
    """Milliseconds of the processor of `fused.run`, forward and backward, and the shape of its output."""
    from agecascade.models import fused

    forward, backward = [], []
    for _ in range(turns + 1):
        maps = numbers(shape, "bf16").requires_grad_().mul(1)  # no leaf, for the backward pass overwrites it
        start = time.process_time()
        output = fused.run(layers, maps)
        between = time.process_time()
        gradient = torch.ones_like(output)
        ahead = time.process_time()
        torch.autograd.grad(output, [maps, *layers.parameters()], gradient)
        forward.append(between - start)
        backward.append(time.process_time() - ahead)
    return (min(forward[1:]) + min(backward[1:])) * 1e3, tuple(output.shape)


def convolution(module: nn.Conv2d, shape: tuple[int, ...], precision: str, turns: int, first: bool) -> Layer:
    """The first one needs no gradient of its input."""
    images = numbers(shape, precision).requires_grad_()
    weight = module.weight.detach().to(images.dtype).requires_grad_()

    def forward() -> Tensor:
        return nn.functional.conv2d(images, weight, padding=1)

    output = forward()
    gradient = numbers(tuple(output.shape), precision)
    times = [
        0.0 if first and wanted is images else least(turns, lambda: torch.autograd.grad(output, wanted, gradient, retain_graph=True))  # noqa: B023
        for wanted in (images, weight)
    ]
    with torch.no_grad():
        ahead = least(turns, forward)
    operations = 2 * weight[0].numel() * output.numel() * (2 if first else 3)
    return Layer(f"{module.in_channels} to {module.out_channels}, {shape[2]} px", operations, ahead, *times)


def numbers(shape: tuple[int, ...], precision: str) -> Tensor:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


def step(precision: str, turns: int) -> float:
    """Milliseconds of a whole step, without the data path."""
    from agecascade import methods, models
    from agecascade.params import Recipe, Schedule
    from agecascade.training.learner import Learner
    from agecascade.training.parallel import Processes

    recipe = Recipe(epochs=1000, batch_size=BATCH, learning_rate=1e-3, schedule=Schedule(name="constant"))
    method = methods.create("dldl_v2", torch.arange(0.0, 101.0))
    learner = Learner(models.create("tinyagenet"), method, recipe, 1000, precision, Processes())
    learner.freeze.train()
    images = numbers((BATCH, 3, SIZE, SIZE), "fp32")
    label, sigma = torch.arange(float(BATCH)), torch.full((BATCH,), 2.0)
    return least(turns, lambda: learner.learn(images, label, sigma, None))


if __name__ == "__main__":
    main()
