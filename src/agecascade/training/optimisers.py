"""What turns gradients into steps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from agecascade.params import Recipe


def create(recipe: Recipe, parameters: Iterable[Parameter]) -> Optimizer:
    """The recipe's optimiser. Adam adds weight decay to the gradient, AdamW takes it off the weights (Loshchilov and Hutter, 2019)."""
    options = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}  # fused: one pass over the memory
    if recipe.optimizer == "sgd":
        return SGD(parameters, momentum=recipe.momentum, **options)  # type: ignore[arg-type]
    return (AdamW if recipe.optimizer == "adamw" else Adam)(parameters, **options)  # type: ignore[arg-type]


def copies(recipe: Recipe) -> int:
    """How many times the weights' memory a step takes: they themselves, their gradients, and momentum or Adam's two moments."""
    if recipe.optimizer == "sgd":
        return 3 if recipe.momentum else 2
    return 4


def clip(optimizer: Optimizer, largest: float | None) -> None:
    """Scale all gradients down together where their common norm exceeds `largest`."""
    if largest is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, largest)
