"""The training loop: yields one record of numbers per epoch and knows no tracker."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agecascade.augmentation import Augmenter
from agecascade.errors import LossError, TrainingError
from agecascade.loading import Images, order, portion
from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import Recipe
from agecascade.training import optimisers
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.learner import Learner, Record, autocast, full
from agecascade.training.memory import room, told_if_short
from agecascade.training.processes import Processes
from agecascade.training.weighting import class_weights

SPEED = "images_per_s"  # the one entry of a record that does not repeat: for trackers, not for files
_LOOKED_AT = 32  # batches after which a GPU is asked whether its losses are finite: asking means waiting for it
_VALIDATED = 256  # pictures that validation takes at once


@dataclass(frozen=True)
class Samples:
    """What a loss needs of N pictures: images (N, S, S, 3) uint8, label and sigma (N,) in label units, float32; ids for errors."""

    sample_id: np.ndarray
    images: Images
    label: np.ndarray
    sigma: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


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
    progress: Callable[[int], object] = lambda pictures: None,
    checkpoint: Checkpoint | None = None,
    processes: Processes | None = None,
) -> Iterator[Record]:
    """Train `network` in place; yield epoch, learning_rate, loss, one column per term, validation_loss, validation_error, SPEED.

    validation_error is the MAE in label units (for identities: the share that is wrong). With `select: best` the network
    ends as it was after the epoch of the lowest one. `seed` names this training: the same seed, data and device give the
    same weights. `progress` is told how many pictures were learned from. With a `checkpoint`, the state is saved after each
    epoch; where one is found, its records are yielded anew and the training goes on behind them. Raises LossError where a
    loss is not finite, naming epoch, batch and pictures, and TrainingError where the data or the memory do not suffice.
    """
    processes = processes or Processes()
    batches = max(1, round(len(training) / recipe.batch_size))
    require_pictures(recipe, training, validation, batches, processes)
    largest = -(-len(training) // (batches * processes.size))  # pictures that this process gets at once
    learner = Learner(network, method, recipe, batches, precision, processes)  # first, for it freezes what takes no room then
    with room(network, largest, training.images.shape[1], _home(network)[0], precision, optimisers.copies(recipe)):
        state = processes.agree(checkpoint.load() if checkpoint and processes.rank == 0 else None)
        if state is not None:
            learner.restore(state)
            progress(len(training) * len(learner.history))
            yield from learner.history
        weight = class_weights(training.label, method.grid.cpu().numpy(), recipe.class_weights)
        while not learner.finished:
            epoch = len(learner.history)
            record: Record = {"epoch": epoch + 1, "learning_rate": learner.learning_rate.value}
            start = time.perf_counter()
            record |= _epoch(learner, training, weight, augmenter, np.random.default_rng([*seed, epoch]), batches, progress, checkpoint)
            speed = len(training) / (time.perf_counter() - start)
            processes.align(learner.result)
            record |= evaluate(learner.result, method, validation, augmenter, precision, processes) | {SPEED: speed}
            require_finite_validation(record, len(validation), _kept(epoch + 1, checkpoint))
            learner.end_epoch(record)
            if checkpoint and processes.rank == 0:
                checkpoint.save(learner.state())
            yield record
        progress(len(training) * (recipe.epochs - len(learner.history)))  # what early stopping saved
        learner.conclude()


def _epoch(
    learner: Learner,
    training: Samples,
    weight: np.ndarray | None,
    augmenter: Augmenter,
    random: np.random.Generator,
    batches: int,
    progress: Callable[[int], object],
    checkpoint: Checkpoint | None,
) -> Record:
    """One epoch over all pictures, shuffled by `random`; returns the mean loss and its mean terms."""
    processes = learner.processes
    device, dtype = _home(learner.network)
    learner.freeze.train()
    parts = np.array_split(order(training.images, random), batches)
    if processes.size > 1:  # else each process would draw the same changes
        random = random.spawn(processes.size)[processes.rank]
        torch.manual_seed(int(random.spawn(1)[0].integers(2**63)))  # nor drop the same units; the checkpoint knows one process's state
    losses: list[Tensor] = []  # of each batch, (1 + terms,), on the device
    looked, often = 0, 1 if device.type == "cpu" and processes.size == 1 else _LOOKED_AT
    for rows in parts:
        mine = processes.share(rows)
        images = augmenter(portion(training.images, mine), random).to(dtype)
        share = len(mine) / len(rows)
        label, sigma = (_tensor(values[mine], device) for values in (training.label, training.sigma))
        weighed = None if weight is None else _tensor(weight[mine], device)
        losses.append(learner.learn(images, label, sigma, weighed, share * processes.size) * share)
        if len(losses) - looked == often or len(losses) == batches:
            found = processes.total(torch.stack(losses[looked:])).cpu()
            losses[looked:] = found.unbind()
            _require_finite(found[:, 0], looked, parts, len(learner.history) + 1, training, checkpoint)
            looked = len(losses)
        progress(len(rows))
    sums = dict.fromkeys(learner.names, 0.0)
    for rows, values in zip(parts, torch.stack(losses).tolist(), strict=True):
        for name, value in zip(learner.names, values, strict=True):
            sums[name] += value * len(rows) / len(training)
    return sums


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
        return {"validation_loss": float("nan"), "validation_error": float("nan")}
    processes = processes or Processes()
    device, dtype = _home(network)
    network.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, error
    with torch.inference_mode():
        for whole in np.array_split(np.arange(len(samples)), -(-len(samples) // _VALIDATED)):
            rows = processes.share(whole)
            if not len(rows):
                continue
            images = augmenter.plain(samples.images[rows]).to(dtype)
            with told_if_short(images, "lower image_size, for validation takes so many"), autocast(device, precision):
                outputs = full(network(images))
            label, sigma = (_tensor(values[rows], device).to(outputs.dtype) for values in (samples.label, samples.sigma))
            sums[0] += method.loss(outputs, label, sigma).double() * len(rows)
            sums[1] += method.error(outputs, label).sum().double()
    loss, error = processes.total(sums).tolist()
    return {"validation_loss": loss / len(samples), "validation_error": error / len(samples)}


def _home(network: Network) -> tuple[torch.device, torch.dtype]:
    """Where the network's weights are, and of which precision."""
    weight = next(network.parameters())
    return weight.device, weight.dtype


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)


def require_pictures(recipe: Recipe, training: Samples, validation: Samples, batches: int, processes: Processes) -> None:
    """Raise TrainingError, before the first step, where there is too little to learn from or to decide by."""
    if recipe.epochs and not len(training):
        raise TrainingError("there is no picture to train on; see the data set's splits")
    if recipe.epochs and len(training) // batches < processes.size:
        raise TrainingError(f"batches of {len(training) // batches} pictures leave some of {processes.size} processes without one")
    deciding = {"schedule: plateau": recipe.schedule.name == "plateau", "select: best": recipe.select == "best"}
    deciding["early_stopping"] = recipe.early_stopping is not None
    for setting, decides in deciding.items():
        if decides and not len(validation):
            raise TrainingError(f"{setting} decides by validation pictures, and there are none; see `validation` of the data set")


def _require_finite(
    loss: Tensor, first: int, parts: list[np.ndarray], epoch: int, training: Samples, checkpoint: Checkpoint | None
) -> None:
    """Raise LossError at the first loss (n,) of the batches from `first` on that is no finite number."""
    wrong = torch.nonzero(~torch.isfinite(loss))
    if not len(wrong):
        return
    batch = first + int(wrong[0])
    ids = training.sample_id[parts[batch]]
    shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
    raise LossError(
        f"the loss is {loss[batch - first].item()} in epoch {epoch}, batch {batch + 1} of {len(parts)}, on {shown}; "
        f"lower learning_rate, or look at these labels{_kept(epoch, checkpoint)}"
    )


def require_finite_validation(record: Record, pictures: int, told: str = "") -> None:
    """Raise LossError, ending in `told`, where the validation's loss or error is no finite number though there are pictures."""
    for name in ("validation_loss", "validation_error"):
        if pictures and not math.isfinite(record[name]):
            raise LossError(
                f"the {name.replace('_', ' ')} is {record[name]} in epoch {int(record['epoch'])}; lower learning_rate, or look at the "
                f"labels of the validation pictures{told}"
            )


def _kept(epoch: int, checkpoint: Checkpoint | None) -> str:
    """Where the state before `epoch` is, as the end of a message."""
    return f"; the state after epoch {epoch - 1} is in {checkpoint.path}" if checkpoint and epoch > 1 else ""
