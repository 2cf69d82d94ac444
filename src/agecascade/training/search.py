"""Learning rate x batch size: a short training with each pair, judged by the validation loss (cascaded fine-tuning)."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from agecascade.augmentation import Augmenter
from agecascade.errors import LossError, TrainingError
from agecascade.io.compute import not_shared, ordered
from agecascade.io.files import copied, write_json
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.loading import Faces
from agecascade.params import SEARCHED, Compare, Compute, Params, Schedule, Search, Step
from agecascade.tracking.tracker import Tracker
from agecascade.training import frozen
from agecascade.training.cascade import StepTrainings, worker_trainings
from agecascade.training.epochs import Record
from agecascade.training.frozen import FeatureArrays
from agecascade.training.jobs import WINNERS, Job, from_init, jobs_of, pictures_to_learn, samples_of
from agecascade.training.loop import train
from agecascade.training.on_workers import StepFiles
from agecascade.training.parallel import Processes, side_by_side
from agecascade.training.progress import StageProgress
from agecascade.training.samples import Samples, give_templates

COLUMNS = ["backbone", "learning_rate", "batch_size", "fold", "validation_loss", "validation_error"]
GRID = ["backbone", "learning_rate", "batch_size"]
DIVERGED = {"validation_loss": math.nan, "validation_error": math.nan}


@dataclass(frozen=True)
class SearchResult:
    """The trials of a search: a row for each fold of each, with COLUMNS; a diverged one has a loss of NaN."""

    name: str
    table: pd.DataFrame

    @property
    def means(self) -> pd.DataFrame:
        """A row for each trial: GRID and the mean loss and error over its folds, NaN where one of them diverged."""
        return self.table.groupby(GRID, sort=False)[COLUMNS[-2:]].agg(lambda values: values.mean(skipna=False)).reset_index()

    @property
    def winners(self) -> dict[str, dict[str, float]]:
        """{backbone: learning_rate, batch_size, validation_loss, validation_error} of the lowest mean loss, the first of equals.

        Raises TrainingError where all trials of a backbone diverged.
        """
        winners = {}
        for backbone, trials in self.means.groupby("backbone", sort=False):
            if trials["validation_loss"].isna().all():
                raise TrainingError(f"search.{self.name}: every trial of {backbone} diverged; give lower learning_rates")
            winner = trials.loc[trials["validation_loss"].idxmin()]
            winners[str(backbone)] = {key: float(winner[key]) for key in COLUMNS if key in winner and key != "backbone"}
            winners[str(backbone)]["batch_size"] = int(winner["batch_size"])
        return winners

    def write(self, init: Path, folder: Path) -> None:
        """Make `folder` a copy of the models in `init`, with the winners beside: all that a step with this init needs."""
        winners = self.winners
        copied(init, folder, leave=(WINNERS,))
        write_json(folder / WINNERS, winners)


def search(
    params: Params, name: str, faces: Faces, splits: pd.DataFrame, models: Path, work: Path, files: StepFiles | None = None
) -> SearchResult:
    """All trials of the search `name`: every pair of its grid, for each backbone of the study, in the first folds of the protocol.

    faces, splits: of the step's data set; models: the folder of all steps; work: the folder of finished trials, from
    which an interrupted stage goes on. Raises TrainingError and ModelError with one line before the first of them.
    """
    units = [unit for trial in _trials(params, name, faces, splits, models) for unit in _units(trial)]
    folds = dict(list(splits.groupby("fold")))
    total = sum(pictures_to_learn(job, folds[job.fold]) for unit in units for job in unit)
    resume = ResumeCache(work)
    with StageProgress(name, total) as progress:
        trainings = StepTrainings(faces, folds, resume, Tracker.silent(), progress, Processes())
        trainings.extract_features([unit for unit in units if frozen.groups(unit)], params.compute)
        results = _results(Trials(name, trainings), units, params.compute, files)
    resume.clear(keep=lambda entry: not entry.startswith(f"{params.search[name].step}-features-"))
    rows = [_row(job, record) for unit, records in zip(units, results, strict=True) for job, record in zip(unit, records, strict=True)]
    return SearchResult(name, pd.DataFrame(rows, columns=COLUMNS))


def _results(trials: Trials, units: list[list[Job]], compute: Compute, files: StepFiles | None) -> list[list[Record]]:
    """The records of each unit, side by side or on a cluster, whose workers leave them in the cache below `files.work`."""
    if files is None:
        return side_by_side(trials.finish, units, compute, Processes())
    for unit in units:
        trials.trainings.resume.expect(trials.entry_name(unit))
    sent = [(unit, trials.entry_name(unit)) for unit in units]
    results = []
    for unit, records in zip(
        units, ordered(partial(try_on_worker, files, trials.name), sent, compute, threads=compute.threads, alone=True), strict=True
    ):
        trials.trainings.progress.learned(trials.pictures(unit))
        results.append(records)
    return results


def try_on_worker(files: StepFiles, search: str, sent: tuple[list[Job], str]) -> list[Record]:
    """A unit of a search on a worker; raises ComputeError where that sees other files than the sender, who named the result."""
    unit, name = sent
    trials = Trials(search, worker_trainings(files))
    if trials.entry_name(unit) != name:
        raise not_shared(unit[0].init)
    try:
        return trials.finish(unit)
    finally:
        trials.trainings.resume.clear(keep=lambda _: True)  # the sender has marked it


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
    main = Compare(backbones=params.compare.backbones)  # a recipe is searched for a backbone, not for a row
    plain = params.model_copy(update={"cascade": {**params.cascade, settings.step: start}, "compare": main})
    first = np.sort(splits["fold"].unique())[: settings.folds]
    for fold in first:
        if not (splits.loc[splits["fold"] == fold, "role"] == "validation").any():
            raise TrainingError(
                f"search.{name} decides by validation pictures, and fold {fold} of {settings.dataset} has none; see "
                f"datasets.{settings.dataset}.validation"
            )
    jobs = list(jobs_of(plain, settings.step, faces, splits[splits["fold"].isin(first)], models))
    for row in dict.fromkeys(job.row for job in jobs):
        of_row = [job for job in jobs if job.row == row]
        for rate, size in pairs(settings, of_row[0].recipe):  # type: ignore[arg-type]  # a cascade step's
            # constant: the rate itself is judged, not a schedule's changes of it within an epoch
            changes = {"learning_rate": rate, "batch_size": size, "epochs": settings.epochs, "schedule": Schedule(name="constant")}
            recipe = of_row[0].recipe.model_copy(update={**changes, "select": "last", "early_stopping": None})
            yield [replace(job, recipe=recipe) for job in of_row]


def _units(trial: list[Job]) -> list[list[Job]]:
    """The jobs that are trained together: heads of all folds behind one frozen backbone, else a fold."""
    groups = frozen.groups(trial)
    together = {job.fold for group in groups for job in group}
    return [*groups, *([job] for job in trial if job.fold not in together)]


@dataclass(frozen=True)
class Trials:
    """The trials of a search, each cached until the search is complete."""

    name: str
    trainings: StepTrainings

    def finish(self, unit: list[Job]) -> list[Record]:
        """The last validation of each job of a unit; those of an interrupted search are not trained again."""
        resume, name = self.trainings.resume, self.entry_name(unit)
        if resume.finished(name):
            self.trainings.progress.resumed(self.pictures(unit))
        entry = resume.entry(name, lambda folder: write_json(folder / "trial.json", self._tried(unit)))
        records = json.loads((entry / "trial.json").read_text(encoding="utf-8"))
        return [DIVERGED if record is None else record for record in records]

    def entry_name(self, unit: list[Job]) -> str:
        """The name of a unit's records in the cache."""
        return f"{self.name}-trial-{fingerprint(jobs=[self.trainings.fingerprint(job) for job in unit])}"

    def pictures(self, unit: list[Job]) -> int:
        """How many pictures a unit sees in all its epochs."""
        return sum(pictures_to_learn(job, self.trainings.folds[job.fold]) for job in unit)

    def _tried(self, unit: list[Job]) -> list[Record | None]:
        """The last validation of each job, None where it diverged."""
        try:
            records = self._heads_tried(unit) if frozen.groups(unit) else [self._network_tried(job) for job in unit]
        except LossError:
            return [None] * len(unit)
        return [record if all(map(math.isfinite, record.values())) else None for record in records]

    def _network_tried(self, job: Job) -> Record:
        device = self.trainings.processes.device
        training, validation = (self._samples(job, role) for role in ("train", "validation"))
        augmenter = Augmenter(job.augment, job.card.channels, device)
        network, method = from_init(job, job.card).to(device), job.card.objective().to(device)
        give_templates(network, training, job.grid, job.params.daa, augmenter, job.random_seed)
        title = f"{job.step}/{job.name} with learning rate {job.recipe.learning_rate:g}, batches of {job.recipe.batch_size}"
        options = {"seed": job.random_seed, "precision": job.params.precision, "progress": self.trainings.progress.titled(title)}
        *_, last = train(network, method, training, validation, job.recipe, augmenter, **options)  # type: ignore[arg-type]
        return {name: last[name] for name in DIVERGED}

    def _heads_tried(self, unit: list[Job]) -> list[Record]:
        heads = self.trainings.heads
        _, folds = heads.trained(unit, FeatureArrays.read(heads.features(unit)))
        return [{name: fold.records[-1][name] for name in DIVERGED} for fold in folds]

    def _samples(self, job: Job, role: str) -> Samples:
        faces, fold = self.trainings.faces, self.trainings.folds[job.fold]
        ids = fold.loc[fold["role"] == role, "sample_id"].to_numpy(str)
        return samples_of(job, faces, faces.take(np.isin(faces.sample_id, ids)))


def _row(job: Job, record: Record) -> dict[str, object]:
    pair = {"learning_rate": job.recipe.learning_rate, "batch_size": job.recipe.batch_size}
    return {"backbone": job.row.backbone, **pair, "fold": job.fold, **record}
