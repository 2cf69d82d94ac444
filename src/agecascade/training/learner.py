"""Learner: a network with its optimiser, schedule and moving average, one step on a batch, and its state for checkpoints."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import Recipe
from agecascade.training import optimisers
from agecascade.training.epochs import full_precision, smoothed, weighted_terms
from agecascade.training.memory import explain_shortage
from agecascade.training.optimisers import Freeze, LearningRate
from agecascade.training.parallel import Processes


class Learner:
    """Network, optimiser, schedule, moving average, and the weights of the best epoch so far."""

    def __init__(self, network: Network, method: Method, recipe: Recipe, batches: int, precision: str, processes: Processes) -> None:
        self.network, self.recipe, self.precision, self.processes = network, recipe, precision, processes
        self.method = smoothed(method, recipe.label_smoothing)
        network.to(memory_format=torch.channels_last)
        processes.synchronise(network)
        self.freeze = Freeze(network, recipe.trainable)  # before DDP is set up, which asks what learns
        self.forward = processes.together(network)
        if recipe.compile:
            self.forward = torch.compile(self.forward)  # type: ignore[assignment]
        trained = network.head if recipe.trainable == "head" else network
        self.optimizer = optimisers.create_optimiser(recipe, trained.parameters())
        self.learning_rate = LearningRate(self.optimizer, recipe.schedule, recipe.epochs, batches)
        self.average = moving_average(network, recipe.ema) if recipe.ema is not None else None
        self.best: dict[str, Tensor] | None = None  # weights
        self.names: list[str] = []  # of the values that `learn` returns

    @property
    def result(self) -> Network:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.average.module if self.average else self.network  # type: ignore[return-value]

    def learn(self, images: Tensor, label: Tensor, sigma: Tensor, weight: Tensor | None, share: float = 1.0) -> Tensor:
        """One step on a batch (B, 3, H, W); returns the loss and its terms, (1 + terms,), without waiting for the device.

        share: of the whole batch's pictures that are here, times the processes; gradients are means over processes. Raises
        TrainingError where memory runs out.
        """
        with explain_shortage(images):
            with autocast(images.device, self.precision):
                outputs = full_precision(self.forward(images))
            terms = weighted_terms(self.method, outputs, label.to(outputs.dtype), sigma.to(outputs.dtype), weight)
            loss = torch.stack(list(terms.values())).sum()
            self.optimizer.zero_grad()
            self.processes.backward(loss if share == 1.0 else loss * share)
            optimisers.clip(self.optimizer, self.recipe.gradient_clip)
            self.optimizer.step()
        self.learning_rate.batch()
        if self.average:
            self.average.update_parameters(self.network)
        self.names = ["loss", *terms]
        return torch.stack([loss.detach(), *(term.detach() for term in terms.values())])

    def keep(self) -> None:
        """Keep the weights of this epoch where the recipe selects the best ones."""
        if self.recipe.select == "best":
            self.best = copy.deepcopy(self.result.state_dict())

    def conclude(self) -> None:
        """Give the network its final weights: the best epoch's, the average's, or the last."""
        if self.best is not None:
            self.network.load_state_dict(self.best)
        elif self.average:
            self.network.load_state_dict(self.average.module.state_dict())
        self.network.eval()  # heads that store something for use compute it from these weights

    def state(self) -> dict[str, Any]:
        """The whole state, as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learning_rate": self.learning_rate.state(),
            "average": self.average.state_dict() if self.average else None,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.learning_rate.restore(state["learning_rate"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.best = state["best"]


def moving_average(network: Network, decay: float) -> AveragedModel:
    """The exponential moving average of a network: average <- decay * average + (1 - decay) * network at each update.

    Batch-norm statistics are averaged like weights, for those of the last weights would not fit the averaged ones. Integers,
    such as counters and indices, are copied.
    """
    lerp = get_ema_multi_avg_fn(decay)

    def update(average: Any, current: Any, updates: Any) -> None:
        if average[0].is_floating_point():
            lerp(average, current, updates)
        else:
            torch._foreach_copy_(average, current)

    averaged = AveragedModel(network, multi_avg_fn=update, use_buffers=True).requires_grad_(False)
    averaged.n_averaged.fill_(1)  # the network as it is now counts, where torch would start at that after the first batch
    averaged.module.eval()
    return averaged


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The network computes in bf16 where `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def slow_precision(device: torch.device, precision: str) -> list[str]:
    """A warning where torch has no convolutions in bf16 for this processor: its general code is 4.4 times slower than fp32 (TinyAgeNet).

    In oneDNN they need AVX-512, AMX or an ARM processor with bf16 (torch 2.15, `mkldnn_bf16_device_check`).
    """
    if precision != "bf16" or device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return []
    return ["warning: precision: bf16, which this processor has no instructions for: training takes several times as long as with fp32"]
