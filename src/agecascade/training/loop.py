"""The training loop: yields one record of numbers per epoch and knows neither files nor trackers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agecascade.augmentation import Augmenter
from agecascade.errors import TrainingError
from agecascade.loading import Images, order
from agecascade.methods.base import Method
from agecascade.models.heads import PooledNetwork
from agecascade.params import Recipe
from agecascade.training.schedules import LearningRate

Record = dict[str, float]


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
    network: PooledNetwork,
    method: Method,
    training: Samples,
    validation: Samples,
    recipe: Recipe,
    augmenter: Augmenter,
    *,
    seed: list[int],
    precision: str = "fp32",
    progress: Callable[[int], object] = lambda pictures: None,
) -> Iterator[Record]:
    """Train `network` in place; yield epoch, learning_rate, loss, one column per term, validation_loss, validation_error.

    validation_error is the MAE in label units (for identities: the share that is wrong). With `select: best` the network
    ends as it was after the epoch of the lowest one. `seed` names this training: the same seed, data and device give the
    same weights. `progress` is told how many pictures were learned from. Raises TrainingError where a loss is not finite,
    naming epoch and pictures.
    """
    network.to(memory_format=torch.channels_last)
    trained = network.head if recipe.trainable == "head" else network
    optimizer = torch.optim.Adam(trained.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    batches = max(1, round(len(training) / recipe.batch_size))
    learning_rate = LearningRate(optimizer, recipe.schedule, recipe.epochs, batches)
    best: tuple[float, dict[str, Tensor]] | None = None
    for epoch in range(recipe.epochs):
        record: Record = {"epoch": epoch + 1, "learning_rate": learning_rate.value}
        random = np.random.default_rng([*seed, epoch])
        sums: dict[str, float] = {}
        _training_mode(network, recipe)
        for rows in np.array_split(order(training.images, random), batches):
            images = augmenter(training.images[rows], random)
            terms = _terms(network, method, images, training, rows, precision)
            loss = torch.stack(list(terms.values())).sum()
            _require_finite(loss, f"epoch {epoch + 1}", training.sample_id[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            learning_rate.batch()
            for name, value in {"loss": loss, **terms}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(rows) / len(training)
            progress(len(rows))
        record |= sums | evaluate(network, method, validation, augmenter, precision)
        learning_rate.epoch(record["validation_loss"])
        if recipe.select == "best" and (best is None or record["validation_error"] < best[0]):
            best = record["validation_error"], copy.deepcopy(network.state_dict())
        yield record
    if best is not None:
        network.load_state_dict(best[1])


def evaluate(network: PooledNetwork, method: Method, samples: Samples, augmenter: Augmenter, precision: str = "fp32") -> Record:
    """validation_loss and validation_error of plain pictures, without their mirror images; NaN where there are none."""
    if not len(samples):
        return {"validation_loss": float("nan"), "validation_error": float("nan")}
    device = next(network.parameters()).device
    network.eval()
    loss, error = 0.0, 0.0
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(samples)), -(-len(samples) // 256)):
            with _autocast(device, precision):
                outputs = network(augmenter.plain(samples.images[rows]))
            label, sigma = _tensor(samples.label[rows], device), _tensor(samples.sigma[rows], device)
            loss += method.loss(outputs.float(), label, sigma).item() * len(rows)
            error += method.error(outputs.float(), label).sum().item()
    return {"validation_loss": loss / len(samples), "validation_error": error / len(samples)}


def _terms(network: PooledNetwork, method: Method, images: Tensor, samples: Samples, rows: np.ndarray, precision: str) -> dict[str, Tensor]:
    """The terms of the loss of some pictures; outputs and losses are in single precision whatever the network computes in."""
    with _autocast(images.device, precision):
        outputs = network(images)
    return method.terms(outputs.float(), _tensor(samples.label[rows], images.device), _tensor(samples.sigma[rows], images.device))


def _training_mode(network: PooledNetwork, recipe: Recipe) -> None:
    """A frozen backbone keeps its batch-norm statistics as well as its weights."""
    network.train()
    if recipe.trainable == "head":
        network.backbone.eval()
    for parameter in network.backbone.parameters():
        parameter.requires_grad_(recipe.trainable == "all")


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)


def _require_finite(loss: Tensor, when: str, sample_id: np.ndarray) -> None:
    if not torch.isfinite(loss):
        shown = ", ".join(sample_id[:5]) + (", ..." if len(sample_id) > 5 else "")
        raise TrainingError(f"the loss is {loss.item()} in {when} on {shown}; lower learning_rate, or look at these labels")
