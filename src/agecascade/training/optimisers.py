"""Which layers learn, the optimisers, the clipping of gradients, and learning-rate schedules (docs/explanation/training.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from agecascade.models import frozen_blocks, fused
from agecascade.models.base import Network
from agecascade.params import Recipe, Schedule

FIRST, LAST = 1 / 25, 1 / 25e4  # one_cycle: where the rate starts and ends, as shares of its peak (fastai's and torch's defaults)


class Freeze:
    """Freezes the layers that do not learn; `train` brings the rest of the network into training mode."""

    def __init__(self, network: Network, trainable: str) -> None:
        self.network = network
        blocks = network.blocks
        self.frozen: list[nn.Module] = [blocks[name] for name in frozen_blocks(blocks, trainable)]
        network.requires_grad_(True)
        for block in self.frozen:
            block.requires_grad_(False)
        if self.frozen:  # weights outside blocks, such as a transformer's positions, come before the first block
            in_blocks = {id(weight) for block in blocks.values() for weight in block.parameters()}
            for weight in network.backbone.parameters():
                weight.requires_grad_(weight.requires_grad and id(weight) in in_blocks)

    def train(self) -> None:
        """Training mode; a frozen block keeps its batch-norm statistics as well as its weights."""
        self.network.train()
        for block in self.frozen:
            block.eval()


def draws(network: Network, trainable: str) -> bool:
    """Whether a network (its outline suffices) drops units (torch's Dropout) or paths (timm's DropPath) while it learns."""
    Freeze(network, trainable).train()
    return any(module.training and _share_dropped(module) > 0 for module in network.modules())


def fused_batch_norms(network: Network, recipe: Recipe, precision: str, device: str) -> int:
    """How many batch norms of a network (its outline suffices) learn as one step with what follows them (models/fused.py)."""
    Freeze(network, recipe.trainable).train()
    if precision != "bf16" or device != "cpu" or recipe.compile:
        return 0
    return sum(len(fused.learning(chain)) for chain in fused.chains(network))


def _share_dropped(module: nn.Module) -> float:
    return module.p if isinstance(module, _DropoutNd) else float(getattr(module, "drop_prob", None) or 0.0)


def create_optimiser(recipe: Recipe, parameters: Iterable[Parameter]) -> Optimizer:
    """The recipe's optimiser. Adam adds weight decay to the gradient, AdamW takes it off the weights (Loshchilov and Hutter, 2019)."""
    options = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}  # fused: one pass over the memory
    if recipe.optimizer == "sgd":
        return SGD(parameters, momentum=recipe.momentum, **options)  # type: ignore[arg-type]
    return (AdamW if recipe.optimizer == "adamw" else Adam)(parameters, **options)  # type: ignore[arg-type]


def copies(recipe: Recipe) -> int:
    """How many times the memory of the weights a step takes: weights, gradients, and momentum or Adam's two moments."""
    if recipe.optimizer == "sgd":
        return 3 if recipe.momentum else 2
    return 4


def clip(optimizer: Optimizer, largest: float | None) -> None:
    """Scale all gradients down together where their common norm exceeds `largest`."""
    if largest is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, largest)


def clip_each(gradients: dict[str, Tensor], largest: float | None) -> None:
    """As `clip`, of stacked trainings: each of F gradients (F, ...) is scaled by its own norm."""
    if largest is None:
        return
    norm = torch.stack([value.flatten(1).square().sum(1) for value in gradients.values()]).sum(0).sqrt()  # (F,)
    scale = (largest / (norm + 1e-6)).clamp_max(1.0)
    for value in gradients.values():
        value.mul_(scale.view(-1, *[1] * (value.ndim - 1)))


class LearningRate:
    """Steps a schedule: `batch` after each batch, `epoch` after each epoch with the validation loss.

    plateau drops, as Keras does, after `patience` epochs that were no better than the best, however small a gain; 0 is as 1.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, epochs: int, batches: int) -> None:
        self.optimizer = optimizer
        self.by_batch: LambdaLR | None = None
        self.by_epoch: ReduceLROnPlateau | None = None
        if schedule.name == "plateau":
            # torch drops after one epoch more than its patience, and by default sees no gain below 1e-4 of the loss
            self.by_epoch = ReduceLROnPlateau(optimizer, factor=schedule.factor, patience=max(schedule.patience, 1) - 1, threshold=0.0)
        else:
            self.by_batch = LambdaLR(optimizer, lambda batch: factor(schedule, batch / batches, epochs))

    @property
    def value(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """The scheduler's state, on which the rate of the next batches depends."""
        scheduler = self.by_batch or self.by_epoch
        assert scheduler is not None
        return scheduler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        scheduler = self.by_batch or self.by_epoch
        assert scheduler is not None
        scheduler.load_state_dict(state)

    def batch(self) -> None:
        if self.by_batch is not None:
            self.by_batch.step()

    def epoch(self, validation_loss: float) -> None:
        if self.by_epoch is not None:
            self.by_epoch.step(validation_loss)


def factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """The factor of the learning rate after `epoch` epochs (may be a fraction) of a training of `epochs`."""
    if schedule.name == "step":
        return schedule.factor ** math.floor(epoch / schedule.every)
    if schedule.name == "cosine":
        if epoch < schedule.warmup:
            # never zero: Adam's moments would be made of gradients that moved nothing
            return max(epoch, 0.01) / schedule.warmup
        progress = (epoch - schedule.warmup) / max(epochs - schedule.warmup, 1e-9)
        return _between(1.0, 0.0, progress)
    if schedule.name == "one_cycle":
        progress = epoch / epochs
        if progress < schedule.rise:
            return _between(FIRST, 1.0, progress / schedule.rise)
        return _between(1.0, LAST, (progress - schedule.rise) / (1 - schedule.rise))
    return 1.0


def _between(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
