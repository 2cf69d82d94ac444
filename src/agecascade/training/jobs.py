"""The trainings of a step: one for each row and fold, with its label grid, recipe and the model that it starts from."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from agecascade import model_folder
from agecascade.errors import ModelError, TrainingError
from agecascade.loading import Faces
from agecascade.model_card import Learned
from agecascade.model_folder import IDENTITY, ModelCard, describe, find_model, read_card
from agecascade.models import frozen_blocks, require_size
from agecascade.models.base import Network
from agecascade.params import Augment, Grid, Params, Recipe, Row, Training
from agecascade.training.checkpoint import RANDOM_STATE
from agecascade.training.optimisers import fused_batch_norms
from agecascade.training.samples import Samples, grid_values_of, learns_from_pictures
from agecascade.training.teacher import found_table, taught

WINNERS = "search.json"  # in the folder of a search: the learning rate and batch size of each backbone


@dataclass(frozen=True)
class Job:
    """One training: a row and fold of a step, over which grid (label units; indices of identities), and from which model folder."""

    params: Params
    step: str
    row: Row
    recipe: Recipe
    grid: list[float]
    fold: int
    init: Path
    folds: int = 1  # of the split
    teacher: Path | None = None  # the table of the recipe's teacher

    @property
    def name(self) -> str:
        return f"{self.row.name}/fold{self.fold}"

    @property
    def random_seed(self) -> list[int]:
        """Names this training among all: one seed in params.yaml decides everything."""
        return [self.row.seed, zlib.crc32(self.step.encode()), self.fold]

    @property
    def augment(self) -> Augment:
        """How training pictures are changed: as the step says, else as the study does."""
        return self.recipe.augment or self.params.augment

    @property
    def identities(self) -> bool:
        """Whether a pretraining learns to tell people apart, which knows neither ages nor the options of methods."""
        return self.row.method == IDENTITY

    @cached_property
    def card(self) -> ModelCard:
        """The model's description, as yet without an interval. Its chain goes on from that of the model that it starts from."""
        chain = [*read_card(self.init).chain, self.step]
        return describe(self.params, self.step, self.row, self.grid, self.fold, chain)

    def learned(self, pictures: int) -> list[Learned]:
        """What the steps up to this one learned from, which trains on so many pictures; what older cards do not tell is left out."""
        settings: Training = self.params.pretrain[self.step] if self.identities else self.params.cascade[self.step]
        drawn = self.params.datasets[settings.dataset].origin == "synthetic"
        return [*(read_card(self.init).trained_on or []), Learned(self.step, settings.dataset, pictures, drawn)]

    def outline(self) -> Network:
        """The network without weights, whatever it starts from."""
        return describe(self.params, self.step, self.row, self.grid, self.fold).outline()

    @property
    def logged(self) -> dict[str, object]:
        """The params that a tracker shows of this training."""
        recipe = self.recipe.model_dump(exclude={"by_backbone", "schedule", "augment"})
        of_ages = set() if self.identities else {"sigma", "lambda_er"}
        shared = self.params.model_dump(include={"image_size", "pooling", "precision", *of_ages})
        card, own_lambda = self.card, getattr(self.recipe, "lambda_er", None)
        if own_lambda is not None:
            shared["lambda_er"] = own_lambda
        learned = {**self.row._asdict(), "method": card.method, **card.method_options}
        if self.params.precision == "bf16":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            shared["fused_batch_norms"] = fused_batch_norms(self.outline(), self.recipe, "bf16", device)
        return {**recipe, **shared, **learned, "schedule": self.recipe.schedule.name, "chain": " > ".join(card.chain), "fold": self.fold}


def jobs_of(params: Params, step: str, faces: Faces, splits: pd.DataFrame, models: Path) -> Iterator[Job]:
    """All trainings of a step. Raises TrainingError and ModelError where one of them cannot start."""
    identities = step in params.pretrain
    settings: Training = params.pretrain[step] if identities else params.cascade[step]
    dataset = params.datasets[settings.dataset]
    classes = [float(index) for index in range(len(set(faces.subject)))]
    grid = classes if identities else label_grid(dataset.grid, faces, settings.dataset)
    folds = splits.groupby("fold")["role"].agg(set)
    for fold in (fold for fold, roles in folds.items() if "train" not in roles):
        raise TrainingError(f"{step}: fold {fold} of {settings.dataset} has no train picture; see datasets.{settings.dataset}")
    winners = read_winners(models / settings.init) if settings.init in params.search else {}
    for row in params.networks(IDENTITY) if identities else params.rows:
        recipe = settings if identities else params.cascade[step].recipe(row.backbone, winners.get(row.backbone))
        outline = describe(params, step, row, grid, fold=0).outline()  # raises for an unknown method or decoding
        frozen_blocks(outline.blocks, recipe.trainable)  # raises for an unknown block
        require_size(outline, row.backbone, params.image_size)
        _require_validation(step, settings.dataset, recipe, folds)
        for fold in folds.index:
            init = find_model(models / settings.init, row, int(fold))
            job = Job(params, step, row, recipe, grid, int(fold), init, len(folds), _teacher(step, recipe))
            require_sigma_and_templates(job, outline, faces, splits[splits["fold"] == fold])
            yield job


def _teacher(step: str, recipe: Recipe) -> Path | None:
    """The table that a recipe's teacher is in, None without a teacher. Raises TrainingError where it cannot be had."""
    teacher = getattr(recipe, "teacher", None)
    return found_table(teacher, f"cascade.{step}.teacher") if teacher is not None else None


def pictures_to_learn(job: Job, fold: pd.DataFrame) -> int:
    """How many pictures a training sees in all its epochs; fold: column role."""
    return job.recipe.epochs * int((fold["role"] == "train").sum())


def _require_validation(step: str, dataset: str, recipe: Recipe, folds: pd.Series) -> None:
    """Raise TrainingError where a recipe decides by validation pictures, and a fold has none; folds: the roles of each."""
    for setting in recipe.decided_by_validation:
        for fold in (fold for fold, roles in folds.items() if "validation" not in roles):
            raise TrainingError(
                f"{step}: {setting} decides by validation pictures; fold {fold} of {dataset} has none; see datasets.{dataset}.validation"
            )


def label_grid(settings: Grid | None, faces: Faces, name: str) -> list[float]:
    """The K values of `datasets.<name>.grid` over these faces, ascending, in label units.

    `present` and `groups` take the labels of all roles: that an age occurs among the test pictures is known to the network.
    Raises TrainingError where a face has no label or one outside, and where groups are taken for numbers or the other way round.
    """
    missing = np.isnan(faces.label)
    if settings is None or missing.any():
        shown = f", {faces.sample_id[missing][0]} among them" if missing.any() else ""
        raise TrainingError(f"{name}: {missing.sum()} of {len(faces)} pictures have no label{shown}; a grid needs labels to train on")
    if settings.groups and not faces.grouped:
        raise TrainingError(f"{name}: its labels are numbers, no groups; give datasets.{name}.grid low and high, values, or present: true")
    if settings.is_range and faces.grouped:
        raise TrainingError(
            f"{name}: its labels are groups, no single years, and a range does not fit them; say datasets.{name}.grid: {{groups: true}}"
        )
    grid = settings.over(faces.label)
    _require_covered(faces, grid, name)
    return grid


def _require_covered(faces: Faces, grid: list[float], name: str) -> None:
    outside = (faces.label < grid[0]) | (faces.label > grid[-1])
    if outside.any():
        index = int(np.argmax(outside))
        raise TrainingError(
            f"{name}: the grid {grid[0]:g}..{grid[-1]:g} does not cover {outside.sum()} labels, {faces.label[index]:g} of "
            f"{faces.sample_id[index]} among them; widen datasets.{name}.grid or narrow datasets.{name}.clean"
        )


def read_winners(folder: Path) -> dict[str, dict[str, float]]:
    """The winners of a search by backbone. Raises ModelError where its file is missing or damaged."""
    path = folder / WINNERS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(backbone): _winner(pair) for backbone, pair in content.items()}
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; run `dvc repro search@{folder.name}`") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is no result of a search; run `dvc repro -f search@{folder.name}`") from None


def _winner(pair: dict[str, float]) -> dict[str, float]:
    rate, size = pair["learning_rate"], pair["batch_size"]
    if not math.isfinite(rate) or size != int(size):
        raise ValueError
    return {"learning_rate": rate, "batch_size": size}


def require_sigma_and_templates(job: Job, outline: Network, faces: Faces, fold: pd.DataFrame) -> None:
    """Raise TrainingError where a picture of the fold lacks a sigma that the method needs, or an age the template that DAA does.

    outline: the network without weights, of the job's card; fold: columns sample_id, role.
    """
    if job.card.objective().needs_sigma and job.params.sigma is None:
        without = np.isnan(faces.sigma) & np.isin(faces.sample_id, fold["sample_id"].to_numpy(str))
        if without.any():
            raise TrainingError(
                f"{job.step}: {job.card.method} needs a sigma, and {without.sum()} pictures have none, {faces.sample_id[without][0]} "
                "among them; give `sigma` in params.yaml"
            )
    if learns_from_pictures(outline):
        learned = fold.loc[fold["role"] == "train", "sample_id"].to_numpy(str)
        grid_values_of(faces.label[np.isin(faces.sample_id, learned)], np.array(job.grid), job.params.daa.nearest)


def fresh(job: Job, card: ModelCard) -> Network:
    """The network of a training as its seed initialises it."""
    with RANDOM_STATE:
        torch.manual_seed(zlib.crc32(repr(job.random_seed).encode()))
        return card.network()


def keeps_head(job: Job) -> bool:
    """Whether the head of `job.init` is kept: its outputs mean the same, over the same grid."""
    before, card = model_folder.read_card(job.init), job.card
    same = all(getattr(before, name) == getattr(card, name) for name in ("grid", "head", "head_options"))
    return same and before.objective().reading == card.objective().reading


def begun_heads(jobs: Iterable[Job]) -> list[str]:
    """A line for each step whose networks come from another label grid, so that their heads begin anew, for the log."""
    lines = []
    for job in jobs:
        before = model_folder.read_card(job.init)
        if before.method == IDENTITY or job.identities or before.grid == job.grid:  # identities' heads never go on
            continue
        lines.append(
            f"{job.step}: the head of {before.step} is not kept and begins anew, for its grid is {_span(before.grid)}, and that of "
            f"{job.params.cascade[job.step].dataset} is {_span(job.grid)}; to keep it, give both data sets one `grid`"
        )
    return list(dict.fromkeys(lines))


def _span(grid: Sequence[float]) -> str:
    return f"{grid[0]:g} to {grid[-1]:g} ({len(grid)} labels)"


def from_init(job: Job, card: ModelCard) -> Network:
    """A network with the backbone of `job.init`, and its head where that is kept."""
    network, before = fresh(job, card), model_folder.read_card(job.init)
    # heads of one kind share what stands between backbone and head, such as fully connected layers
    part, same_head = "" if before.head == card.head else "backbone.", keeps_head(job)

    def taken(name: str) -> bool:
        return name.startswith(part) and (same_head or not name.startswith("head."))

    weights = {name: tensor for name, tensor in model_folder.read_weights(job.init).items() if taken(name)}
    try:
        fits = weights.keys() == set(filter(taken, network.state_dict()))
        fits = fits and not network.load_state_dict(weights, strict=False).unexpected_keys
    except RuntimeError:  # the same names, other shapes
        fits = False
    if not fits:
        raise ModelError(f"{job.init} holds a {before.backbone}, step {job.step} trains a {card.backbone}; see its init")
    return network


def samples_of(job: Job, faces: Faces, part: Faces) -> Samples:
    """Pictures with the study's sigma where the data set gives none; identities are labelled by their index."""
    label = np.searchsorted(np.unique(faces.subject), part.subject) if job.identities else part.label
    default = None if job.identities else job.params.sigma
    sigma = np.where(np.isnan(part.sigma), np.nan if default is None else default, part.sigma)
    return Samples(part.sample_id, part.images, label.astype(np.float32), sigma.astype(np.float32))


def with_teacher(job: Job, samples: Samples) -> Samples:
    """Training samples whose labels are mixed with what the step's teacher says, where it has one."""
    teacher = getattr(job.recipe, "teacher", None)
    if teacher is None or job.teacher is None:
        return samples
    return taught(samples, teacher, job.teacher, f"cascade.{job.step}.teacher", job.fold, job.folds)
