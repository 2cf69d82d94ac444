"""A step of the cascade: every row of the table, every fold of the protocol, each from the weights of the step before."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from agecascade import model_folder
from agecascade.errors import ModelError, TrainingError
from agecascade.io.files import copied, write_table
from agecascade.io.resume import ResumeCache, fingerprint, source_digest
from agecascade.loading import Faces, digest
from agecascade.models import require_size
from agecascade.params import SCRATCH, Compute, Params, Row, Training
from agecascade.tracking import Tracker
from agecascade.training import frozen
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.fold import IDENTITY, Job, describe, require_sigma_and_templates, train_fold
from agecascade.training.frozen import HeadTrainings
from agecascade.training.grids import label_grid
from agecascade.training.parallel import side_by_side
from agecascade.training.processes import Processes
from agecascade.training.search_result import read_winners
from agecascade.training.trainable import frozen_blocks

SOURCE = Path(__file__).resolve().parent.parent


def require_rows(params: Params) -> None:
    """Raise ModelError where a row's method, head or backbone, or an option, is unknown, or a network cannot take the study's pictures."""
    ages = [float(age) for age in range(params.daa.sampling + 1)]  # no data set is known yet: as few as leave two of every n-th
    for row in {(row.method, row.backbone): row for row in params.rows}.values():
        require_size(describe(params, SCRATCH, row, ages, fold=0).outline(), row.backbone, params.image_size)


def initialise(params: Params, folder: Path) -> None:
    """Write the He-initialised networks that every chain starts from, one per backbone and seed, into `folder`.

    Raises ModelError before any of them as `require_rows`, and where a network of identities cannot take the study's pictures.
    """
    require_rows(params)
    for row in distinct(params.rows, SCRATCH):
        torch.manual_seed(row.seed)
        card = describe(params, SCRATCH, row._replace(method=IDENTITY), [0.0, 1.0], fold=0)
        require_size(card.outline(), row.backbone, params.image_size)
        model_folder.save(folder / row.name / "fold0", card.network(), card, [])


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
) -> None:
    """Train all rows and folds of `step` into `out`, and write test predictions, one Parquet per row, into `predictions`.

    faces: the step's data set; splits: columns sample_id, fold, role; models: the folder of all steps; predictions: None for
    a pretraining; work: where finished folds and the last epoch's state wait if the stage is interrupted; processes: those
    that train each network together, of which the first writes. Raises TrainingError and ModelError with one line before
    the first epoch.
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
    resume = ResumeCache(work)
    total = sum(job.recipe.epochs * int((folds[job.fold]["role"] == "train").sum()) for job in jobs)
    with tracker.stage_run(step), tqdm(total=total, desc=step, unit="img", unit_scale=True, disable=None) as progress:
        room = _Room(faces, folds, resume, tracker, progress.update, processes)
        pieces = room.one_by_one(alone, params.compute) | room.together(groups, params.compute)
    _deliver(jobs, pieces, out, predictions, faces.grouped)
    resume.clear()


@dataclass(frozen=True)
class _Room:
    """What all trainings of a step share, and where finished ones are found again."""

    faces: Faces
    folds: dict[int, pd.DataFrame]
    resume: ResumeCache
    tracker: Tracker
    progress: Callable[[int], object]
    processes: Processes

    @cached_property
    def data(self) -> str:
        """The digest of the faces."""
        return faces_digest(self.faces)

    @cached_property
    def init(self) -> Callable[[Path], str]:
        """The digest of a model folder, read once, however many folds start from it."""
        return cache(model_folder.digest)

    def one_by_one(self, jobs: list[Job], compute: Compute) -> dict[str, Path]:
        """{name of the job: folder} of whole networks, trained side by side."""
        return dict(zip((job.name for job in jobs), side_by_side(self._train, jobs, compute, self.processes), strict=True))

    def together(self, groups: list[frozen.Group], compute: Compute) -> dict[str, Path]:
        """{name of the job: folder} of heads, those of a group trained as one problem."""
        stamp = fingerprint(data=self.data, code=code_digests())
        shared = (self.tracker, self.progress, self.processes.device)
        heads = HeadTrainings(self.faces, self.folds, self.resume, self._name, stamp, *shared)
        side_by_side(heads.look, frozen.by_features(groups), compute, self.processes)
        learned = side_by_side(heads.learn, groups, compute, self.processes)
        return {job.name: piece / f"fold{job.fold}" for group, piece in zip(groups, learned, strict=True) for job in group}

    def _name(self, job: Job) -> str:
        return job_fingerprint(job, self.data, self.folds[job.fold], self.init(job.init), self.processes)

    def _train(self, job: Job) -> Path:
        prefix = f"{job.step}-{job.row.name}-fold{job.fold}"
        name = f"{prefix}-{self._name(job)}"
        shared = partial(train_fold, job, self.faces, self.folds[job.fold], tracker=self.tracker, progress=self.progress)
        make = partial(shared, checkpoint=Checkpoint(self.resume.state(name)), processes=self.processes)
        piece = _made(self.resume, name, make, self.processes)
        self.resume.forget(prefix)
        return piece


def _deliver(jobs: list[Job], pieces: dict[str, Path], out: Path, predictions: Path | None, grouped: bool) -> None:
    """Bring finished trainings to their places: models into `out`, and the predictions of each row's folds as one file."""
    finished: dict[Row, list[Path]] = defaultdict(list)
    for job in jobs:
        copied(pieces[job.name], out / job.name, leave=["predictions.parquet"])
        finished[job.row].append(pieces[job.name])
    if predictions is not None:
        for row, folders in finished.items():
            _write_predictions(predictions / f"{row.name}.parquet", folders, grouped)


def _made(resume: ResumeCache, name: str, make: Callable[[Path], None], processes: Processes) -> Path:
    """The piece `name`; the other processes are told whether it is still to be made."""
    begun = []

    def make_together(folder: Path) -> None:
        begun.append(processes.agree(True))
        make(folder)

    piece = resume.entry(name, make_together)
    if not begun:
        processes.agree(False)
    return piece


def _follow(jobs: list[Job], faces: Faces, folds: dict[int, pd.DataFrame], processes: Processes) -> None:
    """What all processes but the first do: train along, and write nothing."""
    nowhere = Tracker("", "")
    nowhere.lost = True
    for job in jobs:
        if processes.agree(None):
            train_fold(job, faces, folds[job.fold], None, nowhere, processes=processes)


def find_model(folder: Path, row: Row, fold: int) -> Path:
    """The model of a row and fold below a step's folder; a step with one fold serves all folds after it.

    Pretrainings know no method: theirs is taken by backbone and seed. Raises ModelError where there is none.
    """
    for name in [row.name, *(row._replace(method=shared).name for shared in (IDENTITY, SCRATCH))]:
        folds = sorted((folder / name).glob("fold*"))
        if len(folds) == 1:
            return folds[0]
        if folder / name / f"fold{fold}" in folds:
            return folder / name / f"fold{fold}"
        if folds:
            raise ModelError(
                f"{folder / name} has {len(folds)} folds but not the one asked for; start from a step with one fold or the same folds"
            )
    raise ModelError(f"{folder} holds no model of {row.name}; run its stage again")


def jobs_of(params: Params, step: str, faces: Faces, splits: pd.DataFrame, models: Path) -> Iterator[Job]:
    """All trainings of a step, checked before the first of them starts."""
    identities = step in params.pretrain
    settings: Training = params.pretrain[step] if identities else params.cascade[step]
    dataset = params.datasets[settings.dataset]
    classes = [float(index) for index in range(len(set(faces.subject)))]
    grid = classes if identities else label_grid(dataset.grid, faces, settings.dataset)
    folds = splits.groupby("fold")["role"].agg(set)
    for fold, roles in folds.items():
        for role in ["train"] if identities else ["train", "validation", "test"]:
            if role not in roles:
                raise TrainingError(f"{step}: fold {fold} of {settings.dataset} has no {role} picture; see datasets.{settings.dataset}")
    found = read_winners(models / settings.init) if settings.init in params.search else {}
    for row in distinct(params.rows, IDENTITY) if identities else params.rows:
        recipe = settings if identities else params.cascade[step].recipe(row.backbone, found.get(row.backbone))
        outline = describe(params, step, row, grid, fold=0).outline()  # names a method that is none, or a decoding that it has not
        frozen_blocks(outline.blocks, recipe.trainable)  # names a block that is none
        require_size(outline, row.backbone, params.image_size)
        for fold in folds.index:
            job = Job(params, step, row, recipe, grid, int(fold), find_model(models / settings.init, row, int(fold)))
            require_sigma_and_templates(job, outline, faces, splits[splits["fold"] == fold])
            yield job


@cache
def code_digests() -> list[str]:
    """What the running code is known by."""
    return [source_digest([SOURCE]), torch.__version__]


# the params of a study that a training depends on, besides its recipe and card
SETTINGS: dict[str, Any] = {
    **dict.fromkeys(["sigma", "daa", "augment", "precision"], True),
    "compute": {"threads"},
    "evaluate": {"coverage"},
}


def job_fingerprint(job: Job, data: str, fold: pd.DataFrame, init: str, processes: Processes) -> str:
    return fingerprint(
        job=[job.recipe.model_dump(), asdict(job.card)],
        data=[data, fold.to_csv(index=False)],
        settings=job.params.model_dump(include=SETTINGS),
        init=init,
        code=code_digests(),
        processes=processes.size,
    )


def _write_predictions(path: Path, pieces: list[Path], grouped: bool) -> None:
    """The test predictions of a row's folds in one Parquet file, which also names the models they came from, and the groups if any."""
    tables = [pq.read_table(piece / "predictions.parquet") for piece in pieces]
    told: dict[str, Any] = {"models": {int(table["fold"][0].as_py()): table.schema.metadata[b"model"].decode() for table in tables}}
    if grouped:
        told["groups"] = model_folder.read_card(pieces[0]).grid
    metadata = {name: json.dumps(content) for name, content in told.items()}
    write_table(path, pa.concat_tables(tables).replace_schema_metadata(metadata))


def distinct(rows: list[Row], method: str) -> list[Row]:
    """One row per backbone and seed."""
    return list(dict.fromkeys(row._replace(method=method) for row in rows))


def faces_digest(faces: Faces) -> str:
    state = hashlib.sha256(digest(faces.images).encode())
    for column in (faces.sample_id, faces.label, faces.sigma, faces.subject):
        state.update(json.dumps(column.tolist()).encode())
    return state.hexdigest()
