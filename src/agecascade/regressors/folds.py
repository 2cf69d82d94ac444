"""Folds: what a regressor gets of one and returns, the loop over all, side by side in processes, and the cache of finished ones."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from agecascade import schema
from agecascade.errors import RegressorError
from agecascade.features.table import Features
from agecascade.io.code import code_digest
from agecascade.io.compute import ordered
from agecascade.io.files import checksum
from agecascade.io.processes import on_processes
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.params import Block, Compute

ROLES = ("train", "validation", "test")
MIN_PARALLEL_SECONDS = 8.0  # of remaining work; processes take some seconds to start


class Options(Block):
    """The options of every regressor."""

    scripts: ClassVar[tuple[Path, ...]] = ()  # code outside this package that its results depend on

    key: str  # its name in params.yaml, for messages
    seed: int
    folds: int | None = Field(None, ge=1)  # only the first so many


@dataclass(frozen=True)
class Fold:
    """The data of a fold that a regressor gets: everything but the test labels."""

    train: NDArray[np.float32]  # (N, D) features
    train_label: NDArray[np.float64]  # (N,)
    validation: NDArray[np.float32]  # (M, D), M may be 0
    validation_label: NDArray[np.float64]  # (M,)
    test: NDArray[np.float32]  # (T, D)
    train_sigma: NDArray[np.float64] | None = None  # (N,) deviation of the labels, NaN where unknown
    number: int = 0  # of the fold, for messages

    def __post_init__(self) -> None:
        for role, feature, label in (("training", self.train, self.train_label), ("validation", self.validation, self.validation_label)):
            if len(feature) != len(label):
                raise RegressorError(f"{len(feature)} {role} features for {len(label)} labels; run the features stage again")


@dataclass(frozen=True)
class Fitted:
    """Result of a regressor on a fold."""

    prediction: NDArray[np.float64]  # (T,)
    choices: pd.DataFrame  # one row for each value or learner that was tried, with its validation MAE
    artifacts: dict[str, str] = field(default_factory=dict)  # content of further output files, by name


class Regressor(Protocol):
    """Fits a fold. folds: how many of the first folds it takes, None for all; scripts: code outside this package that it runs."""

    @property
    def key(self) -> str: ...

    @property
    def folds(self) -> int | None: ...

    @property
    def scripts(self) -> tuple[Path, ...]: ...

    def fit_predict(self, fold: Fold) -> Fitted:
        """Fit on the training rows, choose on the validation rows, predict the test rows."""
        ...


@dataclass(frozen=True)
class FoldRows:
    """The rows of a fold by role, as indices into all features: workers share the features and take the fold out themselves."""

    number: int
    rows: dict[str, NDArray[np.int64]]

    def fold(self, features: Features) -> Fold:
        """The fold; raises RegressorError, naming it, where it has nothing to train or test on or a single label to learn."""
        for role in ("train", "test"):
            if not len(self.rows[role]):
                raise RegressorError(f"fold {self.number} of the split has no {role} rows; see `protocol` of its data set")
        feature = {role: features.feature[rows] for role, rows in self.rows.items()}  # (N, D)
        label = {role: features.label[rows] for role, rows in self.rows.items()}
        self._require_labels(label["train"])
        sigma = None if features.sigma is None else features.sigma[self.rows["train"]]
        return Fold(feature["train"], label["train"], feature["validation"], label["validation"], feature["test"], sigma, self.number)

    def _require_labels(self, label: NDArray[np.float64]) -> None:
        missing = int(np.isnan(label).sum())
        if missing:
            raise RegressorError(f"fold {self.number}: {missing} of {len(label)} training pictures have no label; take labelled ones")
        if np.ptp(label) == 0:
            problem = f"fold {self.number}: all {len(label)} training labels are {label[0]:g}, so that there is nothing to learn"
            raise RegressorError(f"{problem}; see `protocol`, `folds` and `clean` of its data set")


def fit_folds(
    features: Features, split: pd.DataFrame, regressor: Regressor, compute: Compute | None = None, cache: FoldCache | None = None
) -> tuple[pa.Table, pd.DataFrame, dict[str, str]]:
    """Fit and test every fold; returns predictions (schema.PREDICTIONS), choices with their fold, and the artifacts as fold<k>-<name>.

    split: schema.SPLITS. Folds run side by side in processes of `compute` where there is enough to do, and one after the other otherwise:
    with the same result, for each has one thread. cache: of finished folds, which are not fitted again. Raises RegressorError where a
    picture of the split has no feature, or a fold cannot be fitted.
    """
    jobs = _jobs(features, split)[: regressor.folds]
    sigma = np.full(len(features.label), np.nan) if features.sigma is None else features.sigma
    tables, choices = [], []
    artifacts: dict[str, str] = {}
    results = _fitted(regressor, features, jobs, compute or Compute(), cache)
    for job in jobs:
        rows, fitted = job.rows["test"], results[job.number]
        columns = {"sample_id": features.sample_id[rows], "fold": job.number, "label": features.label[rows], "label_sigma": sigma[rows]}
        tables.append(pd.DataFrame({**columns, "prediction": fitted.prediction}))
        choices.append(fitted.choices.assign(fold=job.number))
        artifacts |= {f"fold{job.number}-{name}": text for name, text in fitted.artifacts.items()}
    tried = pd.concat(choices, ignore_index=True)
    _report_unconverged(regressor.key, tried)
    predictions = pd.concat(tables)
    unknown = dict.fromkeys(set(schema.PREDICTIONS.names) - set(predictions))  # neither distributions nor intervals
    predictions = predictions.assign(**unknown)
    return pa.Table.from_pandas(predictions, schema=schema.PREDICTIONS, preserve_index=False), tried, artifacts


def _fitted(regressor: Regressor, features: Features, jobs: list[FoldRows], compute: Compute, cache: FoldCache | None) -> dict[int, Fitted]:
    """The result of each fold, by number; each is cached as soon as it is finished."""
    done = cache.load(job.number for job in jobs) if cache else {}
    missing = [job for job in jobs if job.number not in done]
    results = _results(partial(_fit, regressor, features), missing, compute)
    with tqdm(desc=regressor.key, total=len(jobs), initial=len(done), unit="fold") as progress:
        for job, fitted in zip(missing, results, strict=True):
            done[job.number] = fitted
            if cache:
                cache.store(job.number, fitted)
            progress.update()
    return done


def _jobs(features: Features, split: pd.DataFrame) -> list[FoldRows]:
    index = pd.Index(features.sample_id).get_indexer(split["sample_id"])
    missing = split.loc[index < 0, "sample_id"].unique()
    if len(missing):
        raise RegressorError(f"{len(missing)} pictures of the split have no feature, such as {missing[0]!r}; run the features stage again")
    jobs = []
    for number, part in split.assign(row=index).groupby("fold"):
        rows = {role: part.loc[part["role"] == role, "row"].to_numpy() for role in ROLES}
        jobs.append(FoldRows(int(number), rows))
    return jobs


def _fit(regressor: Regressor, features: Features, job: FoldRows) -> Fitted:
    # one thread for each fold: folds run in parallel, and sums over several threads round differently
    with threadpool_limits(1):
        try:
            return regressor.fit_predict(job.fold(features))
        except ValueError as error:  # scikit-learn's own
            raise RegressorError(f"fold {job.number}: regressors.{regressor.key}: {' '.join(str(error).split())}") from None


def _results(fit: Callable[[FoldRows], Fitted], jobs: list[FoldRows], compute: Compute) -> Iterator[Fitted]:
    """The results in the folds' order. Processes, not threads: liblinear's random numbers are shared by all threads of a process."""
    if compute.backend != "local":
        yield from ordered(fit, jobs, compute)
        return
    start = time.monotonic()
    yield from map(fit, jobs[:1])
    remaining = (time.monotonic() - start) * (len(jobs) - 1)
    if remaining < MIN_PARALLEL_SECONDS or compute.workers == 1:
        yield from map(fit, jobs[1:])
        return
    yield from on_processes(fit, jobs[1:], compute.workers)


def _report_unconverged(key: str, tried: pd.DataFrame) -> None:
    """Warn of selected solutions whose solver stopped before it converged."""
    if "converged" in tried and not tried.loc[tried["chosen"], "converged"].all():
        first = tried[tried["chosen"] & ~tried["converged"].astype(bool)].iloc[0]
        parameter, options = tried.columns[0], f"regressors.{key}.options"
        remedy = f"raise {options}.max_iter, or where that does not help take {first.iloc[0]:g} out of {options}.{parameter}"
        warnings.warn(f"{key}: {parameter} = {first.iloc[0]:g} has not converged in fold {first['fold']}; {remedy}", stacklevel=3)


@dataclass(frozen=True)
class FoldCache:
    """The finished folds of one regressor, in a ResumeCache until all are done.

    key: its name in params.yaml; stamp: a fingerprint of everything that its folds depend on.
    """

    cache: ResumeCache
    key: str
    stamp: str

    @classmethod
    def of(cls, regressor: Regressor, inputs: list[Path], work: Path) -> FoldCache:
        """The cache of a regressor that is fitted to these files of features and split, in the folder `work`."""
        code = code_digest("agecascade.regressors.folds", type(regressor).__module__, *regressor.scripts)
        stamp = fingerprint(regressor=repr(regressor), inputs=[checksum(path) for path in inputs], code=code)
        return cls(ResumeCache(work), regressor.key, stamp)

    def load(self, folds: Iterable[int]) -> dict[int, Fitted]:
        """The results of those of `folds` that an interrupted run has finished, by number."""
        entries = {fold: self.cache.finished(self._name(fold)) for fold in folds}
        return {fold: _read(entry) for fold, entry in entries.items() if entry is not None}

    def store(self, fold: int, fitted: Fitted) -> None:
        """Store the result of a finished fold at once: the next fold may fail."""
        self.cache.entry(self._name(fold), partial(_write, fitted))

    def clear(self, folds: Iterable[int]) -> None:
        """Remove the regressor's folds, those of runs with other settings too, once the stage's outputs are complete."""
        self.cache.clear()
        for fold in folds:
            self.cache.forget(self._prefix(fold))

    def _prefix(self, fold: int) -> str:
        return f"regress-{self.key}-fold{fold}"

    def _name(self, fold: int) -> str:
        return f"{self._prefix(fold)}-{self.stamp}"


def _write(fitted: Fitted, folder: Path) -> None:
    np.save(folder / "prediction.npy", fitted.prediction)
    fitted.choices.to_parquet(folder / "choices.parquet")
    (folder / "artifacts").mkdir()
    for name, text in fitted.artifacts.items():
        (folder / "artifacts" / name).write_text(text, encoding="utf-8")


def _read(folder: Path) -> Fitted:
    artifacts = {path.name: path.read_text(encoding="utf-8") for path in sorted((folder / "artifacts").iterdir())}
    return Fitted(np.load(folder / "prediction.npy"), pd.read_parquet(folder / "choices.parquet"), artifacts)
