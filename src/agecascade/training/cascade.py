"""A step of the cascade: every row of the table, every fold of the protocol, each from the weights of the step before."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from agecascade.io.compute import keep_freed_memory, not_shared, ordered
from agecascade.io.files import copied, write_table
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.loading import Faces
from agecascade.loading.faces import load_cached_faces
from agecascade.model_folder import ModelCard, model_digest, read_card, write_card
from agecascade.params import Compute, Params, Row
from agecascade.schema import VALIDATION
from agecascade.tracking.store import data_inputs
from agecascade.tracking.tracker import Tracker
from agecascade.training import frozen
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.epochs import Record
from agecascade.training.fingerprints import code_digests, faces_digest, job_fingerprint
from agecascade.training.fold import train_fold
from agecascade.training.frozen import HeadTrainings
from agecascade.training.intervals import TESTED, VALIDATED, conclude, with_intervals
from agecascade.training.jobs import Job, begun_heads, jobs_of, pictures_to_learn
from agecascade.training.learner import slow_precision
from agecascade.training.model_cards import NAME as README
from agecascade.training.model_cards import model_card
from agecascade.training.on_workers import Recorder, Sent, StepFiles, log_finished
from agecascade.training.parallel import Processes, side_by_side, start
from agecascade.training.progress import Progress, StageProgress


def train_step(
    params: Params,
    step: str,
    faces: Faces,
    splits: pd.DataFrame,
    models: Path,
    out: Path,
    predictions: Path | None,
    tracker: Tracker,
    work: Path,
    processes: Processes | None = None,
    files: StepFiles | None = None,
) -> None:
    """Train all rows and folds of `step` into `out`, and write predictions, one Parquet per row and role, into `predictions`.

    faces: the step's data set; splits: columns sample_id, fold, role; models: the folder of all steps; predictions: None for
    a pretraining; work: the folder of finished folds and checkpoints, from which an interrupted stage goes on; processes: those
    that train each network together, of which the first writes; files: where workers of a cluster find the same. Raises
    TrainingError and ModelError with one line before the first epoch.
    """
    processes = processes or Processes()
    jobs = list(jobs_of(params, step, faces, splits, models))
    folds = dict(list(splits.groupby("fold")))
    groups = frozen.groups(jobs)
    together = {job.name for group in groups for job in group}
    alone = [job for job in jobs if job.name not in together]
    if processes.rank:
        torch.set_num_threads(params.compute.threads)
        _follow(alone, faces, folds, processes)
        return
    for line in [*slow_precision(processes.device, params.precision), *begun_heads(jobs)]:
        print(line, file=sys.stderr)
    resume = ResumeCache(work)
    total = sum(pictures_to_learn(job, folds[job.fold]) for job in jobs)
    shared = common_settings(jobs)
    with tracker.stage_run(f"{params.study} {step}", shared, params.tracking.system_metrics), StageProgress(step, total) as progress:
        trainings = StepTrainings(faces, folds, resume, tracker, progress, processes, files)
        trained = trainings.whole_networks(alone, params.compute) | trainings.heads_of(groups, params.compute)
    _deliver(jobs, trained, out, predictions, faces.grouped)
    resume.clear(keep=lambda name: not name.startswith(f"{step}-features-"))  # a further row or seed trains the others no second time


def train_stage(
    params: Params, step: str, aligned: Path, splits: Path, models: Path, out: Path, predictions: Path | None, work: Path
) -> None:
    """Train `step` as a stage does, from the folder of aligned faces and the table of splits; else as `train_step`.

    Of several processes that train together, the first writes; the others end here (SystemExit), before they could.
    """
    keep_freed_memory()  # before pictures are decoded in threads
    processes = start(params.compute.devices)
    files = StepFiles.of(aligned, splits, work, params.image_size, params.compute) if processes.size == 1 else None
    models = models if files is None else models.resolve()
    faces = files.faces.load() if files else load_cached_faces(aligned, params.image_size, params.compute.cache_gib)
    tracker = Tracker(params.study, "pretrain" if step in params.pretrain else "finetune")
    tracker.data = data_inputs([aligned.name], "training")
    train_step(params, step, faces, pq.read_table(splits).to_pandas(), models, out, predictions, tracker, work, processes, files)
    if processes.rank:
        sys.exit()


def common_settings(jobs: list[Job]) -> dict[str, object]:
    """The logged params that all trainings of a step share."""
    first = jobs[0].logged if jobs else {}
    return {key: value for key, value in first.items() if all(job.logged.get(key) == value for job in jobs[1:])}


@dataclass(frozen=True)
class StepTrainings:
    """The trainings of a step or of a search: the data that they share, and the cache of the finished ones."""

    faces: Faces
    folds: dict[int, pd.DataFrame]
    resume: ResumeCache
    tracker: Tracker
    progress: Progress
    processes: Processes
    files: StepFiles | None = None  # where whole networks are trained by the workers of a cluster

    @cached_property
    def data(self) -> str:
        """The digest of the faces."""
        return faces_digest(self.faces)

    @cached_property
    def init(self) -> Callable[[Path], str]:
        """The digest of a model folder, read once, however many folds start from it."""
        return cache(model_digest)

    @cached_property
    def heads(self) -> HeadTrainings:
        """The trainings of heads alone."""
        stamp = fingerprint(data=self.data, code=code_digests())
        shared = (self.tracker, self.progress, self.processes.device)
        return HeadTrainings(self.faces, self.folds, self.resume, self.fingerprint, stamp, *shared)

    def fingerprint(self, job: Job) -> str:
        """The name of a job's result: it changes with everything that the result depends on."""
        return job_fingerprint(job, self.data, self.folds[job.fold], self.init(job.init), self.processes)

    def whole_networks(self, jobs: list[Job], compute: Compute) -> dict[str, Path]:
        """{name of the job: folder} of whole networks, trained side by side or on a cluster."""
        if self.files is not None:
            return self._on_cluster(self.files, jobs, compute)
        return dict(zip((job.name for job in jobs), side_by_side(self.train, jobs, compute, self.processes), strict=True))

    def heads_of(self, groups: list[frozen.Group], compute: Compute) -> dict[str, Path]:
        """{name of the job: folder} of heads, those of a group trained as one problem."""
        self.extract_features([group for group in groups if self.heads.finished(group) is None], compute)
        learned = side_by_side(self.heads.learn, groups, compute, self.processes)
        return {job.name: entry / f"fold{job.fold}" for group, entry in zip(groups, learned, strict=True) for job in group}

    def extract_features(self, groups: list[frozen.Group], compute: Compute) -> None:
        """Compute the features that the groups learn from, each once."""
        side_by_side(self.heads.features, frozen.by_features(groups), compute, self.processes)

    def _on_cluster(self, files: StepFiles, jobs: list[Job], compute: Compute) -> dict[str, Path]:
        """As `whole_networks`, each training a call of a worker, which leaves its checkpoints and its result below `files.work`."""
        sent = [Sent(job, self.entry_name(job)) for job in jobs]
        missing = []
        for each in sent:
            self.resume.expect(each.name)
            if self.resume.finished(each.name) is None:
                missing.append(each)
            else:
                self.progress.resumed(pictures_to_learn(each.job, self.folds[each.job.fold]))
        results = ordered(partial(train_on_worker, files), missing, compute, threads=compute.threads, alone=True)
        for each, records in zip(missing, results, strict=True):
            self.progress.learned(pictures_to_learn(each.job, self.folds[each.job.fold]))
            log_finished(self.tracker, self.progress, each.job, files.work / each.name, records)
        return {each.job.name: files.work / each.name for each in sent}

    def entry_name(self, job: Job) -> str:
        """The name of a whole network's training in the cache."""
        return f"{_prefix(job)}-{self.fingerprint(job)}"

    def train(self, job: Job) -> Path:
        """The folder of a whole network, trained here unless it is in the cache."""
        name = self.entry_name(job)
        shared = partial(train_fold, job, self.faces, self.folds[job.fold], tracker=self.tracker, progress=self.progress)
        make = partial(shared, checkpoint=Checkpoint(self.resume.state(name)), processes=self.processes)
        if self.resume.finished(name):
            self.progress.resumed(pictures_to_learn(job, self.folds[job.fold]))
        entry = _cache_entry(self.resume, name, make, self.processes)
        self.resume.forget(_prefix(job))
        return entry


def _prefix(job: Job) -> str:
    return f"{job.step}-{job.row.name}-fold{job.fold}"


@lru_cache(1)
def worker_trainings(files: StepFiles) -> StepTrainings:
    """The trainings of a step in a process of a cluster, read once for all that it trains."""
    faces, folds = files.read()
    return StepTrainings(faces, folds, ResumeCache(files.work), Recorder(), Progress(), Processes())


def train_on_worker(files: StepFiles, sent: Sent) -> list[Record]:
    """Train a network on a worker; returns its epochs, none where another run made it. Raises ComputeError where it sees other files."""
    trainings = worker_trainings(files)
    if trainings.entry_name(sent.job) != sent.name:
        raise not_shared(sent.job.init)
    assert isinstance(trainings.tracker, Recorder)
    trainings.tracker.records = []
    try:
        trainings.train(sent.job)
    finally:
        trainings.resume.clear(keep=lambda _: True)  # the sender has marked it
    return trainings.tracker.records


def _deliver(jobs: list[Job], trained: dict[str, Path], out: Path, predictions: Path | None, grouped: bool) -> None:
    """Copy finished trainings into the outputs: models with their intervals into `out`, the predictions of each row's folds as one file."""
    finished: dict[Row, list[Path]] = defaultdict(list)
    delivered: dict[Row, list[Path]] = defaultdict(list)
    for job in jobs:
        copied(trained[job.name], out / job.name, leave=[TESTED, VALIDATED])
        finished[job.row].append(trained[job.name])
        delivered[job.row].append(out / job.name)
        _name_study(out / job.name, job.params.study)
    if predictions is not None:
        for row, folders in finished.items():
            conclude(folders, delivered[row], jobs[0].params.evaluate)
            cards = [_name_study(folder, jobs[0].params.study) for folder in delivered[row]]
            _write_readme(out / row.name, next(job for job in jobs if job.row == row), cards)
            write_predictions(predictions, row.name, folders, cards, grouped)


def _name_study(folder: Path, study: str) -> ModelCard:
    """The card of a delivered model, in which this study stands: another one may have trained it."""
    card = read_card(folder)
    if card.study != study:
        card = replace(card, study=study)
        write_card(folder, card)
    return card


def _write_readme(folder: Path, job: Job, cards: list[ModelCard]) -> None:
    """The model card of a row, as far as training knows it."""
    dataset = job.params.cascade[job.step].dataset
    text = model_card(job.row.name, cards, dataset, job.recipe.model_dump(exclude={"by_backbone"}))
    (folder / README).write_text(text, encoding="utf-8")


def _cache_entry(resume: ResumeCache, name: str, make: Callable[[Path], None], processes: Processes) -> Path:
    """The cache's entry `name`; the other processes learn whether it is still to be made."""
    begun = []

    def make_together(folder: Path) -> None:
        begun.append(processes.agree(True))
        make(folder)

    entry = resume.entry(name, make_together)
    if not begun:
        processes.agree(False)
    return entry


def _follow(jobs: list[Job], faces: Faces, folds: dict[int, pd.DataFrame], processes: Processes) -> None:
    """Train along with the first process and write nothing, as all other processes do."""
    for job in jobs:
        if processes.agree(None):
            train_fold(job, faces, folds[job.fold], None, Tracker.silent(), processes=processes)


def write_predictions(out: Path, name: str, folders: list[Path], cards: list[ModelCard], grouped: bool) -> None:
    """The predictions of a row's folds: of test pictures with their intervals as <name>.parquet, of validation pictures below VALIDATION.

    Their metadata: the role of the pictures, the models that they came from, the grid, the temperatures, and the groups if any; of test
    pictures the coverage of `low` and `high` too. Validation pictures have no interval, for it may be calibrated on them.
    """
    tested, validated = ([pq.read_table(folder / part) for folder in folders] for part in (TESTED, VALIDATED))
    digests = {card.fold: table.schema.metadata[b"model"].decode() for table, card in zip(tested, cards, strict=True)}
    contents: dict[str, Any] = {"grid": cards[0].grid}
    if temperatures := {card.fold: card.temperature for card in cards if card.temperature is not None}:
        contents["temperatures"] = temperatures
    if grouped:
        contents["groups"] = cards[0].grid
    intervals = [card.interval for card in cards if card.interval]
    coverage = {"coverage": intervals[0].coverage} if intervals else {}
    bounded = [with_intervals(table, card) for table, card in zip(tested, cards, strict=True)]
    for path, tables, more in (
        (out / f"{name}.parquet", bounded, {"role": "test", **coverage}),
        (out / VALIDATION / f"{name}.parquet", validated, {"role": "validation"}),
    ):
        models = {fold: digest for (fold, digest), table in zip(digests.items(), tables, strict=True) if len(table)}
        metadata = {key: json.dumps(content) for key, content in {"models": models, **contents, **more}.items()}
        write_table(path, pa.concat_tables([table.replace_schema_metadata(metadata) for table in tables]))
