"""Trainings on the workers of a cluster: what a call carries, what is recorded there, and how the sender logs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from agecascade.io.compute import not_shared
from agecascade.loading import Faces
from agecascade.loading.shared import SharedFaces
from agecascade.model_folder import model_digest, read_card
from agecascade.params import Compute
from agecascade.tracking.tracker import Run, Tracker
from agecascade.training.epochs import Record
from agecascade.training.fold import tags
from agecascade.training.jobs import Job
from agecascade.training.progress import Progress


@dataclass(frozen=True)
class StepFiles:
    """What the trainings of a step read and where they leave their results, on a file system that all workers share."""

    faces: SharedFaces
    splits: Path
    work: Path

    @classmethod
    def of(cls, aligned: Path, splits: Path, work: Path, size: int, compute: Compute) -> StepFiles | None:
        """The files of a step whose pictures have `size` pixels; None where it trains on this machine."""
        if compute.backend == "local":
            return None
        return cls(SharedFaces.of(aligned, size, compute.cache_gib), splits.resolve(), work.resolve())

    def read(self) -> tuple[Faces, dict[int, pd.DataFrame]]:
        """The faces and their folds, {fold: sample_id, role}; raises ComputeError where this machine sees other files than the sender."""
        faces = self.faces.load()
        if not (self.splits.is_file() and self.work.is_dir()):
            raise not_shared(self.splits if self.work.is_dir() else self.work)
        return faces, dict(list(pq.read_table(self.splits).to_pandas().groupby("fold")))


@dataclass(frozen=True)
class Sent:
    """A training for a worker; name: of its result, which covers code, data and weights as the sender sees them."""

    job: Job
    name: str


class Recorder(Tracker):
    """Keeps the epochs of a training on a worker: the sender tracks them."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.lost = True
        self.records: list[Record] = []

    @contextmanager
    def model_run(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], earlier: str | None = None) -> Iterator[Run]:
        self.records = []
        yield _RecorderRun(self)


class _RecorderRun(Run):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder, None)
        self._records = recorder.records

    def epoch(self, record: Mapping[str, float]) -> None:
        self._records.append(dict(record))

    def finish(self, metrics: Mapping[str, float | None], digest: str, folder: Path) -> None:
        """Nothing: the sender finds all of it in the folder."""


def log_finished(tracker: Tracker, progress: Progress, job: Job, folder: Path, records: list[Record]) -> None:
    """Show and track a training that a worker finished into `folder`; records: its epochs, none where another run has tracked them."""
    title = f"{job.step}/{job.name}"
    if records:
        progress.titled(title).epoch(records[-1], job.recipe.epochs)
        with tracker.model_run(title, {}, tags(job)) as run:
            run.finished(job.logged, records, read_card(folder).validation or {}, model_digest(folder), folder)
