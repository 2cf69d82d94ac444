"""The training loop of a whole network: yields one record of numbers per epoch and knows no tracker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agecascade.augmentation import Augmenter
from agecascade.io.compute import keep_freed_memory
from agecascade.loading import order, portion
from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import Recipe
from agecascade.training import optimisers
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.epochs import History, Record, batches_of, full_precision, loss_error, require_pictures, run_epochs, unvalidated
from agecascade.training.learner import Learner, autocast
from agecascade.training.memory import explain_shortage, reserved_memory
from agecascade.training.optimisers import LearningRate
from agecascade.training.parallel import Processes
from agecascade.training.progress import Progress
from agecascade.training.samples import Samples, class_weights

_CHECKED = 32  # batches after which a GPU's losses are checked: reading them means waiting for it
_VALIDATED = 256  # pictures that validation takes at once


def train(
    network: Network,
    method: Method,
    training: Samples,
    validation: Samples,
    recipe: Recipe,
    augmenter: Augmenter,
    *,
    seed: list[int],
    precision: str = "fp32",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    processes: Processes | None = None,
) -> Iterator[Record]:
    """Train `network` in place; yield epoch, learning_rate, loss, one column per term, validation_loss, validation_error, SPEED.

    validation_error is the MAE in label units (for identities: the share that is wrong). With `select: best` the network
    ends as it was after the epoch of the lowest one. `seed` names this training: the same seed, data and device give the
    same weights. `progress` hears of the pictures learned from and of each epoch. With a `checkpoint`, the state is saved after
    each epoch; where one exists, its records are yielded again and the training continues. Raises LossError where a
    loss is not finite, naming epoch, batch and pictures, and TrainingError where the data or the memory do not suffice.
    """
    processes, progress = processes or Processes(), progress or Progress()
    keep_freed_memory()
    history = History(recipe, len(training), len(validation))
    batches = batches_of(len(training), recipe.batch_size, processes.size)
    require_pictures(history, processes.size)
    largest = -(-len(training) // (batches * processes.size))  # pictures that this process gets at once
    learner = Learner(network, method, recipe, batches, precision, processes)  # first, for the layers it freezes need no memory
    sizes = (largest, training.images.shape[1], _home(network)[0], precision, optimisers.copies(recipe))
    with reserved_memory(network, *sizes):
        state = processes.agree(checkpoint.load() if checkpoint and processes.rank == 0 else None)
        weight = class_weights(training.label, method.grid.cpu().numpy(), recipe.class_weights)
        running = NetworkTraining(learner, method, history, training, validation, weight, augmenter, seed, batches, checkpoint)
        if state is not None:
            running.restore(state)
            progress.resumed(len(training) * len(history.records))
            yield from history.records
        for _ in run_epochs(running, progress):
            yield history.records[-1]
        learner.conclude()


@dataclass
class NetworkTraining:
    """The training of one network, as `run_epochs` needs it (EpochLearner); method: for validation, with the plain target."""

    learner: Learner
    method: Method
    history: History
    training: Samples
    validation: Samples
    weight: np.ndarray | None  # (N,)
    augmenter: Augmenter
    seed: list[int]
    batches: int
    checkpoint: Checkpoint | None = None

    @property
    def histories(self) -> list[History]:
        return [self.history]

    def learning_rate(self, index: int) -> LearningRate:
        return self.learner.learning_rate

    def train_epoch(self, epoch: int, active: list[int], progress: Progress) -> list[Record]:
        """One epoch over all pictures, shuffled anew; returns the mean loss and its mean terms."""
        learner, processes, random = self.learner, self.learner.processes, np.random.default_rng([*self.seed, epoch])
        device, _ = _home(learner.network)
        learner.freeze.train()
        parts = np.array_split(order(self.training.images, random), self.batches)
        if processes.size > 1:  # else each process would draw the same changes
            random = random.spawn(processes.size)[processes.rank]
            torch.manual_seed(int(random.spawn(1)[0].integers(2**63)))  # nor drop the same units; the checkpoint has one process's state
        losses: list[Tensor] = []  # of each batch, (1 + terms,), on the device
        checked, interval = 0, 1 if device.type == "cpu" and processes.size == 1 else _CHECKED
        for rows in parts:
            losses.append(self._learn(rows, random))
            if len(losses) - checked == interval or len(losses) == self.batches:
                values = processes.total(torch.stack(losses[checked:])).cpu()
                losses[checked:] = values.unbind()
                self._require_finite(values[:, 0], checked, parts, epoch + 1)
                checked = len(losses)
            progress.learned(len(rows))
        sums = dict.fromkeys(learner.names, 0.0)
        for rows, terms in zip(parts, torch.stack(losses).tolist(), strict=True):
            for name, value in zip(learner.names, terms, strict=True):
                sums[name] += value * len(rows) / len(self.training)
        return [sums]

    def _learn(self, rows: np.ndarray, random: np.random.Generator) -> Tensor:
        """One step on this process's share of a batch; returns the share's part of the batch's loss and terms, (1 + terms,)."""
        training, processes = self.training, self.learner.processes
        device, dtype = _home(self.learner.network)
        mine = processes.share(rows)
        images = self.augmenter(portion(training.images, mine), random).to(dtype)
        share = len(mine) / len(rows)
        label, sigma = (_tensor(values[mine], device) for values in (training.label, training.sigma))
        weight = None if self.weight is None else _tensor(self.weight[mine], device)
        return self.learner.learn(images, label, sigma, weight, share * processes.size) * share

    def _require_finite(self, loss: Tensor, first: int, parts: list[np.ndarray], epoch: int) -> None:
        """Raise LossError at the first loss (n,) of the batches from `first` on that is not finite."""
        wrong = torch.nonzero(~torch.isfinite(loss))
        if len(wrong):
            batch = first + int(wrong[0])
            ids = self.training.sample_id[parts[batch]]
            raise loss_error(loss[batch - first].item(), epoch, batch + 1, len(parts), ids, suffix=self.error_suffix(0, epoch))

    def validate(self, index: int) -> Record:
        """As `evaluate`, of the network that is kept. Raises LossError where there is nothing to validate and a weight is not finite."""
        learner, epoch = self.learner, len(self.history.records) + 1
        learner.processes.align(learner.result)
        if not len(self.validation):
            return unvalidated(learner.result.named_parameters(), epoch, self.error_suffix(index, epoch))
        return evaluate(learner.result, self.method, self.validation, self.augmenter, learner.precision, learner.processes)

    def keep(self, index: int) -> None:
        self.learner.keep()

    def error_suffix(self, index: int, epoch: int) -> str:
        """What else helps, and where the state before `epoch` is."""
        remedy = ", or take precision: fp32" if self.learner.precision == "bf16" else ""
        return remedy + (f"; the state after epoch {epoch - 1} is in {self.checkpoint.path}" if self.checkpoint and epoch > 1 else "")

    def end_epoch(self) -> None:
        """Save the checkpoint."""
        if self.checkpoint and self.learner.processes.rank == 0:
            self.checkpoint.save(self.state())

    def state(self) -> dict[str, Any]:
        """The learner's state and the records, as tensors and plain values."""
        return {**self.learner.state(), "history": self.history.records}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.learner.restore(state)
        self.history.records = state["history"]


def evaluate(
    network: Network,
    method: Method,
    samples: Samples,
    augmenter: Augmenter,
    precision: str = "fp32",
    processes: Processes | None = None,
) -> Record:
    """validation_loss and validation_error of plain pictures, without their mirror images; NaN where there are none."""
    if not len(samples):
        return {"validation_loss": math.nan, "validation_error": math.nan}
    processes = processes or Processes()
    device, dtype = _home(network)
    network.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, error
    with torch.inference_mode():
        for batch in np.array_split(np.arange(len(samples)), -(-len(samples) // _VALIDATED)):
            rows = processes.share(batch)
            if not len(rows):
                continue
            images = augmenter.plain(samples.images[rows]).to(dtype)
            with explain_shortage(images, "lower image_size, for validation takes so many"), autocast(device, precision):
                outputs = full_precision(network(images))
            label, sigma = (_tensor(values[rows], device).to(outputs.dtype) for values in (samples.label, samples.sigma))
            sums[0] += method.loss(outputs, label, sigma).double() * len(rows)
            sums[1] += method.error(outputs, label).sum().double()
    loss, error = processes.total(sums).tolist()
    return {"validation_loss": loss / len(samples), "validation_error": error / len(samples)}


def _home(network: Network) -> tuple[torch.device, torch.dtype]:
    """The device and the precision of the network's weights."""
    weight = next(network.parameters())
    return weight.device, weight.dtype


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)
