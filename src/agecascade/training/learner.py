"""A network in training: what one step does to it, and all that a checkpoint must hold of it."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import Recipe
from agecascade.training import optimisers
from agecascade.training.ema import Average
from agecascade.training.memory import told_if_short
from agecascade.training.processes import Processes
from agecascade.training.schedules import LearningRate
from agecascade.training.trainable import Freeze
from agecascade.training.weighting import weighted_terms

Record = dict[str, float]


class Learner:
    """Network, optimiser, schedule, average, the best weights so far, and the records of all epochs so far."""

    def __init__(self, network: Network, method: Method, recipe: Recipe, batches: int, precision: str, processes: Processes) -> None:
        self.network, self.recipe, self.precision, self.processes = network, recipe, precision, processes
        self.method = copy.copy(method)  # validation asks for the plain target
        self.method.label_smoothing = recipe.label_smoothing
        network.to(memory_format=torch.channels_last)
        processes.synchronise(network)
        self.freeze = Freeze(network, recipe.trainable)  # of the layers as they are now; DDP asks what learns when it is set up
        self.forward = processes.together(network)
        if recipe.compile:
            self.forward = torch.compile(self.forward)  # type: ignore[assignment]
        trained = network.head if recipe.trainable == "head" else network
        self.optimizer = optimisers.create(recipe, trained.parameters())
        self.learning_rate = LearningRate(self.optimizer, recipe.schedule, recipe.epochs, batches)
        self.average = Average(network, recipe.ema) if recipe.ema is not None else None
        self.best: dict[str, Any] | None = None  # error, weights
        self.history: list[Record] = []
        self.names: list[str] = []  # of what `learn` returns

    @property
    def result(self) -> Network:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.average.network if self.average else self.network

    def learn(self, images: Tensor, label: Tensor, sigma: Tensor, weight: Tensor | None, share: float = 1.0) -> Tensor:
        """One step on a batch (B, 3, H, W); returns the loss and its terms, (1 + terms,), without waiting for the device.

        share: of the whole batch's pictures that are here, times the processes; gradients are means over processes. Raises
        TrainingError where memory runs out.
        """
        with told_if_short(images):
            with autocast(images.device, self.precision):
                outputs = full(self.forward(images))
            terms = weighted_terms(self.method, outputs, label.to(outputs.dtype), sigma.to(outputs.dtype), weight)
            loss = torch.stack(list(terms.values())).sum()
            self.optimizer.zero_grad()
            self.processes.backward(loss if share == 1.0 else loss * share)
            optimisers.clip(self.optimizer, self.recipe.gradient_clip)
            self.optimizer.step()
        self.learning_rate.batch()
        if self.average:
            self.average.update()
        self.names = ["loss", *terms]
        return torch.stack([loss.detach(), *(term.detach() for term in terms.values())])

    def end_epoch(self, record: Record) -> None:
        """Take the epoch's record into account."""
        self.history.append(record)
        self.learning_rate.epoch(record["validation_loss"])
        error = record["validation_error"]
        if self.recipe.select == "best" and (self.best is None or error < self.best["error"]):
            self.best = {"error": error, "weights": copy.deepcopy(self.result.state_dict())}

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the validation loss has not fallen for `early_stopping` epochs."""
        return len(self.history) >= self.recipe.epochs or exhausted(self.history, self.recipe.early_stopping)

    def conclude(self) -> None:
        """Give the network its final weights: the best epoch's, the average's, or the last."""
        if self.best is not None:
            self.network.load_state_dict(self.best["weights"])
        elif self.average:
            self.network.load_state_dict(self.average.network.state_dict())
        self.network.eval()  # what heads store for use is as these weights make it

    def state(self) -> dict[str, Any]:
        """All of it, as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learning_rate": self.learning_rate.state(),
            "average": self.average.network.state_dict() if self.average else None,
            "best": self.best,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.learning_rate.restore(state["learning_rate"])
        if self.average:
            self.average.network.load_state_dict(state["average"])
        self.best, self.history = state["best"], state["history"]


def exhausted(history: list[Record], patience: int | None) -> bool:
    """Whether the last `patience` epochs brought no lower validation loss than an epoch before them."""
    if patience is None or len(history) <= patience:
        return False
    losses = [record["validation_loss"] for record in history]
    return min(losses[-patience:]) >= min(losses[:-patience])


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The network computes in bf16 where `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def full(outputs: Tensor) -> Tensor:
    """Outputs in single precision at least: losses are never computed in bf16."""
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs
