"""The heads of all folds behind one frozen backbone, trained together as one batched problem."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from agecascade.errors import LossError
from agecascade.methods.base import Method
from agecascade.params import Recipe
from agecascade.training import optimisers
from agecascade.training.learner import Record, exhausted, full
from agecascade.training.loop import SPEED, require_finite_validation
from agecascade.training.schedules import LearningRate
from agecascade.training.weighting import class_weights, single_terms

MEMORY = 1 << 30  # bytes that the heads of one batched problem, what they learn from at once and their optimiser may take

State = dict[str, Tensor]


@dataclass(frozen=True)
class Pictures:
    """What heads learn from: ids (N,), features (N, ...) float32, label and sigma (N,) float32 in label units; on one device."""

    sample_id: np.ndarray
    features: Tensor
    label: Tensor
    sigma: Tensor


@dataclass
class Fold:
    """One fold's head, which training changes in place, and its rows of the pictures; `seed` names this training among all."""

    head: nn.Module
    seed: list[int]
    training: np.ndarray  # (T,) int64
    validation: np.ndarray  # (V,) int64
    name: str
    history: list[Record] = field(default_factory=list)

    def batches(self, batch_size: int) -> int:
        """How many batches an epoch has, as the loop counts them."""
        return max(1, round(len(self.training) / batch_size))


def batchable(head: nn.Module) -> bool:
    """Whether heads of this kind can train side by side: no statistics of a batch, no random units."""
    return not any(True for _ in head.buffers()) and not any(isinstance(module, nn.Dropout) for module in head.modules())


def train_heads(
    folds: list[Fold],
    pictures: Pictures,
    method: Method,
    recipe: Recipe,
    progress: Callable[[int], object] = lambda pictures: None,
) -> None:
    """Train the heads of all folds in place, each as `loop.train` would with a frozen backbone and without augmentation.

    Each fold has its own batches, learning rate, validation and choice of the epoch; fills `history` with the loop's records.
    `progress` is told how many pictures were learned from. Raises LossError where a loss is not finite, naming fold, epoch and
    pictures.
    """
    for together in _cohorts(folds, recipe.batch_size, pictures):
        _Cohort(together, pictures, method, recipe).train(progress)


def _cohorts(folds: list[Fold], batch_size: int, pictures: Pictures) -> Iterator[list[Fold]]:
    """Folds with the same number of batches, which keep step; so many at once as memory allows, fewest pictures first."""
    ordered = sorted(folds, key=lambda fold: (fold.batches(batch_size), len(fold.training)))
    for _, group in groupby(ordered, key=lambda fold: fold.batches(batch_size)):
        same = list(group)
        weights = sum(parameter.numel() for parameter in same[0].head.parameters())
        inputs = (len(same[-1].training) // same[-1].batches(batch_size) + 1) * pictures.features[0].numel()
        # weights, gradients, two moments, their average, those that are kept; the outputs' graph takes less than the inputs
        most = max(1, MEMORY // (pictures.features.element_size() * (6 * weights + 3 * inputs)))
        yield from (same[start : start + most] for start in range(0, len(same), most))


@dataclass
class _Lane:
    """Folds that share a learning rate: all, or one where the schedule looks at the validation loss."""

    folds: slice
    parameters: State
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate


class _Cohort:
    """F heads as one: each parameter stacked along a first dimension, (F, ...)."""

    def __init__(self, folds: list[Fold], pictures: Pictures, method: Method, recipe: Recipe) -> None:
        self.folds, self.pictures, self.recipe = folds, pictures, recipe
        self.method, self.learned = method, copy.copy(method)  # validation asks for the plain target
        self.learned.label_smoothing = recipe.label_smoothing
        self.batches = folds[0].batches(recipe.batch_size)
        self.device = pictures.features.device
        self.head = copy.deepcopy(folds[0].head).to("meta")  # its shape alone: the weights are given at each call
        heads = [dict(fold.head.named_parameters()) for fold in folds]
        self.state = {name: torch.stack([head[name].detach() for head in heads]).to(self.device) for name in heads[0]}
        self.average = _copied(self.state) if recipe.ema is not None else None
        self.kept = _copied(self.state)
        self.lowest = [float("nan")] * len(folds)
        self.lanes = [self._lane(part) for part in self._shares()]
        self.weight = self._class_weights()
        self.counts = torch.tensor([len(fold.training) for fold in folds], device=self.device)  # (F,)

    def train(self, progress: Callable[[int], object]) -> None:
        """All epochs of all folds; the heads end as the recipe selects."""
        for epoch in range(self.recipe.epochs):
            active = [not exhausted(fold.history, self.recipe.early_stopping) for fold in self.folds]
            if not any(active):
                break
            rates = [lane.learning_rate.value for lane in self.lanes for _ in self.folds[lane.folds]]
            start = time.perf_counter()
            sums = self._epoch(epoch, active, progress)
            speed = int(self.counts.sum()) / (time.perf_counter() - start)
            for index in np.flatnonzero(active).tolist():
                means = {name: value[index] for name, value in sums.items()}
                record = {"epoch": epoch + 1, "learning_rate": rates[index]} | means | self._validate(index) | {SPEED: speed}
                require_finite_validation(record, len(self.folds[index].validation), f", of {self.folds[index].name}")
                self.folds[index].history.append(record)
                self._keep(index)
            for lane in self.lanes:
                lane.learning_rate.epoch(self.folds[lane.folds][0].history[-1]["validation_loss"])
        progress(sum(len(fold.training) * (self.recipe.epochs - len(fold.history)) for fold in self.folds))  # what early stopping saved
        self._deliver()

    def _shares(self) -> list[slice]:
        if self.recipe.schedule.name == "plateau":
            return [slice(index, index + 1) for index in range(len(self.folds))]
        return [slice(0, len(self.folds))]

    def _lane(self, part: slice) -> _Lane:
        """These optimisers work number by number, so that one over stacked heads is one for each."""
        parameters = {name: value[part] for name, value in self.state.items()}  # views: what the optimiser changes, the state has
        optimizer = optimisers.create(self.recipe, parameters.values())  # type: ignore[arg-type]
        return _Lane(part, parameters, optimizer, LearningRate(optimizer, self.recipe.schedule, self.recipe.epochs, self.batches))

    def _class_weights(self) -> Tensor | None:
        """The weight of each picture in each fold, (F, N), where the recipe asks for any."""
        if self.recipe.class_weights == "none":
            return None
        label, grid = self.pictures.label.cpu().numpy(), self.method.grid.cpu().numpy()
        weight = np.zeros((len(self.folds), len(label)), np.float32)
        for index, fold in enumerate(self.folds):
            weight[index, fold.training] = class_weights(label[fold.training], grid, self.recipe.class_weights)
        return torch.from_numpy(weight).to(self.device)

    def _epoch(self, epoch: int, active: list[bool], progress: Callable[[int], object]) -> dict[str, list[float]]:
        """One pass of every fold over its pictures; the mean loss and its terms, {name: (F,)}."""
        sums: dict[str, Tensor] = {}
        rows, sizes = _plan([np.random.default_rng([*fold.seed, epoch]).permutation(fold.training) for fold in self.folds], self.batches)
        rows_here = torch.from_numpy(rows).to(self.device)  # (batches, F, B)
        for batch in range(self.batches):
            terms = self._terms(rows_here[batch], sizes[batch])  # {term: (F,)}
            losses = torch.stack(list(terms.values())).sum(0)  # (F,)
            self._require_finite(losses, epoch, batch, rows[batch], sizes[batch], active)
            self._step(losses.sum())  # no head touches another's loss, so the sum gives each its own gradient
            share = torch.as_tensor(sizes[batch], device=self.device) / self.counts  # (F,)
            for name, value in {"loss": losses, **terms}.items():
                sums[name] = sums.get(name, torch.zeros_like(share)) + value.detach() * share
            progress(int(sizes[batch][active].sum()))
        return {name: value.tolist() for name, value in sums.items()}

    def _terms(self, rows: Tensor, sizes: np.ndarray) -> dict[str, Tensor]:
        """The terms of each fold's loss over its own batch, {name: (F,)}. rows: (F, B), each fold's first `sizes` (F,) of them count."""
        for value in self.state.values():
            value.requires_grad_()
        inputs = self.pictures.features[rows]  # (F, B, ...)
        outputs = full(vmap(lambda state, batch: functional_call(self.head, state, (batch,)))(self.state, inputs))  # (F, B, K)
        size = torch.as_tensor(sizes, device=self.device)[:, None]  # (F, 1)
        share = (torch.arange(rows.shape[1], device=self.device) < size) / size  # (F, B): of each picture in its fold's mean
        if self.weight is not None:
            share = share * self.weight.gather(1, rows)
        label, sigma = self.pictures.label[rows], self.pictures.sigma[rows]  # (F, B)
        single = single_terms(self.learned, outputs.flatten(0, 1), label.flatten(), sigma.flatten())  # (F B,) each
        return {name: (share * value.view(share.shape)).sum(1) for name, value in single.items()}

    def _step(self, loss: Tensor) -> None:
        found = torch.autograd.grad(loss, list(self.state.values()))
        # fused optimisers take the numbers as they lie in memory, and a product's gradient lies transposed
        gradients = {name: gradient.contiguous() for name, gradient in zip(self.state, found, strict=True)}
        for value in self.state.values():
            value.requires_grad_(False)
        if self.recipe.gradient_clip is not None:
            _clip(gradients, self.recipe.gradient_clip)
        for lane in self.lanes:
            for name, parameter in lane.parameters.items():
                parameter.grad = gradients[name][lane.folds]
            lane.optimizer.step()
            lane.learning_rate.batch()
        if self.average is not None and self.recipe.ema is not None:
            for name, mean in self.average.items():
                mean.lerp_(self.state[name], 1 - self.recipe.ema)

    @torch.no_grad()
    def _validate(self, index: int) -> Record:
        """As `loop.evaluate`, of one fold."""
        fold = self.folds[index]
        if not len(fold.validation):
            return {"validation_loss": float("nan"), "validation_error": float("nan")}
        rows = torch.from_numpy(fold.validation).to(self.device)
        state = {name: value[index] for name, value in self._result.items()}
        outputs = full(functional_call(self.head, state, (self.pictures.features[rows],)))
        label, sigma = self.pictures.label[rows], self.pictures.sigma[rows]
        loss, error = self.method.loss(outputs, label, sigma), self.method.error(outputs, label).mean()
        return {"validation_loss": loss.item(), "validation_error": error.item()}

    @property
    def _result(self) -> State:
        """The heads that are validated and kept: the averaged ones where there are any."""
        return self.state if self.average is None else self.average

    def _keep(self, index: int) -> None:
        """Keep a fold's head as it is after this epoch, if it may be the one that the recipe selects."""
        history = self.folds[index].history
        error = history[-1]["validation_error"]
        if self.recipe.select == "last" or len(history) == 1 or error < self.lowest[index]:
            self.lowest[index] = error
            for name, value in self._result.items():
                self.kept[name][index] = value[index]

    @torch.no_grad()
    def _deliver(self) -> None:
        for index, fold in enumerate(self.folds):
            for name, parameter in fold.head.named_parameters():
                parameter.copy_(self.kept[name][index])

    def _require_finite(self, losses: Tensor, epoch: int, batch: int, rows: np.ndarray, sizes: np.ndarray, active: list[bool]) -> None:
        if torch.isfinite(losses.sum()):
            return
        wrong = np.flatnonzero(~np.isfinite(losses.tolist()) & np.array(active))
        if not len(wrong):
            return  # a fold that has stopped
        index = int(wrong[0])
        ids = self.pictures.sample_id[rows[index, : sizes[index]]]
        shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise LossError(
            f"the loss is {losses[index].item()} in epoch {epoch + 1}, batch {batch + 1} of {self.batches}, of {self.folds[index].name} on "
            f"{shown}; lower learning_rate, or look at these labels"
        )


def _copied(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


def _clip(gradients: State, largest: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_`, head by head."""
    norm = torch.stack([value.flatten(1).square().sum(1) for value in gradients.values()]).sum(0).sqrt()  # (F,)
    scale = (largest / (norm + 1e-6)).clamp_max(1.0)
    for value in gradients.values():
        value.mul_(scale.view(-1, *[1] * (value.ndim - 1)))


def _plan(orders: list[np.ndarray], batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (batches, F, B) of each batch of each fold, filled up with one of its own, and how many of them count (batches, F)."""
    parts = [np.array_split(order, batches) for order in orders]
    sizes = np.array([[len(part[batch]) for part in parts] for batch in range(batches)])  # (batches, F)
    rows = np.empty((batches, len(orders), sizes.max()), np.int64)
    rows[:] = np.array([order[0] for order in orders])[:, None]
    for fold, part in enumerate(parts):
        for batch, some in enumerate(part):
            rows[batch, fold, : len(some)] = some
    return rows, sizes
