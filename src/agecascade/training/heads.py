"""The heads of all folds behind one frozen backbone, trained together as one batched problem."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from agecascade.errors import TrainingError
from agecascade.methods.base import Method
from agecascade.params import Recipe
from agecascade.training.loop import Record
from agecascade.training.schedules import LearningRate

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
    name: str = ""
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
    `progress` is told how many pictures were learned from. Raises TrainingError where a loss is not finite, naming fold, epoch and
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
        # weights, gradients, two moments, the best so far; the outputs' graph takes less than the inputs
        most = max(1, MEMORY // (pictures.features.element_size() * (5 * weights + 3 * inputs)))
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
        self.folds, self.pictures, self.method, self.recipe = folds, pictures, method, recipe
        self.batches = folds[0].batches(recipe.batch_size)
        device = pictures.features.device
        self.head = copy.deepcopy(folds[0].head).to("meta")  # its shape alone: the weights are given at each call
        heads = [dict(fold.head.named_parameters()) for fold in folds]
        self.state = {name: torch.stack([head[name].detach() for head in heads]).to(device) for name in heads[0]}
        self.lanes = [self._lane(part) for part in self._shares()]
        self.counts = torch.tensor([len(fold.training) for fold in folds], device=device)  # (F,)
        self.best = {name: value.clone() for name, value in self.state.items()} if recipe.select == "best" else self.state
        self.lowest = [float("nan")] * len(folds)

    def train(self, progress: Callable[[int], object]) -> None:
        """All epochs of all folds; the heads end as the recipe selects."""
        for epoch in range(self.recipe.epochs):
            rates = [lane.learning_rate.value for lane in self.lanes for _ in self.folds[lane.folds]]
            sums = self._epoch(epoch, progress)
            for index, (fold, rate) in enumerate(zip(self.folds, rates, strict=True)):
                validation = self._validate(index, fold)
                fold.history.append({"epoch": epoch + 1, "learning_rate": rate} | {n: v[index] for n, v in sums.items()} | validation)
            for lane in self.lanes:
                lane.learning_rate.epoch(self.folds[lane.folds][0].history[-1]["validation_loss"])
            self._keep_best()
        with torch.no_grad():
            for index, fold in enumerate(self.folds):
                for name, parameter in fold.head.named_parameters():
                    parameter.copy_(self.best[name][index])

    def _shares(self) -> list[slice]:
        if self.recipe.schedule.name == "plateau":
            return [slice(index, index + 1) for index in range(len(self.folds))]
        return [slice(0, len(self.folds))]

    def _lane(self, part: slice) -> _Lane:
        """Adam works number by number, so that one over stacked heads is one for each."""
        parameters = {name: value[part] for name, value in self.state.items()}  # views: what Adam changes, the state has
        recipe = self.recipe
        optimizer = torch.optim.Adam(parameters.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        return _Lane(part, parameters, optimizer, LearningRate(optimizer, recipe.schedule, recipe.epochs, self.batches))

    def _epoch(self, epoch: int, progress: Callable[[int], object]) -> dict[str, list[float]]:
        """One pass of every fold over its pictures; the mean loss and its terms, {name: (F,)}."""
        sums: dict[str, Tensor] = {}
        rows, sizes = _plan([np.random.default_rng([*fold.seed, epoch]).permutation(fold.training) for fold in self.folds], self.batches)
        rows_here = torch.from_numpy(rows).to(self.pictures.features.device)  # (batches, F, B)
        for batch in range(self.batches):
            terms = self._terms(rows_here[batch], sizes[batch])  # {term: (F,)}
            losses = torch.stack(list(terms.values())).sum(0)  # (F,)
            self._require_finite(losses, epoch, rows[batch], sizes[batch])
            self._step(losses.sum())  # no head touches another's loss, so the sum gives each its own gradient
            share = torch.as_tensor(sizes[batch], device=losses.device) / self.counts  # (F,)
            for name, value in {"loss": losses, **terms}.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() * share
            progress(int(sizes[batch].sum()))
        return {name: value.tolist() for name, value in sums.items()}

    def _terms(self, rows: Tensor, sizes: np.ndarray) -> dict[str, Tensor]:
        """The terms of each fold's loss over its own batch, {name: (F,)}. rows: (F, B), each fold's first `sizes` (F,) of them count."""
        for value in self.state.values():
            value.requires_grad_()
        inputs = self.pictures.features[rows]  # (F, B, ...)
        outputs = vmap(lambda state, batch: functional_call(self.head, state, (batch,)))(self.state, inputs).float()  # (F, B, K)
        label, sigma = self.pictures.label[rows], self.pictures.sigma[rows]  # (F, B)
        found = []
        for part, size in _runs(sizes):
            found.append(vmap(self.method.terms)(outputs[part, :size], label[part, :size], sigma[part, :size]))  # {term: (part,)}
        return {name: torch.cat([terms[name] for terms in found]) for name in found[0]}

    def _step(self, loss: Tensor) -> None:
        gradients = dict(zip(self.state, torch.autograd.grad(loss, list(self.state.values())), strict=True))
        for value in self.state.values():
            value.requires_grad_(False)
        for lane in self.lanes:
            for name, parameter in lane.parameters.items():
                parameter.grad = gradients[name][lane.folds]
            lane.optimizer.step()
            lane.learning_rate.batch()

    @torch.no_grad()
    def _validate(self, index: int, fold: Fold) -> Record:
        """As `loop.evaluate`, of one fold."""
        if not len(fold.validation):
            return {"validation_loss": float("nan"), "validation_error": float("nan")}
        rows = torch.from_numpy(fold.validation).to(self.pictures.features.device)
        state = {name: value[index] for name, value in self.state.items()}
        outputs = functional_call(self.head, state, (self.pictures.features[rows],)).float()
        label, sigma = self.pictures.label[rows], self.pictures.sigma[rows]
        loss, error = self.method.loss(outputs, label, sigma), self.method.error(outputs, label).mean()
        return {"validation_loss": loss.item(), "validation_error": error.item()}

    def _keep_best(self) -> None:
        if self.best is self.state:
            return
        for index, fold in enumerate(self.folds):
            error = fold.history[-1]["validation_error"]
            if len(fold.history) == 1 or error < self.lowest[index]:
                self.lowest[index] = error
                for name, value in self.state.items():
                    self.best[name][index] = value[index]

    def _require_finite(self, losses: Tensor, epoch: int, rows: np.ndarray, sizes: np.ndarray) -> None:
        if torch.isfinite(losses.sum()):
            return
        index = int(np.argmin(np.isfinite(losses.tolist())))
        ids = self.pictures.sample_id[rows[index, : sizes[index]]]
        shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        where = f"epoch {epoch + 1}" + (f" of {self.folds[index].name}" if self.folds[index].name else "")
        raise TrainingError(f"the loss is {losses[index].item()} in {where} on {shown}; lower learning_rate, or look at these labels")


def _plan(orders: list[np.ndarray], batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (batches, F, B) of each batch of each fold, filled up with any row, and how many of them count (batches, F)."""
    parts = [np.array_split(order, batches) for order in orders]
    sizes = np.array([[len(part[batch]) for part in parts] for batch in range(batches)])  # (batches, F)
    rows = np.full((batches, len(orders), sizes.max()), orders[0][0])
    for fold, part in enumerate(parts):
        for batch, some in enumerate(part):
            rows[batch, fold, : len(some)] = some
    return rows, sizes


def _runs(sizes: np.ndarray) -> Iterator[tuple[slice, int]]:
    """Stretches of folds whose batches are of one size; few, for a cohort is in the order of its folds' pictures."""
    ends = [*(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    start = 0
    for end in ends:
        yield slice(start, end), int(sizes[start])
        start = end
