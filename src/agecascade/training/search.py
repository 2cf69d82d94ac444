"""Learning rate x batch size: a short training with each pair, judged by the validation loss (cascaded fine-tuning)."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from agecascade import model_folder
from agecascade.augmentation import Augmenter
from agecascade.errors import LossError
from agecascade.io.files import write_json
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.loading import Faces
from agecascade.params import SEARCHED, Params, Schedule, Search, Step
from agecascade.tracking import Tracker
from agecascade.training import frozen
from agecascade.training.cascade import code_digests, faces_digest, job_fingerprint, jobs_of
from agecascade.training.fold import Job, from_init, samples
from agecascade.training.frozen import HeadTrainings, Views
from agecascade.training.loop import Record, Samples, train
from agecascade.training.parallel import side_by_side
from agecascade.training.processes import Processes
from agecascade.training.search_result import COLUMNS, Found
from agecascade.training.templates import give_templates

DIVERGED = {"validation_loss": math.nan, "validation_error": math.nan}


def search(params: Params, name: str, faces: Faces, splits: pd.DataFrame, models: Path, work: Path) -> Found:
    """All trials of the search `name`: every pair of its grid, for each backbone of the study, in the first folds of the protocol.

    faces, splits: of the step's data set; models: the folder of all steps; work: where finished trials wait if the stage is
    interrupted. Raises TrainingError and ModelError with one line before the first of them.
    """
    trials = list(_trials(params, name, faces, splits, models))
    room = _Room(name, faces, dict(list(splits.groupby("fold"))), ResumeCache(work), faces_digest(faces))
    units = [unit for trial in trials for unit in _units(trial)]
    total = sum(job.recipe.epochs * room.pictures(job) for unit in units for job in unit)
    with tqdm(total=total, desc=name, unit="img", unit_scale=True, disable=None) as progress:
        room.progress = progress.update
        side_by_side(room.look, frozen.by_features([unit for unit in units if frozen.groups(unit)]), params.compute, Processes())
        results = side_by_side(room.finish, units, params.compute, Processes())
    room.resume.clear()
    rows = [_row(job, record) for unit, records in zip(units, results, strict=True) for job, record in zip(unit, records, strict=True)]
    return Found(name, pd.DataFrame(rows, columns=COLUMNS))


def pairs(settings: Search, recipe: Step) -> list[tuple[float, int]]:
    """The grid of a search, learning rates first; what the step gives for a backbone is held. None where it gives both."""
    if SEARCHED not in (recipe.learning_rate, recipe.batch_size):
        return []
    rates = settings.learning_rates if recipe.learning_rate == SEARCHED else [recipe.learning_rate]
    sizes = settings.batch_sizes if recipe.batch_size == SEARCHED else [recipe.batch_size]
    return list(itertools.product(rates, sizes))


def _trials(params: Params, name: str, faces: Faces, splits: pd.DataFrame, models: Path) -> Iterator[list[Job]]:
    """The folds of each trial: the step's own training, but short, with one pair, and from where the search starts."""
    settings = params.search[name]
    start = params.cascade[settings.step].model_copy(update={"init": settings.init})
    main = params.compare.model_copy(update={"methods": [], "seeds": []})  # a recipe is searched for a backbone, not for a row
    plain = params.model_copy(update={"cascade": {**params.cascade, settings.step: start}, "compare": main})
    first = np.sort(splits["fold"].unique())[: settings.folds]
    jobs = list(jobs_of(plain, settings.step, faces, splits[splits["fold"].isin(first)], models))
    for row in dict.fromkeys(job.row for job in jobs):
        of_row = [job for job in jobs if job.row == row]
        for rate, size in pairs(settings, of_row[0].recipe):  # type: ignore[arg-type]  # a cascade step's
            # constant: the rate itself is judged, not what a schedule would make of it within an epoch
            changes = {"learning_rate": rate, "batch_size": size, "epochs": settings.epochs, "schedule": Schedule(name="constant")}
            recipe = of_row[0].recipe.model_copy(update={**changes, "select": "last", "early_stopping": None})
            yield [replace(job, recipe=recipe) for job in of_row]


def _units(trial: list[Job]) -> list[list[Job]]:
    """What is trained at once: heads of all folds behind one frozen backbone, else a fold."""
    groups = frozen.groups(trial)
    together = {job.fold for group in groups for job in group}
    return [*groups, *([job] for job in trial if job.fold not in together)]


@dataclass
class _Room:
    """What the trials of a search share."""

    name: str
    faces: Faces
    folds: dict[int, pd.DataFrame]
    resume: ResumeCache
    data: str
    progress: Callable[[int], object] = lambda pictures: None

    def pictures(self, job: Job) -> int:
        """How many a job learns from."""
        return int((self.folds[job.fold]["role"] == "train").sum())

    def finish(self, unit: list[Job]) -> list[Record]:
        """The last validation of each job of a unit; those of an interrupted search are not trained again."""
        name = f"{self.name}-trial-{fingerprint(jobs=[self._fingerprint(job) for job in unit])}"
        piece = self.resume.entry(name, lambda folder: write_json(folder / "trial.json", self._tried(unit)))
        found = json.loads((piece / "trial.json").read_text(encoding="utf-8"))
        return [DIVERGED if record is None else record for record in found]

    def look(self, unit: list[Job]) -> Path:
        """The features of a frozen backbone."""
        return self._heads().look(unit)

    def _tried(self, unit: list[Job]) -> list[Record | None]:
        try:
            records = self._heads_tried(unit) if frozen.groups(unit) else [self._one_tried(job) for job in unit]
        except LossError:
            return [None] * len(unit)
        return [record if all(map(math.isfinite, record.values())) else None for record in records]

    def _one_tried(self, job: Job) -> Record:
        device = Processes().device
        training, validation = (self._samples(job, role) for role in ("train", "validation"))
        augmenter = Augmenter(job.augment, job.card.channels, device)
        network, method = from_init(job, job.card).to(device), job.card.objective().to(device)
        give_templates(network, training, job.grid, job.params.daa, augmenter, job.random_seed)
        options = {"seed": job.random_seed, "precision": job.params.precision, "progress": self.progress}
        *_, last = train(network, method, training, validation, job.recipe, augmenter, **options)  # type: ignore[arg-type]
        return {name: last[name] for name in DIVERGED}

    def _heads_tried(self, unit: list[Job]) -> list[Record]:
        heads = self._heads()
        _, folds = heads.trained(unit, Views.read(heads.look(unit)))
        return [{name: fold.history[-1][name] for name in DIVERGED} for fold in folds]

    def _heads(self) -> HeadTrainings:
        silent = Tracker("", "search")
        silent.lost = True
        stamp = fingerprint(data=self.data, code=code_digests())
        device = Processes().device
        return HeadTrainings(self.faces, self.folds, self.resume, self._fingerprint, stamp, silent, self.progress, device)

    def _fingerprint(self, job: Job) -> str:
        return job_fingerprint(job, self.data, self.folds[job.fold], model_folder.digest(job.init), Processes())

    def _samples(self, job: Job, role: str) -> Samples:
        fold = self.folds[job.fold]
        ids = fold.loc[fold["role"] == role, "sample_id"].to_numpy(str)
        return samples(job, self.faces, self.faces.take(np.isin(self.faces.sample_id, ids)))


def _row(job: Job, record: Record) -> dict[str, object]:
    pair = {"learning_rate": job.recipe.learning_rate, "batch_size": job.recipe.batch_size}
    return {"backbone": job.row.backbone, **pair, "fold": job.fold, **record}
