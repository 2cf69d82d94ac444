"""The heads of all folds behind one frozen backbone, trained together as one batched problem."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim.swa_utils import get_ema_multi_avg_fn

from agecascade.methods.base import Method
from agecascade.params import Recipe
from agecascade.training.epochs import (
    History,
    Record,
    batches_of,
    full_precision,
    loss_error,
    require_pictures,
    run_epochs,
    single_terms,
    smoothed,
    unvalidated,
)
from agecascade.training.optimisers import LearningRate, clip_each, create_optimiser
from agecascade.training.progress import Progress
from agecascade.training.samples import class_weights

MEMORY = 1 << 30  # bytes for the heads of one batched problem, the pictures of a batch and the optimiser

State = dict[str, Tensor]


@dataclass(frozen=True)
class FeatureSamples:
    """The pictures that heads learn from: ids (N,), features (N, ...) float32, label and sigma (N,) float32; on one device."""

    sample_id: np.ndarray
    features: Tensor
    label: Tensor  # in label units, as sigma
    sigma: Tensor


@dataclass
class HeadFold:
    """One fold's head, which training changes in place, and its rows of the pictures; `seed` names this training among all."""

    head: nn.Module
    seed: list[int]
    training: np.ndarray  # (T,) int64
    validation: np.ndarray  # (V,) int64
    name: str
    records: list[Record] = field(default_factory=list)

    def history(self, recipe: Recipe) -> History:
        """The fold's history, which appends to `records`."""
        return History(recipe, len(self.training), len(self.validation), self.records)


def batchable(head: nn.Module) -> bool:
    """Whether heads of this kind can train together: no statistics of a batch, no dropout."""
    return not any(True for _ in head.buffers()) and not any(isinstance(module, nn.Dropout) for module in head.modules())


def train_heads(
    folds: list[HeadFold],
    samples: FeatureSamples,
    method: Method,
    recipe: Recipe,
    progress: Progress | None = None,
) -> None:
    """Train the heads of all folds in place, each as `loop.train` would with a frozen backbone and without augmentation.

    Each fold has its own batches, learning rate, validation and choice of the epoch; its `records` are those of the loop.
    `progress` hears of the pictures learned from and of each epoch. Raises LossError where a loss is not finite, naming fold,
    epoch and pictures, and TrainingError where a fold has too few pictures.
    """
    for fold in folds:
        require_pictures(fold.history(recipe))
    for together in _cohorts(folds, recipe.batch_size, samples):
        _Cohort(together, samples, method, recipe).train(progress or Progress())


def _cohorts(folds: list[HeadFold], batch_size: int, samples: FeatureSamples) -> Iterator[list[HeadFold]]:
    """Folds with the same number of batches, as many together as memory allows, fewest pictures first."""

    def batches(fold: HeadFold) -> int:
        return batches_of(len(fold.training), batch_size)

    for count, group in groupby(sorted(folds, key=lambda fold: (batches(fold), len(fold.training))), key=batches):
        same = list(group)
        weights = sum(parameter.numel() for parameter in same[0].head.parameters())
        inputs = (len(same[-1].training) // count + 1) * samples.features[0].numel()
        # weights, gradients, two moments, their average, the selected ones; the outputs' graph takes less than the inputs
        most = max(1, MEMORY // (samples.features.element_size() * (6 * weights + 3 * inputs)))
        yield from (same[start : start + most] for start in range(0, len(same), most))


@dataclass
class _StackedOptimiser:
    """The optimiser of some folds' stacked heads, with one learning rate: of all folds, or of one where validation decides it."""

    folds: slice
    parameters: State
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate


class _Cohort:
    """F heads as one: each parameter stacked along a first dimension, (F, ...). An EpochLearner."""

    def __init__(self, folds: list[HeadFold], samples: FeatureSamples, method: Method, recipe: Recipe) -> None:
        self.folds, self.samples, self.recipe = folds, samples, recipe
        self.method, self.learned = method, smoothed(method, recipe.label_smoothing)
        self.histories = [fold.history(recipe) for fold in folds]
        self.batches = batches_of(len(folds[0].training), recipe.batch_size)
        self.device = samples.features.device
        self.head = copy.deepcopy(folds[0].head).to("meta")  # its shape alone: the weights are given at each call
        heads = [dict(fold.head.named_parameters()) for fold in folds]
        self.state = {name: torch.stack([head[name].detach() for head in heads]).to(self.device) for name in heads[0]}
        self.average = _copied(self.state) if recipe.ema is not None else None
        self.selected = _copied(self.state)
        self.optimisers = [self._optimiser(part) for part in self._sharing()]
        self.weight = self._class_weights()
        self.counts = torch.tensor([len(fold.training) for fold in folds], device=self.device)  # (F,)

    def train(self, progress: Progress) -> None:
        """Train all epochs of all folds; the heads end with the weights that the recipe selects."""
        for _ in run_epochs(self, progress):
            pass
        self._deliver()

    def learning_rate(self, index: int) -> LearningRate:
        return self.optimisers[index if len(self.optimisers) > 1 else 0].learning_rate

    def _sharing(self) -> list[slice]:
        """The folds that share a learning rate."""
        if self.recipe.schedule.name == "plateau":
            return [slice(index, index + 1) for index in range(len(self.folds))]
        return [slice(0, len(self.folds))]

    def _optimiser(self, part: slice) -> _StackedOptimiser:
        """These optimisers work number by number, so that one over stacked heads is one for each."""
        parameters = {name: value[part] for name, value in self.state.items()}  # views: the optimiser changes the state
        optimizer = create_optimiser(self.recipe, parameters.values())  # type: ignore[arg-type]
        schedule = LearningRate(optimizer, self.recipe.schedule, self.recipe.epochs, self.batches)
        return _StackedOptimiser(part, parameters, optimizer, schedule)

    def _class_weights(self) -> Tensor | None:
        """The weight of each picture in each fold, (F, N), where the recipe asks for any."""
        if self.recipe.class_weights == "none":
            return None
        label, grid = self.samples.label.cpu().numpy(), self.method.grid.cpu().numpy()
        weight = np.zeros((len(self.folds), len(label)), np.float32)
        for index, fold in enumerate(self.folds):
            weight[index, fold.training] = class_weights(label[fold.training], grid, self.recipe.class_weights)
        return torch.from_numpy(weight).to(self.device)

    def train_epoch(self, epoch: int, active: list[int], progress: Progress) -> list[Record]:
        """One pass of every fold over its pictures, finished folds included; the mean loss and its terms of the active ones."""
        sums: dict[str, Tensor] = {}  # {name: (F,)}
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
            progress.learned(int(sizes[batch][active].sum()))
        means = {name: value.tolist() for name, value in sums.items()}
        return [{name: value[index] for name, value in means.items()} for index in active]

    def _terms(self, rows: Tensor, sizes: np.ndarray) -> dict[str, Tensor]:
        """The terms of each fold's loss over its own batch, {name: (F,)}. rows: (F, B), each fold's first `sizes` (F,) of them count."""
        for value in self.state.values():
            value.requires_grad_()
        inputs = self.samples.features[rows]  # (F, B, ...)
        outputs = full_precision(vmap(lambda state, batch: functional_call(self.head, state, (batch,)))(self.state, inputs))  # (F, B, K)
        size = torch.as_tensor(sizes, device=self.device)[:, None]  # (F, 1)
        share = (torch.arange(rows.shape[1], device=self.device) < size) / size  # (F, B): of each picture in its fold's mean
        if self.weight is not None:
            share = share * self.weight.gather(1, rows)
        label, sigma = self.samples.label[rows], self.samples.sigma[rows]  # (F, B)
        single = single_terms(self.learned, outputs.flatten(0, 1), label.flatten(), sigma.flatten())  # (F B,) each
        return {name: (share * value.view(share.shape)).sum(1) for name, value in single.items()}

    def _step(self, loss: Tensor) -> None:
        computed = torch.autograd.grad(loss, list(self.state.values()))
        # fused optimisers take the numbers as they lie in memory, and a product's gradient lies transposed
        gradients = {name: gradient.contiguous() for name, gradient in zip(self.state, computed, strict=True)}
        for value in self.state.values():
            value.requires_grad_(False)
        clip_each(gradients, self.recipe.gradient_clip)
        for stacked in self.optimisers:
            for name, parameter in stacked.parameters.items():
                parameter.grad = gradients[name][stacked.folds]
            stacked.optimizer.step()
            stacked.learning_rate.batch()
        if self.average is not None and self.recipe.ema is not None:
            get_ema_multi_avg_fn(self.recipe.ema)(list(self.average.values()), list(self.state.values()), 0)

    @torch.no_grad()
    def validate(self, index: int) -> Record:
        """As `loop.evaluate`, of one fold."""
        fold = self.folds[index]
        state = {name: value[index] for name, value in self._result.items()}
        if not len(fold.validation):
            epoch = len(fold.records) + 1
            return unvalidated(state.items(), epoch, self.error_suffix(index, epoch))
        rows = torch.from_numpy(fold.validation).to(self.device)
        outputs = full_precision(functional_call(self.head, state, (self.samples.features[rows],)))
        label, sigma = self.samples.label[rows], self.samples.sigma[rows]
        loss, error = self.method.loss(outputs, label, sigma), self.method.error(outputs, label).mean()
        return {"validation_loss": loss.item(), "validation_error": error.item()}

    @property
    def _result(self) -> State:
        """The heads that are validated and kept: the averaged ones where the recipe has an average."""
        return self.state if self.average is None else self.average

    def keep(self, index: int) -> None:
        """Keep a fold's head as it is after this epoch."""
        for name, value in self._result.items():
            self.selected[name][index] = value[index]

    def error_suffix(self, index: int, epoch: int) -> str:
        """The name of the fold."""
        return f", of {self.folds[index].name}"

    def end_epoch(self) -> None:
        """Nothing is saved: heads learn so fast that they start again."""

    @torch.no_grad()
    def _deliver(self) -> None:
        for index, fold in enumerate(self.folds):
            for name, parameter in fold.head.named_parameters():
                parameter.copy_(self.selected[name][index])

    def _require_finite(self, losses: Tensor, epoch: int, batch: int, rows: np.ndarray, sizes: np.ndarray, active: list[int]) -> None:
        """Raise LossError where the loss (F,) of an active fold is not finite; those of finished ones do not matter."""
        if torch.isfinite(losses.sum()):
            return
        for index in active:
            loss = losses[index].item()
            if not math.isfinite(loss):
                ids = self.samples.sample_id[rows[index, : sizes[index]]]
                raise loss_error(loss, epoch + 1, batch + 1, self.batches, ids, name=self.folds[index].name)


def _copied(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


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
