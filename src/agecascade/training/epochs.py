"""The epochs that whole networks and the heads of all folds share: records, finite check, choice of the epoch, early stopping."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from agecascade.errors import LossError, TrainingError
from agecascade.methods.base import Method
from agecascade.params import Recipe
from agecascade.training.optimisers import LearningRate
from agecascade.training.progress import Progress, Record

LEAST = 2  # pictures of a batch in each process
SPEED = "images_per_s"  # the one entry of a record that does not repeat: for trackers, not for files


@dataclass
class History:
    """The records of one training, and what they decide: early stopping, and the epoch whose weights are kept.

    training, validation: the numbers of pictures.
    """

    recipe: Recipe
    training: int
    validation: int
    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> bool:
        """Append an epoch's record; whether the weights after this epoch are the ones that the recipe selects so far."""
        errors = [earlier["validation_error"] for earlier in self.records]
        self.records.append(record)
        return self.recipe.select == "last" or not errors or record["validation_error"] < min(errors)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the validation loss has not fallen for `early_stopping` epochs."""
        return len(self.records) >= self.recipe.epochs or exhausted(self.records, self.recipe.early_stopping)


def exhausted(records: list[Record], patience: int | None) -> bool:
    """Whether the last `patience` epochs brought no lower validation loss than an epoch before them."""
    if patience is None or len(records) <= patience:
        return False
    losses = [record["validation_loss"] for record in records]
    return min(losses[-patience:]) >= min(losses[:-patience])


class EpochLearner(Protocol):
    """One training, or several that go through their epochs together; `index` is the place of a training among them."""

    @property
    def histories(self) -> list[History]:
        """The history of each training."""

    def learning_rate(self, index: int) -> LearningRate:
        """The learning rate of a training."""

    def train_epoch(self, epoch: int, active: list[int], progress: Progress) -> list[Record]:
        """Train once on all pictures; returns the mean loss and its mean terms for each of the `active` trainings. Epochs count from 0."""

    def validate(self, index: int) -> Record:
        """validation_loss and validation_error of a training as it is now."""

    def keep(self, index: int) -> None:
        """Keep the weights of a training as they are now, for they are selected so far."""

    def error_suffix(self, index: int, epoch: int) -> str:
        """The end of an error's message about `epoch`, counted from 1: which training, or where its state is."""

    def end_epoch(self) -> None:
        """Called after each epoch, when all records are complete."""


def run_epochs(learner: EpochLearner, progress: Progress) -> Iterator[None]:
    """Train and validate until every training is finished; yields after each epoch.

    Raises LossError where a validation's loss or error is not finite.
    """
    while active := [index for index, history in enumerate(learner.histories) if not history.finished]:
        epoch = len(learner.histories[active[0]].records)
        rates = [learner.learning_rate(index).value for index in active]
        start = time.perf_counter()
        means = learner.train_epoch(epoch, active, progress)
        speed = sum(history.training for history in learner.histories) / (time.perf_counter() - start)
        for index, rate, mean in zip(active, rates, means, strict=True):
            history = learner.histories[index]
            record = {"epoch": epoch + 1, "learning_rate": rate} | mean | learner.validate(index) | {SPEED: speed}
            if history.validation:
                _require_finite_validation(record, learner.error_suffix(index, epoch + 1))
            if history.add(record):
                learner.keep(index)
            learner.learning_rate(index).epoch(record["validation_loss"])
        learner.end_epoch()
        progress.epoch(_mean_record([learner.histories[index].records[-1] for index in active]), learner.histories[active[0]].recipe.epochs)
        yield
    progress.resumed(sum(history.training * (history.recipe.epochs - len(history.records)) for history in learner.histories))  # early stops


def _mean_record(records: list[Record]) -> Record:
    """The means of the records of an epoch over the trainings that are active in it."""
    return {name: sum(record[name] for record in records) / len(records) for name in records[0]}


def _require_finite_validation(record: Record, suffix: str) -> None:
    """Raise LossError where the validation's loss or error is not finite."""
    for name in ("validation_loss", "validation_error"):
        if not math.isfinite(record[name]):
            raise LossError(
                f"the {name.replace('_', ' ')} is {record[name]} in epoch {int(record['epoch'])}; lower learning_rate, or look at the "
                f"labels of the validation pictures{suffix}"
            )


def loss_error(loss: float, epoch: int, batch: int, batches: int, sample_id: np.ndarray, *, name: str = "", suffix: str = "") -> LossError:
    """The error of a training loss that is not finite, naming some pictures of its batch; epoch and batch count from 1."""
    shown = ", ".join(sample_id[:5]) + (", ..." if len(sample_id) > 5 else "")
    where = f"{f'of {name} ' if name else ''}on {shown}"
    return LossError(
        f"the loss is {loss} in epoch {epoch}, batch {batch} of {batches}, {where}; lower learning_rate, or look at these labels{suffix}"
    )


def unvalidated(weights: Iterable[tuple[str, Tensor]], epoch: int, suffix: str) -> Record:
    """The record of a validation without pictures: NaN. epoch: counted from 1.

    Raises LossError where a weight is not finite, for no loss is computed behind the last step.
    """
    for name, weight in weights:
        if not torch.isfinite(weight).all():
            raise LossError(f"{name} holds numbers that are not finite after epoch {epoch}; lower learning_rate{suffix}")
    return {"validation_loss": math.nan, "validation_error": math.nan}


def require_pictures(history: History, processes: int = 1) -> None:
    """Raise TrainingError, before the first step, where there are too few pictures to learn from or to validate on."""
    recipe, training = history.recipe, history.training
    if recipe.epochs and not training:
        raise TrainingError("there is no picture to train on; see the data set's splits")
    if recipe.epochs and training < LEAST * processes:
        each = f", {LEAST} for each of {processes} processes" if processes > 1 else ""
        pictures = f"{training} training picture{'' if training == 1 else 's'}"
        raise TrainingError(f"{pictures}, where {LEAST * processes} are needed{each}; see the data set's splits")
    for setting in recipe.decided_by_validation:
        if not history.validation:
            raise TrainingError(f"{setting} decides by validation pictures, and there are none; see `validation` of the data set")


def batches_of(pictures: int, batch_size: int, processes: int = 1) -> int:
    """How many batches an epoch has: as near to `batch_size` as batches of almost equal size allow, but no process gets a single picture.

    A batch norm has no variance of a single picture.
    """
    return max(1, min(round(pictures / batch_size), pictures // (LEAST * processes)))


def smoothed(method: Method, label_smoothing: float) -> Method:
    """The method with its targets smoothed, for training only: validation uses the plain target."""
    learned = copy.copy(method)
    learned.label_smoothing = label_smoothing
    return learned


def weighted_terms(method: Method, outputs: Tensor, label: Tensor, sigma: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
    """The terms of the loss, each picture's weighted by `weight` (B,); plain means over the batch without one."""
    if weight is None:
        return method.terms(outputs, label, sigma)
    return {name: (weight * term).mean() for name, term in single_terms(method, outputs, label, sigma).items()}


def single_terms(method: Method, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """The terms of the loss of each picture alone, {name: (B,)}. A method's terms are means over a batch, here of one."""

    def alone(output: Tensor, age: Tensor, spread: Tensor) -> dict[str, Tensor]:
        return method.terms(output[None], age[None], spread[None])

    return torch.func.vmap(alone)(outputs, label, sigma)


def full_precision(outputs: Tensor) -> Tensor:
    """Outputs in single precision at least: losses are never computed in bf16."""
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs
