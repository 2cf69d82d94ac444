"""Cost of a network: weights, multiply-adds, and operations and memory as the papers count them, from the shapes alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agecascade.models.base import Backbone, Network

_PRODUCTS = (nn.Conv2d, nn.Linear)
_NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid)
_CONTAINERS = (nn.Sequential, nn.ModuleList, Network, Backbone)  # which only pass on what their last layer gives
_POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class Cost:
    """Cost of one picture in evaluation."""

    parameters: int
    multiply_adds: int  # of convolutions and linear layers, biases left out
    operations: int  # also 1 for a bias, an activation, an input of a pooling, 2 for a normalised number: DLDL-v2, Table 6
    activations: int  # numbers that all layers give, and residual blocks once more: Table 6

    @property
    def activation_mib(self) -> float:
        """MiB of the activations and their gradients in single precision, which Table 6 calls memory."""
        return 2 * 4 * self.activations / 2**20


def cost(network: Network, size: int) -> Cost:
    """The cost of a network for a picture of `size` pixels; one on the device "meta" is counted without computing.

    Products outside of convolutions and linear layers, such as those of attention, are not counted.
    """
    counts = {"multiply_adds": 0, "operations": 0, "activations": 0}

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if isinstance(module, _PRODUCTS):
            products = output.numel() * module.weight[0].numel()
            counts["multiply_adds"] += products
            counts["operations"] += products + (output.numel() if module.bias is not None else 0)
        else:
            counts["operations"] += _others(module, inputs[0], output)

    def count_activations(module: nn.Module, inputs: tuple[Tensor], output: object) -> None:
        if isinstance(output, Tensor):  # some modules of timm give several
            counts["activations"] += output.numel()

    was_training, device = network.training, next(network.parameters()).device
    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, _counted())]
    # of modules inside modules too, as residual blocks are: torchsummary, the field's tool, counts so
    hooks += [module.register_forward_hook(count_activations) for module in network.modules() if not isinstance(module, _CONTAINERS)]
    try:
        with torch.no_grad():
            network.eval()(torch.empty(1, 3, size, size, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return Cost(sum(weight.numel() for weight in network.parameters()), **counts)


def _counted() -> tuple[type[nn.Module], ...]:
    return (*_PRODUCTS, *_NORMS, *_ACTIVATIONS, *_POOLINGS)


def _others(module: nn.Module, taken: Tensor, output: Tensor) -> int:
    """Operations of a layer that is neither a convolution nor linear."""
    if isinstance(module, _POOLINGS):
        return taken.numel()
    return output.numel() * (2 if isinstance(module, _NORMS) else 1)
